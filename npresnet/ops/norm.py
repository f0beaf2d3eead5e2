"""Batch normalization.

[BN] Ioffe & Szegedy 2015, Batch normalization, arXiv:1502.03167
"""

from ..backend import Array, Pullback, array_namespace, namespace_for
from .rules import op
from .total import total

CHANNEL = (None, slice(None), None, None)  # broadcasts a (C,) array over (N, C, H, W)
BATCH = (0, 2, 3)                          # the axes a channel's statistics are taken over


@op
def batch_norm_train(x: Array, gamma: Array | None = None, beta: Array | None = None, *, eps: float,
                     ) -> tuple[Array, Pullback, tuple[Array, Array]]:
    """Normalize each channel by its own batch statistics.                        [BN] Algorithm 1

        μ = mean(x)    σ² = mean((x − μ)²)    x̂ = (x − μ) / √(σ² + ε)    y = γ x̂ + β

    Through μ and σ², every dx depends on every dy of its channel; the chain rule of
    [BN] §3 (p. 4) collapses to

        dx = γ/√(σ² + ε) · (dy − mean(dy) − x̂ · mean(dy · x̂))

    that is: dy less its components along 1 and along x̂, since moving x along either
    leaves x̂ as it is.  Where γ or β is None it is 1 or 0, and gets no gradient.  A batch of no images has μ = σ² = 0.

    Shapes: x (N, C, H, W), gamma and beta (C,) or None → y (N, C, H, W), pullback, and (μ, σ²) each (C,).
    Saves: x_hat, inv_std, gamma.
    Raises: ValueError for a single value per channel, which has no variance (as PyTorch does).

    >>> x = np.array([1.0, 3.0]).reshape(2, 1, 1, 1)
    >>> y, pullback, (mean, var) = batch_norm_train(x, np.ones(1), np.zeros(1), eps=0.0)
    >>> y.ravel().tolist(), mean.tolist(), var.tolist()
    ([-1.0, 1.0], [2.0], [1.0])
    """
    xp = namespace_for(x=x, gamma=gamma, beta=beta)
    gamma, beta, fixed = affine(x, gamma, beta)
    m = check_shapes(x, gamma, beta)
    if m == 1:
        raise ValueError(f"batch norm cannot train on one value per channel (x is {x.shape}); "
                         "use a larger batch or image, or freeze_batch_norm(model)")
    m = max(m, 1)                                                       # an empty batch: sums of nothing
    mean = total(x, BATCH) / m
    centred = x - mean[CHANNEL]
    centred -= (total(centred, BATCH) / m)[CHANNEL]                     # the mean's rounding error
    var = total(centred * centred, BATCH) / m
    inv_std = 1 / xp.sqrt(var + eps)
    x_hat = centred * inv_std[CHANNEL]
    y = gamma[CHANNEL] * x_hat + beta[CHANNEL]

    def pullback(dy, skip=()):
        skip = fixed.union(skip)
        dbeta = total(dy, BATCH)                                        # dβ = Σ dy
        dgamma = total(dy * x_hat, BATCH)                               # dγ = Σ dy·x̂
        dx = None
        if "x" not in skip:
            dx = dy - (dbeta / m)[CHANNEL] - x_hat * (dgamma / m)[CHANNEL]      # dy − mean(dy) − x̂·mean(dy·x̂)
            dx = (gamma * inv_std)[CHANNEL] * dx
        return dx, None if "gamma" in skip else dgamma, None if "beta" in skip else dbeta

    return y, pullback, (mean, var)


@op
def batch_norm_eval(x: Array, gamma: Array | None, beta: Array | None, mean: Array, var: Array, *, eps: float,
                    ) -> tuple[Array, Pullback]:
    """Normalize by stored statistics: one affine map per channel.       [BN] Algorithm 2, line 11

        y = a x + (β − a μ)    with a = γ/√(σ² + ε)

        dx = a dy    dγ = Σ dy · (x − μ)/√(σ² + ε)    dβ = Σ dy

    μ and σ² are constants here: they get no gradient.  Nor do γ and β where they are None, that is 1 and 0.

    Shapes: x (N, C, H, W), gamma and beta (C,) or None, mean and var (C,) → y (N, C, H, W).
    Saves: x, a, mean, inv_std.
    """
    xp = namespace_for(x=x, gamma=gamma, beta=beta, mean=mean, var=var)
    gamma, beta, fixed = affine(x, gamma, beta)
    check_shapes(x, gamma, beta, mean, var)
    inv_std = 1 / xp.sqrt(var + eps)
    a = gamma * inv_std
    y = a[CHANNEL] * x + (beta - a * mean)[CHANNEL]

    def pullback(dy, skip=()):
        skip = fixed.union(skip)
        dx = None if "x" in skip else a[CHANNEL] * dy
        dbeta = None if "beta" in skip else total(dy, BATCH)
        dgamma = None if "gamma" in skip else total(dy * (x - mean[CHANNEL]), BATCH) * inv_std
        return dx, dgamma, dbeta

    return y, pullback


def affine(x: Array, gamma: Array | None, beta: Array | None) -> tuple[Array, Array, frozenset[str]]:
    """γ and β, 1 and 0 in the place of None, and the names of those: they get no gradient."""
    xp, fixed = array_namespace(x), frozenset(name for name, a in {"gamma": gamma, "beta": beta}.items() if a is None)
    ones, zeros = xp.ones(x.shape[1:2], x.dtype), xp.zeros(x.shape[1:2], x.dtype)
    return ones if gamma is None else gamma, zeros if beta is None else beta, fixed


def check_shapes(x, *per_channel, norm="batch norm"):
    """The number of values per channel, once every shape fits."""
    if x.ndim != 4 or any(a.shape != x.shape[1:2] for a in per_channel):
        raise ValueError(f"{norm} takes x (N, C, H, W) and arrays (C,), not {x.shape} and "
                         f"{', '.join(str(a.shape) for a in per_channel)}")
    return x.shape[0] * x.shape[2] * x.shape[3]
