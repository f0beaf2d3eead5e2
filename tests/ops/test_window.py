"""The arithmetic of windows, against counting by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npresnet.ops.window import Window, frame, interior, pair, same_padding

from ..support import loops

small = st.integers(1, 4)
axis = st.fixed_dictionaries(
    {
        "i": st.integers(1, 12),
        "k": small,
        "s": small,
        "d": st.integers(1, 3),
        "padding": st.tuples(st.integers(0, 3), st.integers(0, 3)),
    }
)


def window_of(rows, cols):
    return Window(*(tuple(axis[key] for axis in (rows, cols)) for key in ("k", "s", "padding", "d")))


@given(rows=axis, cols=axis)
def test_the_output_size_is_the_number_of_windows_that_fit(rows, cols):
    window, size = window_of(rows, cols), (rows["i"], cols["i"])
    fits = tuple(loops.Axis(**axis).outputs for axis in (rows, cols))
    if min(fits) == 0:
        with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} pixels is smaller than the window"):
            window.output_size(size)
    else:
        assert window.output_size(size) == fits


@given(rows=axis, cols=axis)
def test_ceil_mode_counts_a_last_partial_window_that_starts_inside(rows, cols):
    window, size = window_of(rows, cols), (rows["i"], cols["i"])
    wanted = tuple(loops.Axis(**axis, ceil_mode=True).outputs for axis in (rows, cols))
    if min(wanted) > 0:
        ceiled = window.ceil_mode(size)
        assert ceiled.output_size(size) == wanted
        assert ceiled._replace(padding=None) == window._replace(padding=None)
        for (before, after), (before_wanted, after_least) in zip(ceiled.padding, window.padding):
            assert before == before_wanted and after >= after_least


@given(rows=axis, cols=axis)
def test_the_taps_meet_the_pixels_that_each_output_sees(rows, cols):
    window, axes = window_of(rows, cols), [loops.Axis(**rows), loops.Axis(**cols)]
    size = tuple(axis.outputs for axis in axes)
    if min(size) == 0:
        return
    lengths = [axis.before + axis.i + axis.after for axis in axes]
    seen = [(i, j, list(range(lengths[0]))[r], list(range(lengths[1]))[c]) for i, j, r, c in window.taps(size)]
    assert seen == [
        (i, j, *([p * a.s + t * a.d for p in range(a.outputs)] for t, a in zip((i, j), axes)))
        for i in range(window.kernel[0])
        for j in range(window.kernel[1])
    ]


def test_ints_pairs_and_sides():
    assert pair(3) == (3, 3) and pair((3, 5)) == (3, 5) and pair([3, 5]) == (3, 5)
    assert Window.of(2) == ((2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1))
    assert Window.of((2, 3), (4, 5), (1, 6), [7, 8]) == ((2, 3), (4, 5), ((1, 1), (6, 6)), (7, 8))
    assert Window.of(1, padding=[(1, 2), 3]).padding == ((1, 2), (3, 3))
    with pytest.raises(ValueError, match=r"pair, not \(1, 2, 3\)"):
        pair((1, 2, 3))


@pytest.mark.parametrize(
    "bad",
    [
        {"kernel": 0},
        {"kernel": (3, 0)},
        {"kernel": 1, "stride": 0},
        {"kernel": 1, "dilation": (1, 0)},
        {"kernel": 1, "padding": -1},
        {"kernel": 1, "padding": ((0, 0), (0, -1))},
    ],
)
def test_impossible_windows_raise(bad):
    with pytest.raises(ValueError, match=rf"{[*bad][-1]} must be at least [01], not (0|-1)$"):
        Window.of(**bad)


@given(i=st.integers(1, 20), k=small, s=small, d=st.integers(1, 3))
def test_same_padding_gives_the_size_divided_by_the_stride_rounded_up(i, k, s, d):
    (top, bottom), (left, right) = same_padding((i, i), k, s, d)
    assert (top, bottom) == (left, right)
    assert bottom - top in (0, 1)  # the odd pixel goes to the bottom
    wanted, total = -(-i // s), i + top + bottom
    assert loops.Axis(i, k, s, (top, bottom), d).outputs == wanted or d * (k - 1) + 1 < s
    assert total == i or (wanted - 1) * s + d * (k - 1) + 1 == total  # nothing more than is needed


def test_same_padding_known_values():
    assert same_padding((224, 224), 3, 2) == ((0, 1), (0, 1))  # TensorFlow, even image, 3x3 at stride 2
    assert same_padding((7, 8), (3, 2), (1, 2)) == ((1, 1), (0, 0))
    assert same_padding((5, 6), 3, 1, (2, 1)) == ((2, 2), (1, 1))
    assert same_padding((4, 4), 1, 3) == ((0, 0), (0, 0))  # never negative
    assert same_padding((0, 4), 1, 1) == ((0, 0), (0, 0))  # nor for images without pixels


def test_the_odd_pixel_goes_to_the_other_side_where_lower():
    assert same_padding((224, 7), (3, 4), 2, lower=True) == ((1, 0), (2, 1))
    assert same_padding((7, 7), 3, 2, lower=True) == ((1, 1), (1, 1))


def test_a_padding_in_words_is_that_of_the_images():
    for i, k, s, d in [(6, 3, 2, 1), (7, 4, 3, 2), (5, 2, 1, 3)]:
        sizes = k, s
        assert Window.of(*sizes, "same", d, (i, 9)).padding == same_padding((i, 9), *sizes, d)
        assert Window.of(*sizes, "same_lower", d, (i, 9)).padding == same_padding((i, 9), *sizes, d, lower=True)
        assert Window.of(*sizes, "valid", d) == Window.of(*sizes, 0, d)
    with pytest.raises(ValueError, match=r"size must be one value or a \(vertical, horizontal\) pair, not \(\)"):
        Window.of(3, padding="same")


def test_frame_and_interior():
    x = np.arange(12.0).reshape(2, 3, 2)
    framed = frame(x, ((1, 0), (2, 3)), fill=7)
    assert framed.shape == (2, 4, 7) and framed.dtype == x.dtype
    np.testing.assert_array_equal(interior(framed, ((1, 0), (2, 3))), x)
    assert np.shares_memory(interior(framed, ((1, 0), (2, 3))), framed)
    assert (framed == 7).sum() == framed.size - x.size + 1  # and the one 7 of x
    assert frame(x, ((0, 0), (0, 0))) is x
    for sides in [((1, 0), (0, 0)), ((0, 1), (0, 0)), ((0, 0), (1, 0)), ((0, 0), (0, 1))]:
        framed = frame(x, sides)
        assert framed.size > x.size and framed.sum() == x.sum()  # zeros, unless told otherwise
        np.testing.assert_array_equal(interior(framed, sides), x)
