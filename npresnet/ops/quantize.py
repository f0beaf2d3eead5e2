"""From the real line to 256 levels and back: r = s (q − z), with a scale s and a zero point z.

[J] Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference,
    arXiv:1712.05877
[B] Bengio, Léonard & Courville 2013, Estimating or propagating gradients through stochastic neurons, arXiv:1308.3432
"""

from typing import Any, NamedTuple

from ..backend import Array, Pullback, array_namespace, namespace_for
from .rules import op

UNSIGNED, SIGNED = (0, 255), (-128, 127)    # the levels of uint8, for activations, and of int8, for weights


class Quantized(NamedTuple):
    """Integers that stand for the real numbers s (q − z).                                                  [J] Eq. 1

    The real 0 is the integer z exactly, so that padding with zeros, and a ReLU, cost no error.
    """

    q: Array                                # uint8
    scale: float
    zero_point: int = 0


def quantize(x: Array, scale: Any, zero_point: int = 0, *, levels: tuple[int, int] = UNSIGNED) -> Array:
    """q = clamp(round(x / s + z)), the nearest level, and the even one where two are as near.              [J] Eq. 1

    What lies beyond the last level saturates; NaN becomes the first.  The rounding errors are those of PyTorch's
    quantize_per_tensor, so that halves go where its halves go: 1/s is rounded, then x · (1/s) + z, once, as by a fused
    multiply-add.  (ONNX's QuantizeLinear divides, and adds z after rounding.)

    Shapes: x any; scale a number, or an array that broadcasts against x: one for each channel → q, of x's shape,
    uint8 where the levels start at 0, else int8.
    Raises: ValueError for a scale that is not positive, or a zero point that is no level; TypeError for another dtype.

    >>> quantize(np.array([-1.0, 0.0, 0.25, 0.75, 9.0]), 0.5, 2, levels=(0, 7)).tolist()
    [0, 2, 2, 4, 7]
    """
    level = _level(x, scale, zero_point, levels)
    return saturate(level, levels)


def dequantize(q: Array, scale: Any, zero_point: int = 0, *, dtype: Any = "float32") -> Array:
    """r = s (q − z), in ``dtype``.                                                                       [J] Eq. 1

    Shapes: q any; scale a number, or an array that broadcasts against q → r, of q's shape.
    """
    xp = array_namespace(q)
    return (q.astype("int32") - zero_point).astype(dtype) * xp.asarray(scale, dtype)


@op
def fake_quantize(x: Array, scale: Any, zero_point: int = 0, *, levels: tuple[int, int] = UNSIGNED,
                  ) -> tuple[Array, Pullback]:
    """y = dequantize(quantize(x)), what the integers can say of x;   dx = dy · [first ≤ round(x/s + z) ≤ last].

    Rounding is a staircase, whose derivative is 0 nearly everywhere and teaches nothing.  The pullback is that of the
    line that the stairs follow, y = x: the straight-through estimator [B].  Where x saturates, y does not follow it
    and dx is 0.  A network trained through this op learns weights that survive the rounding.              [J] §3

    Shapes: x any; scale as in :func:`quantize` → y, of x's shape and dtype.
    Saves: inside; one truth value for each x.
    Raises: as quantize.
    """
    level = _level(x, scale, zero_point, levels)
    inside = (levels[0] <= level) & (level <= levels[1])
    y = dequantize(saturate(level, levels), scale, zero_point, dtype=x.dtype)
    return y, lambda dy: array_namespace(dy).where(inside, dy, 0)


def saturate(level: Array, levels: tuple[int, int]) -> Array:
    """The nearest of the levels, as integers of 8 bits; NaN is the first.

    Shapes: level any, floating-point → integers of its shape.
    """
    xp, (first, last) = array_namespace(level), levels
    return xp.where(level > first, xp.minimum(level, last), first).astype("uint8" if first >= 0 else "int8")


def _level(x, scale, zero_point, levels):
    """round(x / s + z), in x's dtype, not yet clamped."""
    xp = namespace_for(x=x)
    scale = xp.asarray(scale, x.dtype)
    if not (scale > 0).all():
        raise ValueError("a scale must be positive: it is the distance of two levels")
    check_levels(levels, zero_point)
    exact = x.astype("float64") * (1 / scale) + zero_point             # the product of two float32 is exact in float64
    return xp.rint(exact.astype(x.dtype))                               # half to even


def check_levels(levels: tuple[int, int], zero_point: int) -> None:
    """Raise ValueError unless 8 bits hold the levels, and the zero point is one of them."""
    first, last = levels
    if not any(low <= first <= last <= high for low, high in (UNSIGNED, SIGNED)):
        raise ValueError(f"the levels must lie in {UNSIGNED} or in {SIGNED}, not {levels}")
    if not first <= zero_point <= last:
        raise ValueError(f"the zero point must be a level, {first} … {last}, not {zero_point}")
