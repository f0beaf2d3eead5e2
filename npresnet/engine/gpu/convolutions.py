"""The algorithms for a convolution of the plan on a GPU; which one runs is measured once for each size."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ...backend import Array, array_namespace
from ...kernels.gpu.affine import affine
from ...kernels.gpu.conv import explicit_gemm
from ...kernels.gpu.im2col import Columns, matrix
from ...kernels.gpu.implicit_gemm import TILES, best_tile, implicit_gemm, splits_for, supports
from ...kernels.gpu.launch import sum_dtype
from ..graph import NO_FLOOR, Node
from ..shapes import Image, conv_window
from .autotune import autotune
from .resources import Resources

Named = tuple[str, Callable[[], Any]]  # an algorithm's name and its launch


class Convolution(NamedTuple):
    """y = max(X̃ Wᵀ + bias + residual, floor), channels last; ``bias`` is None where it is zero."""

    x: Array
    w: Array
    bias: Array | None
    residual: Array | None
    floor: float
    y: Array
    columns: Columns
    tf32: bool


def convolution(resources: Resources, node: Node, reads: list[Array], y: Array) -> Named:
    """The fastest algorithm for the convolution of ``node``."""
    x, groups = reads[0], getattr(node.module, "groups", 1)
    n, height, width, channels = x.shape
    columns = Columns(conv_window(node, Image(height, width, channels)), (n, channels, height, width), groups)
    w, bias = resources.weights(node, lambda: _weights(resources.xp, node, x, groups))
    residual = reads[1] if len(reads) > 1 else None
    work = Convolution(x, w, bias, residual, node.floor, y, columns, resources.tf32)
    candidates = list(_candidates(work, resources.scratch))
    key = columns, w.shape, bias is None, residual is None, node.floor
    name, run = candidates[resources.choice(key, lambda: autotune(resources.xp, [run for _, run in candidates]))]
    return " ".join([name, *["+ shortcut"] * (residual is not None), *["relu"] * (node.floor == 0)]), run


def _weights(xp, node, x, groups):
    """W for channels as they are stored, of which the net's input may have more, and the bias."""
    weight = xp.asarray(node.weight, x.dtype)
    if weight.shape[1] * groups < x.shape[3]:
        weight = xp.pad(weight, ((0, 0), (0, x.shape[3] - weight.shape[1]), (0, 0), (0, 0)))
    return matrix(weight, groups), xp.asarray(node.bias, sum_dtype(x.dtype)) if node.bias.any() else None


def _candidates(work, scratch) -> Iterator[Named]:
    """Every algorithm that supports the convolution, the one that is likely the fastest first."""
    implicit, explicit = list(_implicit(work, scratch)), _explicit(work, scratch)
    yield from [explicit, *implicit] if work.columns.pointwise else [*implicit, explicit]


def _implicit(work, scratch) -> Iterator[Named]:
    """Without columns in memory: by every tile, and with several blocks for a tile where few blocks have work."""
    x, w, bias, residual, floor, y, columns, tf32 = work
    if not supports(columns, w.shape[1], x, w):
        return
    first = best_tile(x, w, columns, tf32)
    for tile in sorted(TILES.of(x.dtype, tf32), key=lambda tile: tile != first):
        for splits in sorted({splits_for(x, w, columns, tile), 1}, reverse=True):
            parts = None if splits == 1 else scratch((splits, *y.shape), sum_dtype(x.dtype))

            def run(tile=tile, parts=parts):
                implicit_gemm(x, w, columns, bias, residual, floor, out=y, tile=tile, parts=parts, tf32=tf32)

            yield f"implicit GEMM {tile}" + f"/{splits}" * (splits > 1), run


def _explicit(work, scratch) -> Named:
    """A product of cuBLAS, over columns in memory where the kernel is not 1×1; then the rest, in place."""
    x, w, bias, residual, floor, y, columns, tf32 = work
    xp, (kh, kw) = array_namespace(x), columns.window.kernel
    workspace = columns.workspace(x, columns.parts(x.itemsize), scratch)
    plain = bias is None and residual is None and floor == NO_FLOOR
    ones = xp.ones(y.shape[3], dtype=sum_dtype(x.dtype))
    shift = xp.zeros_like(ones) if bias is None else bias

    def run():
        explicit_gemm(x, w, columns, out=y, workspace=workspace, tf32=tf32)
        if not plain:
            affine(y, ones, shift, residual, floor, out=y)

    return "product" if columns.pointwise else f"columns {kh}x{kw}", run
