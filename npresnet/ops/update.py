"""Updates of a training step: parameters by their gradients, running statistics by the batch's.  No pullbacks.

[S]   Sutskever et al. 2013, On the importance of initialization and momentum in deep learning
[BN]  Ioffe & Szegedy 2015, Batch normalization, arXiv:1502.03167
"""

from ..backend import Array, namespace_for
from .check import one_shape
from .rules import op


@op
def momentum_step(w: Array, g: Array, v: Array | None, lr: float | Array, *, momentum: float, nesterov: bool = False,
                  decay: float = 0.0) -> tuple[Array, Array]:
    """(w, v) after one step of stochastic gradient descent with momentum, as in PyTorch.

        g ← g + λ w        v ← μ v + g        w ← w − η v,    or with Nesterov    w ← w − η (g + μ v)

    At the first step ``v`` is None, and v becomes g.  [S] Eq. 1-4 has the rate inside v (v ← μ v − η g); PyTorch
    keeps it outside, so that a change of η acts on the whole velocity at once.
    """
    namespace_for(w=w)
    namespace_for(g=g, v=v)
    one_shape(w=w, g=g, v=v)
    if decay:
        g = g + decay * w                                               # g ← g + λ w
    v = g if v is None else momentum * v + g                            # v ← μ v + g
    return w - lr * (g + momentum * v if nesterov else v), v


@op
def moving_statistics(running_mean: Array, running_var: Array, mean: Array, var: Array, *, momentum: float,
                      correction: float = 1.0) -> tuple[Array, Array]:
    """The next running (mean, variance) of a batch norm, [BN] §3.1 in PyTorch's convention.

        running ← (1 − momentum) · running + momentum · batch

    The batch's variance is multiplied by ``correction`` first: m/(m−1) makes it unbiased.
    """
    namespace_for(running_mean=running_mean, running_var=running_var)
    namespace_for(mean=mean, var=var)
    one_shape(running_mean=running_mean, running_var=running_var, mean=mean, var=var)
    var = var * correction
    return (1 - momentum) * running_mean + momentum * mean, (1 - momentum) * running_var + momentum * var
