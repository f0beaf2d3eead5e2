"""Gates: a number between 0 and 1 for each channel, and the product with it.

[SE] Hu, Shen & Sun 2018, Squeeze-and-excitation networks, arXiv:1709.01507
[E]  Wang et al. 2020, ECA-Net, arXiv:1910.03151
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
def conv_channels(x: Array, w: Array) -> tuple[Array, Pullback]:
    """Each channel's sum over its k neighbours among the channels, all with the same weights.                [E] §3.2

        y[n,c] = Σ_j w[j] · x[n, c + j − ⌊k/2⌋]

    Beyond the first and the last channel stand zeros.  With  X̃[n,c,j] = x[n, c + j − ⌊k/2⌋]:

        dx[n,c] = Σ_j w[j] · dy[n, c − j + ⌊k/2⌋]          dw[j] = Σ_{n,c} dy[n,c] · X̃[n,c,j]

    Shapes: x (N, C), w (1, 1, k) → y (N, C).
    Saves: framed, w; framed is x between its zeros.
    Raises: ValueError where the shapes do not fit, or k is even.
    """
    xp = namespace_for(x=x, w=w)
    if x.ndim != 2 or w.ndim != 3 or w.shape[:2] != (1, 1) or w.shape[2] % 2 == 0:
        raise ValueError(f"conv_channels takes x (N, C) and w (1, 1, k) with an odd k, not {x.shape} and {w.shape}")
    (n, c), k = x.shape, w.shape[2]
    half = k // 2
    framed = xp.zeros((n, c + k - 1), x.dtype)
    framed[:, half:half + c] = x
    y = xp.zeros(x.shape, x.dtype)
    for j in range(k):
        y += w[0, 0, j] * framed[:, j:j + c]

    def pullback(dy, skip=()):
        dframed, dw = xp.zeros(framed.shape, dy.dtype), xp.zeros(w.shape, w.dtype)
        for j in range(k):
            dframed[:, j:j + c] += w[0, 0, j] * dy
            dw[0, 0, j] = total(dy * framed[:, j:j + c], (0, 1))
        return None if "x" in skip else dframed[:, half:half + c], None if "w" in skip else dw

    return y, pullback


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
