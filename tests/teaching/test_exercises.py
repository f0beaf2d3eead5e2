"""What the notebooks share."""

import inspect

import numpy as np
import pytest

from npresnet import ops
from npresnet.teaching.exercises import PHOTOS, NotYet, Table, check, photo_patches, source


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


def test_patches_are_of_photos_and_held_out_ones_of_other_parts():
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    pixels, labels = photo_patches(30, size=12, seed=4)
    assert pixels.shape == (30, 12, 12, 3) and pixels.dtype == np.uint8 and (np.bincount(labels) == 3).all()
    np.testing.assert_array_equal(pixels, photo_patches(30, size=12, seed=4)[0])
    chelsea = data.chelsea()[::2, ::2]
    for held_out in (False, True):
        patch = photo_patches(10, held_out=held_out)[0][PHOTOS.index("chelsea")]
        windows = np.lib.stride_tricks.sliding_window_view(chelsea, (16, 16, 3))[:, :, 0]
        rows, _ = np.nonzero((windows == patch).all(axis=(2, 3, 4)))
        assert len(rows) == 1 and (rows[0] >= 112 if held_out else rows[0] + 16 <= 112)
