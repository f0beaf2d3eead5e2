"""The ways to compute a convolution of the plan on a GPU; which is taken is measured once for each size."""

from typing import NamedTuple

from ...backend import array_namespace
from ...kernels.gpu.affine import affine
from ...kernels.gpu.conv import explicit_gemm
from ...kernels.gpu.im2col import Columns, matrix
from ...kernels.gpu.implicit_gemm import TILES, best_tile, implicit_gemm, splits_for, supports
from ...kernels.gpu.launch import sum_dtype
from ..graph import NO_FLOOR
from ..shapes import Image, conv_window
from .autotune import autotune


class Work(NamedTuple):
    """max(X̃ Wᵀ + bias + residual, floor) → y, channels last; ``bias`` is None where it is zero."""

    x: object
    w: object
    bias: object
    residual: object
    floor: float
    y: object
    columns: Columns
    tf32: bool


def convolution(engine, node, reads, y):
    """The name and the launch of the fastest way."""
    x, groups = reads[0], getattr(node.module, "groups", 1)
    window = conv_window(node, Image(*x.shape[1:]))
    columns = Columns(window, (len(x), x.shape[3], *x.shape[1:3]), groups)
    w, bias = engine.weights(node, lambda: _weights(engine.xp, node, x, groups))
    work = Work(x, w, bias, (reads[1:] or [None])[0], node.floor, y, columns, engine.tf32)
    ways = list(_ways(work, engine.scratch))
    key = columns, w.shape, bias is None, work.residual is None, node.floor
    name, run = ways[engine.choice(key, lambda: autotune(engine.xp, [run for _, run in ways]))]
    return " ".join([name, *["+ shortcut"] * (work.residual is not None), *["relu"] * (node.floor == 0)]), run


def _weights(xp, node, x, groups):
    """W for channels as they are stored, of which the net's input may have more, and the bias."""
    weight = xp.asarray(node.weight, x.dtype)
    if weight.shape[1] * groups < x.shape[3]:
        weight = xp.pad(weight, ((0, 0), (0, x.shape[3] - weight.shape[1]), (0, 0), (0, 0)))
    return matrix(weight, groups), xp.asarray(node.bias, sum_dtype(x.dtype)) if node.bias.any() else None


def _ways(work, scratch):
    """(name, launch) of each, the one that is likely the fastest first."""
    summed = list(_direct(work, scratch))
    product = _product(work, scratch)
    yield from [product, *summed] if work.columns.pointwise else [*summed, product]


def _direct(work, scratch):
    """Sums without columns: by every tile, and with several blocks for a tile where few blocks have work."""
    x, w, bias, residual, floor, y, columns, tf32 = work
    if not supports(columns, w.shape[1], x, w):
        return
    first = best_tile(x, w, columns, tf32)
    for tile in sorted(TILES.of(x.dtype, tf32), key=lambda tile: tile != first):
        for splits in sorted({splits_for(x, w, columns, tile), 1}, reverse=True):
            parts = None if splits == 1 else scratch((splits, *y.shape), sum_dtype(x.dtype))

            def run(tile=tile, parts=parts):
                implicit_gemm(x, w, columns, bias, residual, floor, out=y, tile=tile, parts=parts, tf32=tf32)

            yield f"direct {tile}" + f"/{splits}" * (splits > 1), run


def _product(work, scratch):
    """A product of cuBLAS, over columns in memory where the kernel is not 1×1; then the rest, in place."""
    x, w, bias, residual, floor, y, columns, tf32 = work
    xp, (kh, kw) = array_namespace(x), columns.window.kernel
    room = columns.workspace(x, columns.parts(x.itemsize), scratch)
    plain = bias is None and residual is None and floor == NO_FLOOR
    ones = xp.ones(y.shape[3], dtype=sum_dtype(x.dtype))
    shift = xp.zeros_like(ones) if bias is None else bias

    def run():
        explicit_gemm(x, w, columns, out=y, room=room, tf32=tf32)
        if not plain:
            affine(y, ones, shift, residual, floor, out=y)

    return "product" if columns.pointwise else f"columns {kh}x{kw}", run
