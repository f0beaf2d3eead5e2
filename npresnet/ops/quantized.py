"""The layers of a network on integers of 8 bits, with sums of 32.

    r = s (q − z) for images, w = s_w q_w for weights, whose zero point is 0, so that

        Σ w x = s_w s_x Σ q_w (q_x − z_x)       a real sum is one of integers, times a number for each filter  [J] §2.2

Sums of integers have no rounding: any order gives the same bits.  They are computed here by the plain ops in float64,
which holds every integer below 2⁵³, and a kernel must equal them bit for bit.

[J] Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference,
    arXiv:1712.05877
"""

from numpy import dtype

from ..backend import Array, array_namespace
from .check import IntOrPair, Padding
from .conv import conv2d
from .linear import linear
from .quantize import UNSIGNED, Quantized, check_levels, dequantize, saturate

LARGEST = 2**31 - 1         # of the sums


def integer_conv2d(x: Array, w: Array, *, zero_point: int = 0, stride: IntOrPair = 1, padding: Padding = 0,
                   dilation: IntOrPair = 1, groups: int = 1) -> Array:
    """a[n,f,p,q] = Σ_{c,i,j} w[f,c,i,j] · (x[n, c, s·p + d·i − pad, s·q + d·j − pad] − z), exactly.     [J] Eq. 4

    Padding is the real 0, the integer z, and adds nothing.

    Shapes: x (N, C, H, W) uint8, w (F, C/G, kh, kw) int8 → a (N, F, oh, ow) int32.
    Raises: ValueError where shapes do not fit, or a sum might need more than 32 bits; TypeError for other dtypes.
    """
    check_integers(x, w, zero_point)
    static = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return conv2d(x.astype("float64") - zero_point, w.astype("float64"), **static)[0].astype("int32")


def integer_linear(x: Array, w: Array, *, zero_point: int = 0) -> Array:
    """A = (X − z) Wᵀ, exactly.                                                                           [J] Eq. 4

    Shapes: x (N, D) uint8, w (M, D) int8 → a (N, M) int32.
    Raises: as integer_conv2d.
    """
    check_integers(x, w, zero_point)
    return linear(x.astype("float64") - zero_point, w.astype("float64"))[0].astype("int32")


def requantize(a: Array, multiplier: Array, bias: Array | None = None, *, zero_point: int = 0,
               levels: tuple[int, int] = UNSIGNED) -> Array:
    """y = clamp(round((a + b) m) + z): sums of 32 bits on the scale of the next layer.                   [J] Eq. 5

    m = s_x s_w / s_y, one for each channel, brings the sum from its own scale s_x s_w to y's; b is the bias on the
    sum's scale, b / (s_x s_w).  Both are float32 and so is the product, as in FBGEMM; [J] §2.4 rounds b to an integer,
    and writes m as an integer and a shift, for processors without floating point.  A ReLU is the first level z.

    Shapes: a (N, C, …) int32, multiplier and bias (C,) or (1,) → y, of a's shape, uint8.
    """
    check_levels(levels, zero_point)
    of_channel = (-1, *(1,) * (a.ndim - 2))
    level = a.astype("float32")
    if bias is not None:
        level += bias.reshape(of_channel).astype("float32")
    level = array_namespace(a).rint(level * multiplier.reshape(of_channel).astype("float32"))
    return saturate(level + level.dtype.type(zero_point), levels)


def quantized_add(a: Quantized, b: Quantized, *, scale: float, zero_point: int = 0,
                  levels: tuple[int, int] = UNSIGNED) -> Quantized:
    """q = clamp(round((s_a (a − z_a) + s_b (b − z_b)) / s) + z): a sum needs one scale, and has its own.   [J] App. A.2

    Computed in float32, as in PyTorch.  A ReLU is the first level z.

    Shapes: a and b any, but the same → of that shape.
    Raises: ValueError where the shapes differ.
    """
    if a.q.shape != b.q.shape:
        raise ValueError(f"the two paths of a sum need one shape, not {a.q.shape} and {b.q.shape}")
    check_levels(levels, zero_point)
    level = array_namespace(a.q).rint((dequantize(*a) + dequantize(*b)) * (1 / _float32(scale)))
    return Quantized(saturate(level + _float32(zero_point), levels), scale, zero_point)


def _float32(value):
    return dtype("float32").type(value)


def check_integers(x: Array, w: Array, zero_point: int) -> None:
    """Raise unless the dtypes are right and int32 holds every sum."""
    if x.dtype != "uint8" or w.dtype != "int8":
        raise TypeError(f"uint8 images and int8 weights are needed, not {x.dtype} and {w.dtype}; use quantize()")
    check_levels(UNSIGNED, zero_point)
    if len(w) and w[0].size * 255 * 128 > LARGEST:
        raise ValueError(f"a sum of {w[0].size:,} products may not fit 32 bits; the most is {LARGEST // (255 * 128):,}")
