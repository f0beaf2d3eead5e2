"""What the notebooks share."""

import inspect

import numpy as np
import pytest

from npresnet import ops
from npresnet.tools.teaching import NotYet, check, source


def test_source_is_what_runs():
    shown = source(ops.conv2d, ops.Window.taps)
    assert str(shown).startswith("@kernel\ndef conv2d(x, w, b=None") and "\n\ndef taps(self" in str(shown)
    assert str(shown).startswith(inspect.getsource(ops.conv2d.reference).rstrip())
    assert "conv2d" in shown._repr_html_()


@pytest.mark.parametrize("yours, message", [
    (None, "still to be written"), (..., "still to be written"), (np.zeros(3), r"shape \(3,\)"),
    ([1.0, 2.5], "off by up to 0.5"), ([1.0, np.nan], "off by up to nan")])
def test_a_wrong_answer_is_not_yet_right(yours, message, capsys):
    with pytest.raises(NotYet, match=message) as caught:
        check("it", yours, [1.0, 2.0])
    assert caught.value._render_traceback_() == [f"Not yet: {caught.value}"] and not capsys.readouterr().out


def test_a_right_answer_says_so(capsys):
    check("it", [1.0, 2.0 + 1e-12], np.array([1.0, 2.0]))
    assert capsys.readouterr().out == "Right: it.\n"
