"""Ties, padding, NaN, large windows: where pools go wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npresnet.ops import adaptive_avg_pool2d, avg_pool2d, blur_pool2d, global_avg_pool2d, max_pool2d

from ..support import loops

OPTIONS = [
    {"kernel": 2, "stride": 2},
    {"kernel": 3, "stride": 2, "padding": 1},
    {"kernel": 3, "stride": 1, "padding": 1},
    {"kernel": (2, 3), "stride": (1, 2), "dilation": (2, 1), "padding": ((1, 0), (0, 1)), "ceil_mode": True},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_first_of_equal_maxima_gets_the_whole_gradient(options):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (2, 3, 7, 8)).astype(float)
    y, pullback = max_pool2d(x, **options)
    np.testing.assert_array_equal(y, loops.max_pool2d(x, **options))
    dy = rng.standard_normal(y.shape)
    np.testing.assert_allclose(pullback(dy), loops.max_pool2d_pullback(x, dy, **options), rtol=0, atol=1e-14)


def test_padding_never_wins():
    x = np.full((1, 1, 3, 3), -5.0)
    y, pullback = max_pool2d(x, 3, stride=2, padding=1)
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 2), -5.0))
    assert pullback(np.ones_like(y)).sum() == 4  # nothing went to the padding


def test_minus_infinity_is_a_value_like_others():
    x = np.full((1, 1, 4, 4), -np.inf)
    x[0, 0, 1, 1] = -1e300
    y, pullback = max_pool2d(x, 2, stride=2)
    np.testing.assert_array_equal(y, [[[[-1e300, -np.inf], [-np.inf, -np.inf]]]])
    assert np.argwhere(pullback(np.ones_like(y))[0, 0]).tolist() == [[0, 2], [1, 1], [2, 0], [2, 2]]


def test_nan_wins_over_numbers():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    x[0, 0, 1, 0] = np.nan
    y, pullback = max_pool2d(x, 2, stride=2)
    np.testing.assert_array_equal(y, [[[[np.nan, 7], [13, 15]]]])
    assert np.argwhere(pullback(np.ones_like(y))[0, 0]).tolist() == [[1, 0], [1, 3], [3, 1], [3, 3]]


@pytest.mark.parametrize("kernel", [(16, 16), (16, 17), (1, 300), (257, 1)])
def test_windows_of_more_taps_than_a_byte_can_count(kernel):
    x = np.random.default_rng(0).permutation(np.arange(20.0 * 310)).reshape(1, 1, 20, 310)
    x = {1: x, 16: x[..., :40], 257: x.swapaxes(2, 3)}[kernel[0]]
    y, pullback = max_pool2d(x, kernel, stride=4)
    dx = pullback(np.ones_like(y))
    assert dx.sum() == y.size
    assert set(x[dx > 0]) == set(y.ravel())


def test_the_winner_is_a_byte_where_a_byte_suffices():
    for kernel, dtype in [(2, np.uint8), (16, np.uint8), ((16, 17), np.int32)]:
        _, pullback = max_pool2d.reference(np.ones((1, 1, 20, 20)), kernel, stride=1)
        held = dict(zip(pullback.__code__.co_freevars, (cell.cell_contents for cell in pullback.__closure__)))
        assert held["winner"].dtype == dtype


@given(
    i=st.integers(1, 9),
    k=st.integers(1, 4),
    s=st.integers(1, 3),
    p=st.integers(0, 2),
    ceil=st.booleans(),
    counted=st.booleans(),
)
def test_average_pooling_of_ones(i, k, s, p, ceil, counted):
    p = min(p, k // 2)
    if loops.Axis(i, k, s, p, ceil_mode=ceil).outputs == 0:
        return
    x, options = np.ones((1, 1, i, i)), {"stride": s, "padding": p, "ceil_mode": ceil, "count_include_pad": counted}
    y, pullback = avg_pool2d(x, k, **options)
    np.testing.assert_allclose(y, loops.avg_pool2d(x, k, **options))
    if not counted:
        np.testing.assert_array_equal(y, 1)
        np.testing.assert_allclose(pullback(y).sum(), y.size)


@pytest.mark.parametrize("pool", [max_pool2d, avg_pool2d])
@pytest.mark.parametrize(
    "shape, options, message",
    [
        ((3, 4, 4), {"kernel": 2, "stride": 2}, r"pooling takes images \(N, C, H, W\), not \(3, 4, 4\)"),
        ((1, 3, 4, 4), {"kernel": 2, "stride": 2, "padding": 2}, "padding of more than half the window"),
        ((1, 3, 4, 4), {"kernel": 3, "stride": 2, "padding": ((0, 0), (0, 2))}, "padding of more than half the window"),
        ((1, 3, 4, 2), {"kernel": 3, "stride": 1}, "4x2 pixels is smaller than the window"),
        ((1, 3, 2, 2), {"kernel": 5, "stride": 2, "ceil_mode": True}, "smaller than the window"),
    ],
)
def test_windows_that_do_not_fit_raise(pool, shape, options, message):
    with pytest.raises(ValueError, match=message):
        pool(np.ones(shape), **options)


@pytest.mark.parametrize("pool", [max_pool2d, avg_pool2d])
def test_ceil_mode_looks_at_the_sides_and_not_at_the_channels(pool):
    y, pullback = pool(np.ones((1, 4, 7, 6)), 2, stride=2, ceil_mode=True)
    assert y.shape == (1, 4, 4, 3) and (y == 1).all()
    assert pullback(y)[0].shape == (4, 7, 6)


def test_dilation_widens_what_half_the_window_is():
    y, _ = max_pool2d(np.ones((1, 1, 5, 5)), 2, stride=1, padding=1, dilation=2)
    assert y.shape == (1, 1, 5, 5)
    with pytest.raises(ValueError, match="more than half"):
        max_pool2d(np.ones((1, 1, 5, 5)), 2, stride=1, padding=2, dilation=2)


def test_global_average_gives_every_position_the_same():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    _, pullback = global_avg_pool2d(x)
    dy = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(pullback(dy), np.tile((dy / 20)[:, :, None, None], (1, 1, 4, 5)))


@pytest.mark.parametrize("shape", [(2, 3, 0, 4), (2, 3, 4, 0), (0, 3, 0, 0)])
def test_there_is_no_mean_over_no_pixels(shape):
    with pytest.raises(ValueError, match=r"^there is no mean over images without pixels: \("):
        global_avg_pool2d(np.ones(shape))
    with pytest.raises(ValueError, match=r"^there is no mean over images without pixels: \("):
        adaptive_avg_pool2d(np.ones(shape), 2)
    assert global_avg_pool2d(np.ones((2, 0, 1, 1)))[0].shape == (2, 0)
    assert adaptive_avg_pool2d(np.ones((2, 0, 3, 4)), (2, 1))[0].shape == (2, 0, 2, 1)


@pytest.mark.parametrize("pool", [max_pool2d, avg_pool2d])
def test_images_without_a_channel_are_not_pooled(pool):
    with pytest.raises(ValueError, match=r"^pooling takes images with at least one channel, not "):
        pool(np.ones((2, 0, 4, 4)), 2, stride=2)
    assert pool(np.ones((0, 3, 4, 4)), 2, stride=2)[0].shape == (0, 3, 2, 2)


def test_there_is_nothing_to_mirror_in_a_single_row():
    for shape in ((1, 1, 1, 4), (1, 1, 4, 1)):
        message = rf"^blur_pool2d takes images of at least 2x2 pixels, not {shape[2]}x{shape[3]}$"
        with pytest.raises(ValueError, match=message):
            blur_pool2d(np.ones(shape), stride=2)
    assert blur_pool2d(np.ones((1, 1, 2, 2)), stride=2)[0].shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match=r"^blur_pool2d takes images .*\(2, 3\)"):
        blur_pool2d(np.ones((2, 3)), stride=2)
    with pytest.raises(ValueError, match=r"^stride must be .* not 0"):
        blur_pool2d.reference(np.ones((1, 1, 2, 2)), stride=0)
