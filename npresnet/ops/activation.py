"""Functions applied value by value.

[L] Maas, Hannun & Ng 2013, Rectifier nonlinearities improve neural network acoustic models, ICML workshop
[G] Hendrycks & Gimpel 2016, Gaussian error linear units (GELUs), arXiv:1606.08415
[S] Elfwing, Uchibe & Doya 2017, Sigmoid-weighted linear units, arXiv:1702.03118
"""

from math import pi

from ..backend import Array, Pullback, array_namespace, namespace_for
from .erf import erf
from .gate import sigmoid
from .rules import op

FLAT = 39.0     # from here on the normal density is 0 in float64


@op
def relu(x: Array) -> tuple[Array, Pullback]:
    """y = max(x, 0);   dx = dy · [y > 0].

    At the kink x = 0 the derivative is taken as 0, as in PyTorch; where x is NaN, too (PyTorch takes 1).

    Shapes: any.
    Saves: y; the next convolution saves it anyway.
    """
    y = namespace_for(x=x).maximum(x, 0)
    return y, lambda dy: array_namespace(dy).where(y > 0, dy, 0)


@op
def leaky_relu(x: Array, *, negative_slope: float = 0.01) -> tuple[Array, Pullback]:
    """y = x where x > 0, else a x;   dx = dy where x > 0, else a dy, with a the ``negative_slope``.        [L]

    A slope is at least 0, so that y > 0 says where x > 0.  At the kink x = 0 the derivative is taken as a, as in
    PyTorch.

    Shapes: any.
    Saves: y; the next convolution saves it anyway.
    """
    xp = namespace_for(x=x)
    y = xp.where(x > 0, x, negative_slope * x)
    return y, lambda dy: xp.where(y > 0, dy, negative_slope * dy)


@op
def gelu(x: Array) -> tuple[Array, Pullback]:
    """y = x Φ(x) with Φ(x) = (1 + erf(x/√2))/2;   dx = dy · (Φ(x) + x φ(x)) with φ(x) = e^(−x²/2)/√(2π).   [G] §2

    Φ and φ are the normal distribution and its density: x is kept as far as it is likely to be large.  This is the
    exact function, PyTorch's default, and not the one with tanh.  Images of 16 bits are computed in float32.

    Shapes: any.
    Saves: x; Φ(x) is computed again, for it would be one more array.
    """
    xp = namespace_for(x=x)

    def distribution():
        return (1 + erf(_wide(x) * 0.5**0.5)) / 2

    def pullback(dy):
        near = xp.minimum(abs(_wide(x)), FLAT)
        density = xp.exp(-near * near / 2) / (2 * pi) ** 0.5
        return (dy * (distribution() + x * density)).astype(x.dtype, copy=False)

    return (x * distribution()).astype(x.dtype, copy=False), pullback


@op
def silu(x: Array) -> tuple[Array, Pullback]:
    """y = x s with s = 1/(1 + e⁻ˣ);   dx = dy · s (1 + x (1 − s)).                            [S]

    Images of 16 bits are computed in float32.

    Shapes: any.
    Saves: x; s is computed again, for it would be one more array.
    """
    def pullback(dy):
        s, _ = sigmoid(_wide(x))
        return (dy * (s * (1 + x * (1 - s)))).astype(x.dtype, copy=False)

    return (x * sigmoid(_wide(x))[0]).astype(x.dtype, copy=False), pullback


def _wide(x):
    """x in float32 where it has 16 bits: what is computed from it keeps its digits."""
    return x.astype("float32") if x.dtype.itemsize == 2 else x
