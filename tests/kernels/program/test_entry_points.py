"""Law 5 for the engine's kernels: each equals its reference in ops, channels last, in float32."""

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet import ops
from npresnet.backend import use
from npresnet.engine.cpu.packing import direct, in_lanes, padded_bias, transformed
from npresnet.kernels.cpu import pointwise, pool
from npresnet.kernels.cpu.codegen.vector import LANES
from npresnet.kernels.cpu.conv import band, grouped, winograd
from npresnet.kernels.cpu.conv.pack import pack, round_up
from npresnet.kernels.cpu.conv.product import product
from npresnet.kernels.cpu.program import entry_point
from npresnet.ops import Window

C, F = 2 * LANES, 7 * LANES  # one panel of every width


def rng():
    return np.random.default_rng(0)


def last(x):
    """(N, C, H, W) -> channels last, contiguous."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def random(*shape):
    return rng().standard_normal(shape).astype(np.float32)


@pytest.fixture(autouse=True)
def three_threads(monkeypatch):
    """Three threads, whose workspaces hold NaN: what is read there was written there before."""

    def unwritten(shape, dtype):
        return np.full(shape, np.nan, np.float32).view(dtype) if np.ndim(shape) else np.full(shape // 4, np.nan, "f4")

    monkeypatch.setattr(entry_point, "empty", unwritten)
    with use("numba", threads=3):
        yield


def over(total, part):
    return -(-total // part)


def agree(y, wanted, bound=2e-6):
    assert np.isfinite(y).all()
    assert abs(y - wanted).max() <= bound * abs(wanted).max()


def numbers(window):
    return (*window.kernel, *window.stride, *window.dilation, window.padding[0][0], window.padding[1][0])


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("block, splits", [(12, 1), (25, 2), (200, 3)])
@pytest.mark.parametrize("residual", [False, True])
def test_product_is_a_pointwise_convolution(stride, block, splits, residual):
    x, w, b = random(2, C, 7, 9), random(F, C, 1, 1), random(F)
    with use("numpy"):
        wanted = last(ops.conv2d(x, w, b, stride=stride)[0])
    r = random(*wanted.shape)
    wanted = np.maximum(wanted + r, 0) if residual else wanted
    y, xl, packed = np.full_like(wanted, np.nan), last(x), pack(w[:, :, 0, 0].T)
    count = over(y.shape[0] * y.shape[1] * y.shape[2], block) * splits
    product(
        count,
        xl,
        xl.shape,
        (stride, stride),
        packed,
        b,
        y,
        y.shape,
        r if residual else None,
        residual,
        block,
        splits,
        1,
    )
    agree(y, wanted)


WINDOWS = [  # channels, filters, groups, window
    (C, F, 1, Window.of(3, 2, 1)),
    (3, LANES, 1, Window.of(7, 2, 3)),
    (C, 2 * LANES, 1, Window.of(3, 1, 2, 2)),
    (C, 2 * LANES, 2, Window.of(3, 1, 1)),
    (2 * C, 2 * C, 2 * C // 4, Window.of(3, 2, 1)),
    (3, LANES, 1, Window.of((2, 3), (1, 2), ((0, 2), (1, 0)))),
    (C, C, 1, Window.of(5, 1, 0)),
]


@pytest.mark.parametrize("channels, filters, groups, window", WINDOWS)
@pytest.mark.parametrize("rows, splits", [(1, 1), (4, 2), (50, 1)])
@pytest.mark.parametrize("channels_last", [True, False])
def test_band_is_any_convolution(channels, filters, groups, window, rows, splits, channels_last):
    x, w, b = random(2, channels, 11, 13), random(filters, channels // groups, *window.kernel), random(filters)
    with use("numpy"):
        wanted = last(
            ops.conv2d(x, w, b, stride=window.stride, padding=window.padding, dilation=window.dilation, groups=groups)[
                0
            ]
        )
    packed, merged = direct(w, groups, channels)
    data, n = (last(x), numbers(window)) if channels_last else (x, numbers(window))
    strides = tuple(np.array(data.strides)[[0, 3, 1, 2]]) if channels_last else data.strides
    y, size = np.full_like(wanted, np.nan), band.band_bytes(rows, wanted.shape[2], channels, n)
    given = data, (2, 11, 13, channels), strides, n, merged, packed, b, y, y.shape, None, False, rows, splits
    band.convolution(2 * over(y.shape[1], rows) * splits, *given, work_bytes=size)
    agree(y, wanted)


@pytest.mark.parametrize("rows", [1, 3, 20])
@pytest.mark.parametrize("pooling", [Window.of(3, 2, 1), Window.of(2, 2, 0)])
def test_band_with_a_pool_is_convolution_relu_and_pool(rows, pooling):
    x, w, b, window = random(2, 3, 23, 21), random(2 * LANES, 3, 7, 7), random(2 * LANES), Window.of(7, 2, 3)
    with use("numpy"):
        middle = np.maximum(ops.conv2d(x, w, b, stride=2, padding=3)[0], 0)
        wanted = last(ops.max_pool2d(middle, pooling.kernel, stride=2, padding=pooling.padding)[0])
    packed, _ = direct(w, 1, 3)
    y, sizes = np.full_like(wanted, np.nan), middle.shape[2:]
    size = band.pooled_band_bytes(rows, sizes[1], 3, 2 * LANES, numbers(window), numbers(pooling))
    given = x, (2, 23, 21, 3), x.strides, numbers(window), packed, b, sizes, True, numbers(pooling), y, y.shape, rows
    band.pooled_convolution(2 * over(y.shape[1], rows), *given, work_bytes=size)
    agree(y, wanted)


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("padding", [1, ((0, 2), (1, 1))])
@pytest.mark.parametrize("block, splits", [(5, 1), (12, 2), (48, 3)])
@pytest.mark.parametrize("residual", [False, True])
def test_winograd_equals_its_reference(m, padding, block, splits, residual):
    x, w, b = random(2, C, 13, 10), random(F, C, 3, 3), random(F)
    window = Window.of(3, padding=padding)
    with use("numpy"):
        wanted = last(ops.conv2d(x, w, b, padding=padding)[0])
    r = random(*wanted.shape)
    wanted = np.maximum(wanted + r, 0) if residual else wanted
    y, xl, u, zeros = np.full_like(wanted, np.nan), last(x), transformed(w, m, C), np.zeros(1024, np.float32)
    size = winograd.winograd_bytes(m, block, C)
    count = over(len(y) * over(y.shape[1], m) * over(y.shape[2], m), block) * splits
    given = (
        xl,
        xl.shape,
        numbers(window)[6:],
        u,
        b,
        y,
        y.shape,
        r if residual else None,
        residual,
        block,
        splits,
        1,
        zeros,
    )
    {2: winograd.winograd2, 4: winograd.winograd4}[m](count, *given, work_bytes=size)
    agree(y, wanted, {2: 2e-6, 4: 2e-5}[m])
    assert not zeros.any()


@pytest.mark.parametrize("size", [s for s in (4, 8, 16) if s <= LANES])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding, rows", [(1, 1), (1, 4), (((2, 0), (0, 1)), 50)])
def test_grouped_equals_its_reference(size, stride, padding, rows):
    x, w, b = random(2, 3 * LANES, 9, 37), random(3 * LANES, size, 3, 3), random(3 * LANES)
    with use("numpy"):
        wanted = ops.conv2d(x, w, b, stride=stride, padding=padding, groups=3 * LANES // size)[0]
        wanted = last(np.maximum(wanted, 0))
    top, left = numbers(Window.of(3, padding=padding))[6:]
    y, xl, packed, zeros = np.full_like(wanted, np.nan), last(x), in_lanes(w), np.zeros(1024, np.float32)
    kernel = {4: grouped.grouped4, 8: grouped.grouped8, 16: grouped.grouped16}[size]
    given = xl, xl.shape, stride, (top, left), packed, b, y, y.shape, True, rows, zeros
    kernel(2 * over(y.shape[1], rows), *given, work_bytes=12 * LANES)
    agree(y, wanted)
    assert not zeros.any()


def test_max_pool_takes_the_largest_and_keeps_nan():
    x = random(2, C, 9, 8)
    x[0, 0, 4, 4] = np.nan
    with use("numpy"):
        wanted = last(ops.max_pool2d(x, 3, stride=2, padding=1)[0])
    y, xl = np.empty_like(wanted), last(x)
    pool.max_pool(2 * y.shape[1], xl, xl.shape, (3, 3, 2, 2, 1, 1, 1, 1), y, y.shape)
    np.testing.assert_array_equal(y, wanted)


def test_a_nan_passes_a_relu():
    x, w, b = random(1, C, 1, 1), random(F, C, 1, 1), random(F)
    x[0, 0] = np.nan
    y, xl, packed = np.zeros((1, 1, 1, F), np.float32), last(x), pack(w[:, :, 0, 0].T)
    product(1, xl, xl.shape, (1, 1), packed, b, y, y.shape, None, True, 12, 1, 1)
    assert np.isnan(y).all()


def test_global_mean():
    x = random(3, C, 5, 7)
    y, xl = np.empty((3, C), np.float32), last(x)
    pool.global_mean(3, xl, 35, C, y)
    np.testing.assert_allclose(y, x.mean(axis=(2, 3)), atol=1e-6)


def test_affine_and_add():
    x, z, scale, shift = random(2, 13, 11, C), rng().random((2, 13, 11, C)).astype(np.float32), random(C), random(C)
    y = np.empty_like(x)
    pointwise.affine(over(286, pointwise.PIXELS), x, 286, C, scale, shift, True, y)
    np.testing.assert_allclose(y, np.maximum(scale * x + shift, 0), atol=1e-6)
    pointwise.add(over(286, pointwise.PIXELS), x, z, 286, C, False, y)
    np.testing.assert_array_equal(y, x + z)


def test_subsample_is_shortcut_a():
    x = random(2, C, 5, 8)
    wanted = last(ops.zero_pad_channels(ops.subsample(x, 2)[0], 3, 2 * C - 3)[0])
    y, xl = np.full_like(wanted, np.nan), last(x)
    pointwise.subsample(2 * y.shape[1], xl, xl.shape, C, (2, 2), 3, y, y.shape)
    np.testing.assert_array_equal(y, wanted)


def test_bias_is_padded_with_zeros():
    np.testing.assert_array_equal(padded_bias(np.ones(LANES + 1))[LANES:], [1] + [0] * (LANES - 1))
    assert round_up(LANES + 1) == 2 * LANES


def test_arguments_lie_in_a_row_as_the_annotations_say():
    given = 1, (2, 3, 4, 5), 6, (7, 8), 9, 10, (11, 12, 13, 14)
    assert pointwise.subsample.flatten(*given) == list(range(1, 15))
    with pytest.raises(ValueError, match=r"^subsample takes 2 integers as stride, not 3$"):
        pointwise.subsample.flatten(*given[:3], (7, 8, 9), *given[4:])
    with pytest.raises(ValueError, match="longer"):
        pointwise.subsample.flatten(*given[:-1])


def test_launches_run_one_after_another():
    x = random(7, 5, 9, C)
    sums, total = np.empty((7, C), np.float32), np.empty((1, C), np.float32)
    first, second = pool.global_mean.launch(7, x, 45, C, sums), pool.global_mean.launch(1, sums, 7, C, total)
    entry_point.run(first, second)
    np.testing.assert_allclose(total[0], x.mean(axis=(0, 1, 2)), atol=1e-6)
