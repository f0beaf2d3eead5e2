"""What the notebooks share."""

import inspect
import sys

import numpy as np
import pytest

from npresnet import ops
from npresnet.teaching.exercises import NotYet, Progress, Table, check, source, verdicts


def test_source_is_what_runs():
    shown = source(ops.conv2d, ops.Window.taps)
    assert str(shown).startswith("@op\ndef conv2d(x: Array, w: Array") and "\n\ndef taps(self" in str(shown)
    assert str(shown).startswith(inspect.getsource(ops.conv2d.reference).rstrip())
    assert "conv2d" in shown._repr_html_()


@pytest.mark.parametrize(
    "yours, message",
    [
        (None, "still to be written"),
        (..., "still to be written"),
        (np.zeros(3), r"shape \(3,\)"),
        ([1.0, 2.5], "off by up to 0.5"),
        ([1.0, np.nan], "off by up to nan"),
    ],
)
def test_a_wrong_answer_is_not_yet_right(yours, message, capsys):
    with pytest.raises(NotYet, match=message) as caught:
        check("it", yours, [1.0, 2.0])
    assert caught.value._render_traceback_() == [f"Not yet: {caught.value}"] and not capsys.readouterr().out


def test_a_right_answer_says_so(capsys):
    check("it", [1.0, 2.0 + 1e-12], np.array([1.0, 2.0]))
    assert capsys.readouterr().out == "Right: it.\n"


def test_of_a_long_source_the_beginning():
    assert str(source(ops.Window, until="def output_size")).rstrip().endswith("dilation)")


def test_a_table_is_aligned_and_escaped():
    table = Table(["a", "bb"], [[1, "<x>"], [22, None]])
    assert repr(table) == "a   bb\n1   <x>\n22  None" and "<td>&lt;x&gt;</td>" in table._repr_html_()


ONE_TO_SIX = np.arange(1.0, 7).reshape(2, 3)
SQUARE = np.array([[1.0, 2], [3, 5]])


@pytest.mark.parametrize(
    "yours, expected, message",
    [
        (-ONE_TO_SIX, ONE_TO_SIX, "off by up to 12: the sign is reversed"),
        (ONE_TO_SIX / 4, ONE_TO_SIX, "right up to a factor; times 4 it fits"),
        (ONE_TO_SIX - 0.5, ONE_TO_SIX, r"right up to a constant; \+0.5 is missing"),
        (0 * ONE_TO_SIX, ONE_TO_SIX, "yours is 0 everywhere"),
        (ONE_TO_SIX.T, ONE_TO_SIX, r"the shape \(3, 2\); it should be \(2, 3\) \(transposed\?\)"),
        (SQUARE.T, SQUARE, "it is the transpose of what it should be"),
        (SQUARE + [[0, 0], [0, 1]], SQUARE, r"off by up to 1 at \(1, 1\): 6, not 5; 1 of 4 numbers are wrong"),
        ([np.nan, 2.0], [1.0, 2.0], "not finite in 1 of 2 places"),
        ([[1], [2, 3]], [1.0, 2.0], "its rows differ in length"),
        ("many", [1.0, 2.0], "should be numbers; yours is of type <U4"),
        (False, True, "yours is 0 everywhere"),
    ],
)
def test_a_wrong_answer_is_told_how_it_is_off(yours, expected, message):
    with pytest.raises(NotYet, match=message):
        check("it", yours, expected)


def test_answers_of_yes_or_no(capsys):
    with pytest.raises(NotYet, match="still to be written"):
        verdicts("the tests", None, [True], ["a"])
    with pytest.raises(NotYet, match="2 answers for 1 cases"):
        verdicts("the tests", [True, True], [True], ["a"])
    with pytest.raises(NotYet, match="b should be refused"):
        verdicts("the tests", [True, True], [True, False], ["a", "b"])
    verdicts("the tests", [True, False], [True, False], ["a", "b"])
    assert capsys.readouterr().out == "Right: the tests.\n"


def test_progress_is_one_line(monkeypatch):
    display = pytest.importorskip("IPython.display")
    shown = []

    class Handle:
        def update(self, line):
            shown.append(repr(line))

    monkeypatch.setattr(display, "display", lambda line, display_id: shown.append(repr(line)) or Handle())
    progress = Progress(2)
    progress("one")
    progress("two")
    progress.done()
    assert shown == ["…", "1 of 2: one …", "2 of 2: two …", "2 of 2 done"]


def test_without_ipython_no_progress_is_shown(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    progress = Progress(1)
    progress("one")
    progress.done()
    assert not capsys.readouterr().out
