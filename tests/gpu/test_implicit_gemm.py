"""Products without columns in memory: every tile, in every precision, gives the sums of the definition."""

import numpy as np
import pytest

from npresnet.kernels.gpu import filter_gradient
from npresnet.kernels.gpu.filter_gradient import implicit_filter_gradient
from npresnet.kernels.gpu.im2col import Columns, matrix
from npresnet.kernels.gpu.implicit_gemm import TILES, implicit_gemm, supports
from npresnet.ops import conv2d
from npresnet.ops.window import Window

from ..support import laws

WINDOWS = {  # x (N, C, H, W), w (F, C/G, kh, kw), and the rest
    "3x3": ((2, 16, 9, 7), (24, 16, 3, 3), {"padding": 1}),
    "several pieces": ((1, 40, 6, 5), (72, 40, 3, 3), {"padding": 1}),
    "strided": ((2, 16, 9, 8), (16, 16, 3, 3), {"padding": 1, "stride": 2}),
    "1x1": ((3, 72, 5, 5), (136, 72, 1, 1), {}),
    "strided 1x1": ((2, 24, 6, 7), (16, 24, 1, 1), {"stride": 2}),
    "dilated": ((1, 8, 11, 10), (8, 8, 3, 3), {"padding": 2, "dilation": 2}),
    "wide padding": ((1, 8, 4, 3), (8, 8, 5, 3), {"padding": ((3, 1), (0, 2))}),
    "groups": ((2, 32, 6, 5), (48, 16, 3, 3), {"padding": 1, "groups": 2}),
    "more rows than a tile": ((3, 8, 13, 11), (8, 8, 3, 3), {"padding": 1}),
}
KINDS = [("float64", False), ("float32", False), ("float32", True), ("float16", False)]
QUICK = {"3x3", "strided 1x1", "groups"}  # for the fast tests; in float64, whose bound is the tightest, all are


def every(tiles):
    """Each tile in each precision over each window."""
    for dtype, tf32 in KINDS:
        for tile in tiles.of(np.dtype(dtype), tf32):
            for window in WINDOWS:
                fast = window in QUICK or dtype == "float64"
                yield pytest.param(dtype, tf32, tile, window, marks=() if fast else pytest.mark.slow)


BOUND = {"float64": 1e-13, "float32": 2e-6, "float16": 2e-3}
TF32 = 2e-3  # factors of 11 bits


def drawn(cupy, x, w, dtype, groups=1):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(dtype) for shape in (x, w))
    return x, w, cupy.asarray(x.transpose(0, 2, 3, 1).copy()), matrix(cupy.asarray(w), groups)


def due(x, w, static):
    y, _ = conv2d.reference(x.astype(np.float64), w.astype(np.float64), **static)
    return y.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("dtype, tf32, tile, window", list(every(TILES)), ids=str)
def test_it_is_the_sum(cupy, dtype, tf32, tile, window):
    x_shape, w_shape, static = WINDOWS[window]
    x, w, x_there, w_there = drawn(cupy, x_shape, w_shape, dtype, static.get("groups", 1))
    columns = columns_of(x_shape, w_shape, static)
    assert supports(columns, w_there.shape[1], x_there, w_there)
    y = implicit_gemm(x_there, w_there, columns, tile=tile, tf32=tf32)
    laws.assert_close(y.get(), due(x, w, static).astype(dtype), TF32 if tf32 else BOUND[dtype])


def columns_of(x_shape, w_shape, static):
    rest = {key: value for key, value in static.items() if key != "groups"}
    return Columns(Window.of(w_shape[2:], **rest), x_shape, static.get("groups", 1))


@pytest.mark.parametrize("dtype, tf32, tile, window", list(every(filter_gradient.TILES)), ids=str)
def test_dw_is_the_sum(cupy, dtype, tf32, tile, window):
    x_shape, w_shape, static = WINDOWS[window]
    rng, columns, groups = np.random.default_rng(1), columns_of(x_shape, w_shape, static), static.get("groups", 1)
    x, w, x_there, _ = drawn(cupy, x_shape, w_shape, dtype, groups)
    y, pullback = conv2d.reference(x.astype(np.float64), w.astype(np.float64), **static)
    dy = rng.standard_normal(y.shape).astype(dtype)
    _, dw, _ = pullback(dy.astype(np.float64))
    dw = dw.transpose(0, 2, 3, 1).reshape(groups, len(w) // groups, -1)
    dy_there = cupy.asarray(dy.transpose(0, 2, 3, 1).copy())
    for splits in (None, 1, 3):
        found = implicit_filter_gradient(x_there, dy_there, columns, tile, splits, tf32).get()
        assert found.dtype == (np.float64 if dtype == "float64" else np.float32)
        laws.assert_close(found, dw.astype(found.dtype), TF32 if tf32 else min(BOUND[dtype], 1e-5))


@pytest.mark.parametrize("splits", [1, 2, 5])
@pytest.mark.parametrize("dtype, tf32", KINDS)
def test_bias_shortcut_and_relu(cupy, dtype, tf32, splits):
    x_shape, w_shape, static = WINDOWS["several pieces"]
    x, w, x_there, w_there = drawn(cupy, x_shape, w_shape, dtype)
    rng, wide = np.random.default_rng(1), "float64" if dtype == "float64" else "float32"
    bias, sums = rng.standard_normal(w_shape[0]).astype(wide), due(x, w, static)
    residual = rng.standard_normal(sums.shape).astype(dtype)
    parts = None if splits == 1 else cupy.empty((splits, *sums.shape), wide)
    for b, r, floor in ((bias, residual, 0.0), (bias, None, float("-inf")), (None, residual, 0.0)):
        y = implicit_gemm(
            x_there,
            w_there,
            columns_of(x_shape, w_shape, static),
            *(None if a is None else cupy.asarray(a) for a in (b, r)),
            floor,
            parts=parts,
            tf32=tf32,
        )
        expected = np.maximum(sums + (0 if b is None else b) + (0 if r is None else r.astype(np.float64)), floor)
        laws.assert_close(y.get(), expected.astype(dtype), TF32 if tf32 else BOUND[dtype])
