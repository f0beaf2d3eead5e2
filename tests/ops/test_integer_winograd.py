"""Winograd's convolution of integers: exact, wherever it says so."""

import numpy as np
import pytest

from npresnet.ops import integer_conv2d
from npresnet.ops.integer_winograd import integer_transforms, integer_winograd_conv2d, supports_integer_winograd
from npresnet.ops.winograd import F


@pytest.mark.parametrize("tile", F)
def test_it_equals_the_convolution(tile):
    rng = np.random.default_rng(tile)
    for _ in range(60):
        c, h, w = (int(n) for n in rng.integers((1, 3, 3), (9, 12, 12)))
        x = rng.choice([rng.integers(0, 256, (2, c, h, w)), rng.choice([0, 255], (2, c, h, w))]).astype(np.uint8)
        weight = rng.choice([rng.integers(-128, 128, (5, c, 3, 3)), rng.choice([-128, 127], (5, c, 3, 3))])
        static = {"zero_point": int(rng.integers(256)), "padding": int(rng.integers(0, 3))}
        x.flags.writeable = False
        found = integer_winograd_conv2d(x, weight.astype(np.int8), tile=tile, **static)
        np.testing.assert_array_equal(found, integer_conv2d(x, weight.astype(np.int8), **static))


@pytest.mark.parametrize("tile", F)
def test_its_matrices_are_whole_and_give_the_real_ones(tile):
    t = integer_transforms(tile)
    assert np.array_equal(t.bt, F[tile].bt)
    scale = t.g.max(1) / F[tile].g.max(1)
    k = round(np.sqrt(2**t.shift * pow(t.inverse, -1, 2**32)))
    np.testing.assert_allclose(t.g, F[tile].g * scale[:, None], rtol=1e-15)
    np.testing.assert_allclose(t.at * scale, F[tile].at * k, rtol=1e-15)
    assert k * k * t.inverse % 2**32 == 2**t.shift


@pytest.mark.parametrize("tile", F)
def test_transformed_levels_and_weights_fit_16_bits(tile):
    t = integer_transforms(tile)
    positive, negative = t.bt.clip(min=0).sum(1), -t.bt.clip(max=0).sum(1)
    levels = 255 * max((np.outer(a, b) + np.outer(c, d)).max() for a, b, c, d in (
        (positive, positive, negative, negative), (positive, negative, negative, positive)))  # fmt: skip
    weights = 128 * np.outer(abs(t.g).sum(1), abs(t.g).sum(1)).max()
    assert max(levels, weights) < 2**15


@pytest.mark.parametrize(("tile", "bits"), [(2, 29), (4, 25)])
def test_where_it_would_not_be_exact_it_refuses(tile, bits):
    """The largest sum, of weights 127 and levels 255, is what the bound says."""
    channels = 2**bits // (255 * 9 * 127)
    for c, supported in ((channels, True), (channels + 1, False)):
        w = np.full((1, c, 3, 3), 127, np.int8)
        assert supports_integer_winograd(w, tile) == supports_integer_winograd(-w, tile) == supported
    x = np.full((1, c, 4, 4), 255, np.uint8)
    with pytest.raises(ValueError, match=rf"may pass the bounds of F\({tile}x{tile}, 3x3\)"):
        integer_winograd_conv2d(x, w, tile=tile)
    if tile == 4:
        x, w = x[:, 1:], w[:, 1:]
        np.testing.assert_array_equal(integer_winograd_conv2d(x, w), integer_conv2d(x, w, padding=1))
