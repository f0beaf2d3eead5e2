"""Gates: a number between 0 and 1 for each channel, and the product with it.

[SE] Hu, Shen & Sun 2018, Squeeze-and-excitation networks, arXiv:1709.01507
"""

from ..backend import Array, Pullback, namespace_for
from .rules import op
from .total import total


@op
def sigmoid(x: Array) -> tuple[Array, Pullback]:
    """s = 1 / (1 + e⁻ˣ);   dx = ds · s (1 − s).

    Written with e^(−|x|), which cannot overflow: 1/(1 + e⁻ˣ) = eˣ/(1 + eˣ).

    Shapes: any.
    Saves: s.
    """
    xp = namespace_for(x=x)
    e = xp.exp(-abs(x))
    s = xp.where(x >= 0, 1, e) / (1 + e)
    return s, lambda ds: ds * s * (1 - s)


@op
def scale_channels(x: Array, s: Array) -> tuple[Array, Pullback]:
    """y[n,c,p,q] = s[n,c] · x[n,c,p,q];   dx = s · dy,   ds = Σ_{p,q} dy · x.                  [SE] Eq. 4

    Shapes: x (N, C, H, W), s (N, C) → y (N, C, H, W).
    Saves: x, s.
    Raises: ValueError where the shapes do not fit.
    """
    namespace_for(x=x, s=s)
    if x.ndim != 4 or s.shape != x.shape[:2]:
        raise ValueError(f"scale_channels takes x (N, C, H, W) and s (N, C), not {x.shape} and {s.shape}")
    scale = s[:, :, None, None]
    return scale * x, lambda dy: (scale * dy, total(dy * x, (2, 3)))
