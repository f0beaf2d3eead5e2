"""Conversions between precisions, for mixed-precision training.

[MP] Micikevicius et al. 2018, Mixed precision training, arXiv:1710.03740, §3
"""

from typing import Any

from ..backend import Array, Pullback, Ranks, namespace_for
from .group_norm import group_norm
from .norm import batch_norm_eval
from .rules import op
from .sync_norm import normalized


@op
def cast(x: Array, dtype: Any) -> tuple[Array, Pullback]:
    """y = x in another precision;   dx = dy in x's own.

    Rounding has no derivative where it steps and 0 elsewhere; its pullback is that of the map it stands for, y = x.

    Shapes: any.
    Saves: nothing.
    """
    namespace_for(x=x)
    own = x.dtype
    return x.astype(dtype, copy=False), lambda dy: dy.astype(own, copy=False)


@op
def batch_norm_train_cast(x: Array, gamma: Array | None = None, beta: Array | None = None, *, eps: float,
                          ranks: Ranks | None = None) -> tuple[Array, Pullback, tuple[Array, ...]]:
    """Batch norm in gamma's precision of images in x's: cast, :func:`batch_norm_train`, cast back.    [MP] §3.3

    Without a gamma it is float32.  With ``ranks`` it is :func:`sync_batch_norm_train`.

    Shapes: x (N, C, H, W), gamma and beta (C,) or None → y (N, C, H, W) in x's dtype, pullback, and (μ, σ²) in gamma's.
    Saves: what batch_norm_train saves.
    """
    wide, narrow = cast(x, "float32" if gamma is None else gamma.dtype)
    y, pullback, extras = normalized(wide, gamma, beta, eps, ranks)
    return *_cast_back(y, pullback, x.dtype, narrow), extras


@op
def batch_norm_eval_cast(x: Array, gamma: Array | None, beta: Array | None, mean: Array, var: Array, *, eps: float,
                         ) -> tuple[Array, Pullback]:
    """As :func:`batch_norm_train_cast`, by stored statistics: cast, :func:`batch_norm_eval`, cast back."""
    wide, narrow = cast(x, mean.dtype)
    return _cast_back(*batch_norm_eval(wide, gamma, beta, mean, var, eps=eps), x.dtype, narrow)


@op
def group_norm_cast(x: Array, gamma: Array | None = None, beta: Array | None = None, *, groups: int, eps: float,
                    ) -> tuple[Array, Pullback]:
    """As :func:`batch_norm_train_cast`, by groups: cast, :func:`group_norm`, cast back."""
    wide, narrow = cast(x, "float32" if gamma is None else gamma.dtype)
    return _cast_back(*group_norm(wide, gamma, beta, groups=groups, eps=eps), x.dtype, narrow)


def _cast_back(y, pullback, dtype, narrow) -> tuple[Array, Pullback]:
    """y in the images' dtype, and the pullback through both casts."""
    y, widen = cast(y, dtype)

    def cast_pullback(dy, skip=()):
        dx, *gradients = pullback(widen(dy), skip=skip)
        return None if dx is None else narrow(dx), *gradients

    return y, cast_pullback
