"""Winograd's convolution is conv2d, and its pullback is the adjoint; its error is what the docstring says."""

import numpy as np
import pytest

from npresnet.backend import use
from npresnet.ops import conv2d
from npresnet.ops.winograd import F, winograd_conv2d


def arrays(dtype, n=2, c=3, f=4, h=9, w=7):
    rng = np.random.default_rng(0)
    made = [rng.standard_normal(shape).astype(dtype) for shape in ((n, c, h, w), (f, c, 3, 3), (f,))]
    for array in made:
        array.flags.writeable = False
    return made


@pytest.mark.parametrize("m", F)
def test_transforms_give_the_one_dimensional_filter(m):
    """A' [(G g) (B' d)] is the correlation of g with d, by [LG] §4.1."""
    rng = np.random.default_rng(1)
    d, g = rng.standard_normal(m + 2), rng.standard_normal(3)
    np.testing.assert_allclose(F[m].at @ ((F[m].g @ g) * (F[m].bt @ d)), np.correlate(d, g), atol=1e-12)


@pytest.mark.parametrize("m", F)
@pytest.mark.parametrize("padding", [0, 1, ((0, 2), (1, 0))])
@pytest.mark.parametrize("size", [(9, 7), (4, 4), (3, 5)])
def test_value_and_every_gradient_equal_those_of_conv2d(m, padding, size):
    x, w, b = arrays(np.float64, h=size[0], w=size[1])
    with use("numpy"):
        wanted, wanted_pullback = conv2d(x, w, b, padding=padding)
    y, pullback = winograd_conv2d(x, w, b, padding=padding, tile=m)
    np.testing.assert_allclose(y, wanted, atol=1e-11)
    dy = np.random.default_rng(2).standard_normal(y.shape)
    for got, expected in zip(pullback(dy), wanted_pullback(dy)):
        np.testing.assert_allclose(got, expected, atol=1e-11)


@pytest.mark.parametrize("m", F)
def test_pullback_is_the_adjoint(m):
    x, w, _ = arrays(np.float64)
    rng = np.random.default_rng(3)
    y, pullback = winograd_conv2d(x, w, tile=m)
    dy = rng.standard_normal(y.shape)
    dx, dw, db = pullback(dy)
    v, u = rng.standard_normal(x.shape), rng.standard_normal(w.shape)
    assert db is None
    np.testing.assert_allclose(np.vdot(dx, v), np.vdot(dy, winograd_conv2d(v, w, tile=m)[0]), rtol=1e-11)
    np.testing.assert_allclose(np.vdot(dw, u), np.vdot(dy, winograd_conv2d(x, u, tile=m)[0]), rtol=1e-11)


def test_skipped_gradients_are_none():
    x, w, b = arrays(np.float32)
    y, pullback = winograd_conv2d(x, w, b)
    dx, dw, db = pullback(y, skip={"x", "b"})
    assert dx is None and db is None and dw.shape == w.shape and dw.dtype == y.dtype == np.float32


@pytest.mark.parametrize("m, bound", [(2, 1e-6), (4, 2e-5)])
@pytest.mark.parametrize("channels", [64, 512])
def test_error_in_float32_is_what_the_docstring_says(m, bound, channels):
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((1, channels, 12, 12))
    w = rng.standard_normal((16, channels, 3, 3))
    with use("numpy"):
        truth = conv2d(x, w, padding=1)[0]
    y = winograd_conv2d(x.astype(np.float32), w.astype(np.float32), tile=m)[0]
    assert abs(y - truth).max() < bound * abs(truth).max()


def test_wrong_filters_and_tiles_are_refused():
    x, w, _ = arrays(np.float32)
    with pytest.raises(ValueError, match="use conv2d"):
        winograd_conv2d(x, w[:, :, :2, :2])
    with pytest.raises(ValueError, match="one bias per filter"):
        winograd_conv2d(x, w, np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="no transforms for tiles of 5"):
        winograd_conv2d(x, w, tile=5)
