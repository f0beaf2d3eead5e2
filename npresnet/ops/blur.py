"""Blurring before pixels are left out, so that none is lost without a trace.

[Z] Zhang 2019, Making convolutional networks shift-invariant again, arXiv:1904.11486
"""

from ..backend import Array, Pullback, array_namespace, namespace_for
from . import check
from .check import IntOrPair
from .rules import op


@op
def blur_pool2d(x: Array, *, stride: IntOrPair) -> tuple[Array, Pullback]:
    """Each s-th pixel of the images blurred by the binomial filter k = (1, 2, 1)/4 along both axes.        [Z] §3.2

        y[n,c,p,q] = Σ_{i,j} k_i k_j · x[n, c, s·p + i − 1, s·q + j − 1]

    Beyond the border stand the pixels as in a mirror at the first and last: x[−1] is x[1], x[H] is x[H − 2].
    The filter is a product, B = B₁ B₂ of one matrix an axis, and so is the pullback:  dx = B₂ᵀ B₁ᵀ dy.

    Shapes: x (N, C, H, W) → y (N, C, ⌈H/s⌉, ⌈W/s⌉).
    Saves: nothing.
    Raises: ValueError for images of a single row or column, in which there is nothing to mirror.
    """
    namespace_for(x=x)
    check.images(x, "blur_pool2d")
    shape, (sh, sw) = x.shape, check.pair(stride, "stride")
    if min(shape[2:]) < 2:
        raise ValueError(f"blur_pool2d takes images of at least 2x2 pixels, not {shape[2]}x{shape[3]}")
    y = _blur(_blur(x, 2, sh), 3, sw)

    def pullback(dy):
        return _transposed(_transposed(dy, 3, sw, shape[3]), 2, sh, shape[2])

    return y, pullback


def _blur(x, axis, s):
    """B x along one axis."""
    size = x.shape[axis]
    x = x[(slice(None),) * axis + ([1, *range(size), size - 2],)]                       # framed by its mirror image
    before, here, after = (_part(x, axis, i, size + i, s) for i in range(3))
    return (before + 2 * here + after) / 4


def _transposed(dy, axis, s, size):
    """Bᵀ dy along one axis of the given size: the same taps, and what the mirror showed goes back to its pixel."""
    xp, shape = array_namespace(dy), list(dy.shape)
    shape[axis] = size + 2
    dx = xp.zeros(tuple(shape), dy.dtype)
    for i, weight in enumerate((1, 2, 1)):
        _part(dx, axis, i, size + i, s)[...] += weight * dy / 4
    first, last = _part(dx, axis, 0, 1), _part(dx, axis, size + 1, None)
    _part(dx, axis, 2, 3)[...] += first
    _part(dx, axis, size - 1, size)[...] += last
    return _part(dx, axis, 1, size + 1)


def _part(x, axis, start, stop, step=1):
    """x[start:stop:step] along an axis, a view."""
    return x[(slice(None),) * axis + (slice(start, stop, step),)]
