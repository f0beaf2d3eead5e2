"""Group normalization, which does not look at the batch.

[GN] Wu & He 2018, Group normalization, arXiv:1803.08494
"""

from ..backend import Array, Pullback, namespace_for
from .norm import BATCH, CHANNEL, affine, check_shapes
from .rules import op
from .total import total


@op
def group_norm(x: Array, gamma: Array | None = None, beta: Array | None = None, *, groups: int, eps: float,
               ) -> tuple[Array, Pullback]:
    """Normalize each group of channels of each image by its own statistics.                   [GN] Eq. 1–7

        μ = mean(x)    σ² = mean((x − μ)²)    x̂ = (x − μ) / √(σ² + ε)    y = γ x̂ + β

    The means are those of [GN] Eq. 7: over the pixels of C/G neighbouring channels of one image.  γ and β belong to
    single channels, so that the cotangent of x̂ is γ dy, and with it batch norm's pullback is this one's:

        dx = 1/√(σ² + ε) · (γ dy − mean(γ dy) − x̂ · mean(γ dy · x̂))

    Training and evaluation are the same.  A group of one value is x̂ = 0.  Where γ or β is None it is 1 or 0.

    Shapes: x (N, C, H, W), gamma and beta (C,) or None → y (N, C, H, W); groups divide C.
    Saves: x_hat, inv_std, gamma.
    Raises: ValueError where the groups do not divide the channels.
    """
    xp = namespace_for(x=x, gamma=gamma, beta=beta)
    gamma, beta, fixed = affine(x, gamma, beta)
    check_shapes(x, gamma, beta, norm="group norm")
    n, c, h, w = x.shape
    if c % groups:
        raise ValueError(f"groups must divide the {c} channels, not {groups}")
    m, split = c // groups * h * w, (n, groups, c // groups, h, w)
    x_split = x.reshape(split)
    centred = x_split - _mean(x_split, m)
    centred -= _mean(centred, m)                                        # the mean's rounding error
    inv_std = 1 / xp.sqrt(_mean(centred * centred, m) + eps)            # (N, G, 1, 1, 1)
    x_hat = (centred * inv_std).reshape(x.shape)
    y = gamma[CHANNEL] * x_hat + beta[CHANNEL]

    def pullback(dy, skip=()):
        skip = fixed.union(skip)
        dbeta = None if "beta" in skip else total(dy, BATCH)            # dβ = Σ dy
        dgamma = None if "gamma" in skip else total(dy * x_hat, BATCH)  # dγ = Σ dy·x̂
        dx = None
        if "x" not in skip:
            dx_hat, hat = (gamma[CHANNEL] * dy).reshape(split), x_hat.reshape(split)
            dx = dx_hat - _mean(dx_hat, m) - hat * _mean(dx_hat * hat, m)
            dx = (inv_std * dx).reshape(x_hat.shape)
        return dx, dgamma, dbeta

    return y, pullback


def _mean(x, m):
    """The mean over each group's m values, shaped to be broadcast over (N, G, C/G, H, W)."""
    return total(x, (2, 3, 4))[:, :, None, None, None] / m
