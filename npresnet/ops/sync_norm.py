"""Batch normalization over the batches of several ranks.

[BN]  Ioffe & Szegedy 2015, Batch normalization, arXiv:1502.03167
[CGL] Chan, Golub & LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample variances
"""

import numpy

from ..backend import Array, Pullback, Ranks, namespace_for
from .all_reduce import all_reduce_sum
from .norm import BATCH, CHANNEL, affine, batch_norm_train, check_shapes
from .rules import op
from .total import total


@op
def sync_batch_norm_train(x: Array, gamma: Array | None = None, beta: Array | None = None, *, eps: float, ranks: Ranks,
                          ) -> tuple[Array, Pullback, tuple[Array, ...]]:
    """Normalize each channel by the statistics of all ranks' batches.               [BN] Algorithm 1

        μ = mean(x)    σ² = mean((x − μ)²)    x̂ = (x − μ) / √(σ² + ε)    y = γ x̂ + β

    as in :func:`batch_norm_train`, with means over the m values of all ranks, of which one may have none.  Each
    sends its own count, mean and Σ (x − mean)², of which :func:`combined` makes those of all.  Through μ and σ², dx
    depends on all ranks' dy, by two means that are sums over ranks, too:

        dx = γ/√(σ² + ε) · (dy − s − x̂ · t)    with s = Σ_r Σ dy / m and t = Σ_r Σ dy·x̂ / m

    A rank's dγ and dβ are its own share: the ranks' sum is the gradient.

    Shapes: x (N, C, H, W), gamma and beta (C,) or None → y (N, C, H, W), pullback, and (μ, σ², counts): (C,), (C,),
    and (ranks,), how many of the m values of a channel each rank has.
    Saves: x_hat, inv_std, gamma.
    Raises: ValueError for a single value per channel on all ranks together.
    """
    xp = namespace_for(x=x, gamma=gamma, beta=beta)
    gamma, beta, fixed = affine(x, gamma, beta)
    n = check_shapes(x, gamma, beta)
    own = total(x, BATCH) / max(n, 1)
    centred = x - own[CHANNEL]
    error = total(centred, BATCH) / max(n, 1)                               # the mean's rounding error
    centred -= error[CHANNEL]
    squares = total(centred * centred, BATCH)
    own = own.astype("float64") + error
    moments = ranks.gather(xp.stack([xp.full(own.shape, float(n)), own, squares]))          # (ranks, 3, C), float64
    m, mean, var = combined(moments)
    if xp is numpy and m == 1:                                              # to read m would make a GPU wait
        raise ValueError(f"batch norm cannot train on one value per channel (x is {x.shape}, and the other ranks have "
                         "none); use a larger batch or image, or freeze_batch_norm(model)")
    inv_std = (1 / xp.sqrt(var + eps)).astype(x.dtype)
    x_hat = (centred + (own - mean).astype(x.dtype)[CHANNEL]) * inv_std[CHANNEL]
    y = gamma[CHANNEL] * x_hat + beta[CHANNEL]

    def pullback(dy, skip=()):
        skip = fixed.union(skip)
        own = [a.sum(BATCH, dtype="float64") for a in (dy, dy * x_hat)]     # Σ dy, Σ dy·x̂
        dbeta, dgamma = (a.astype(dy.dtype) for a in own)                   # dβ, dγ: this rank's share
        dx = None
        if "x" not in skip:
            s, t = (all_reduce_sum(xp.stack(own), ranks=ranks)[0] / m.clip(1)).astype(dy.dtype)
            dx = (gamma * inv_std)[CHANNEL] * (dy - s[CHANNEL] - x_hat * t[CHANNEL])         # dy − s − x̂·t
        return dx, None if "gamma" in skip else dgamma, None if "beta" in skip else dbeta

    return y, pullback, tuple(a.astype(x.dtype) for a in (mean, var, moments[:, 0, :1].reshape(-1)))


def combined(moments: Array) -> tuple[Array, Array, Array]:
    """(m, μ, σ²) of all values from ``moments`` (ranks, 3, C): the ranks' counts nᵣ, means μᵣ and Mᵣ = Σ (x − μᵣ)².

        m = Σ nᵣ        μ = Σ nᵣ μᵣ / m        σ² = Σ (Mᵣ + nᵣ (μᵣ − μ)²) / m                 [CGL]

    The last holds since Σ (x − μ)² = Σ (x − μᵣ)² + nᵣ (μᵣ − μ)² over one rank's x, whose cross term sums to 0.  Of no
    values at all, μ = σ² = 0.
    """
    n, means, squares = moments[:, 0], moments[:, 1], moments[:, 2]
    m = n[:, :1].sum()
    mean = (n * means).sum(axis=0) / m.clip(1)
    return m, mean, (squares + n * (means - mean) ** 2).sum(axis=0) / m.clip(1)


def normalized(x: Array, gamma: Array | None, beta: Array | None, eps: float, ranks: Ranks | None,
               ) -> tuple[Array, Pullback, tuple[Array, ...]]:
    """Batch norm by the statistics of this batch, or with ``ranks`` by those of all ranks' batches."""
    if ranks is None:
        return batch_norm_train(x, gamma, beta, eps=eps)
    return sync_batch_norm_train(x, gamma, beta, eps=eps, ranks=ranks)
