"""Optimisers: from a gradient to a parameter's next value.

A value is replaced by a new array and never written into, so a state dict taken earlier keeps its numbers.

[KB] Kingma & Ba 2015, Adam, arXiv:1412.6980
[LH] Loshchilov & Hutter 2019, Decoupled weight decay regularization, arXiv:1711.05101
[Y]  You et al. 2019, Large batch optimization for deep learning, arXiv:1904.00962
"""

from collections.abc import Mapping

import numpy as np

from ..backend import Array, array_namespace
from ..nn import Module, Parameter
from ..nn.module import needs_module
from ..ops import momentum_step


class Optimizer:
    """Updates the trainable parameters of a model.

    ``decay_all=False`` leaves batch norms and biases, the parameters with one axis, without weight decay: they do
    not multiply the input, so shrinking them regularizes nothing.
    """

    def __init__(self, model: Module, weight_decay: float = 0.0, decay_all: bool = True) -> None:
        needs_module(model, "an optimizer")
        self.parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.trainable}
        self.weight_decay, self.decay_all = weight_decay, decay_all
        self.state: dict[str, Array] = {}  # "velocity/conv1.weight" → array

    def step(self, lr: float) -> None:
        """One update, at the learning rate ``lr``, of every parameter that has a gradient."""
        lr = float(lr)
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                parameter.value = self.updated(name, parameter.value, parameter.grad, lr, self.decay(parameter))

    def decay(self, parameter: Parameter) -> float:
        """The weight decay of this parameter."""
        return self.weight_decay if self.decay_all or parameter.value.ndim > 1 else 0.0

    def updated(self, name: str, w: Array, g: Array, lr: float, decay: float) -> Array:
        """The next value of the parameter ``name`` with value w and gradient g, a new array."""
        raise NotImplementedError(f"{type(self).__name__} needs an updated()")

    def expected_state(self) -> dict[str, Array]:
        """Arrays with the names, shapes and dtypes that the state has after a step."""
        return {}

    def state_dict(self) -> dict[str, Array]:
        """The state by name, such as "velocity/conv1.weight"; the arrays are shared and never written into."""
        return dict(self.state)

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Go on from the state of an optimizer for the same model."""
        self.state = dict(state)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as in PyTorch.

        g ← g + λ w        v ← μ v + g        w ← w − η v,    or with Nesterov    w ← w − η (g + μ v)

    The arithmetic is :func:`npresnet.ops.momentum_step`.

    >>> import numpy as np
    >>> from npresnet.nn import Linear
    >>> layer = Linear(1, 1, bias=False)
    >>> layer.weight.value, layer.weight.grad = np.array([[2.0]]), np.array([[1.0]])
    >>> SGD(layer, weight_decay=0.5).step(lr=0.1)
    >>> float(layer.weight.value[0, 0])                 # 2 − 0.1 · (1 + 0.5 · 2)
    1.8
    """

    def __init__(
        self,
        model: Module,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decay_all: bool = True,
    ) -> None:
        super().__init__(model, weight_decay, decay_all)
        if nesterov and not momentum:
            raise ValueError("Nesterov's step looks ahead along the momentum; give one above 0")
        self.momentum, self.nesterov = momentum, nesterov

    def expected_state(self) -> dict[str, Array]:
        return {f"velocity/{name}": parameter.value for name, parameter in self.parameters.items() if self.momentum}

    def updated(self, name: str, w: Array, g: Array, lr: float, decay: float) -> Array:
        if not self.momentum:
            return w - lr * (g + decay * w if decay else g)
        key = f"velocity/{name}"
        g = g if key in self.state else g.copy()  # which becomes the velocity
        w, self.state[key] = momentum_step(
            w, g, self.state.get(key), lr, momentum=self.momentum, nesterov=self.nesterov, decay=decay
        )
        return w


class AdamW(Optimizer):
    """Adam with weight decay beside the gradient instead of inside it, as in PyTorch.     [KB] Alg. 1, [LH] Alg. 2

        m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²        w ← w − η λ w

        w ← w − η · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε)

    PyTorch multiplies the decay by the rate η; [LH] by the schedule alone.
    """

    def __init__(
        self,
        model: Module,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        decay_all: bool = True,
    ) -> None:
        super().__init__(model, weight_decay, decay_all)
        self.betas, self.eps = betas, eps

    def expected_state(self) -> dict[str, Array]:
        return {
            f"{what}/{name}": np.array(0) if what == "steps" else parameter.value
            for name, parameter in self.parameters.items()
            for what in ("steps", "m", "v")
        }

    def updated(self, name: str, w: Array, g: Array, lr: float, decay: float) -> Array:
        direction, correction = self.moved(name, g)
        return w * (1 - lr * decay) - (lr / correction) * direction

    def moved(self, name: str, g: Array) -> tuple[Array, float]:
        """(m / (√(v/(1 − β₂ᵗ)) + ε), 1 − β₁ᵗ), after the moments took this step's gradient."""
        xp, (b1, b2) = array_namespace(g), self.betas
        t = int(self.state.get(f"steps/{name}", 0)) + 1
        m = b1 * self.state.get(f"m/{name}", 0) + (1 - b1) * g
        v = b2 * self.state.get(f"v/{name}", 0) + (1 - b2) * (g * g)
        self.state.update({f"steps/{name}": np.array(t), f"m/{name}": m, f"v/{name}": v})
        return m / (xp.sqrt(v) / (1 - b2**t) ** 0.5 + self.eps), 1 - b1**t


class LAMB(AdamW):
    """Adam whose step is as long, for each parameter, as a share of the parameter itself, as in timm.     [Y] Alg. 2

        u = m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε) + λ w        w ← w − η (‖w‖ / ‖u‖) u

    Where λ is 0 (``decay_all=False``: batch norms and biases), or a norm is, the factor ‖w‖ / ‖u‖ is left out.  timm
    also bounds the gradient's norm by 1: that is the recipe's ``clip``.
    """

    def __init__(
        self,
        model: Module,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        decay_all: bool = True,
    ) -> None:
        super().__init__(model, betas, eps, weight_decay, decay_all)

    def updated(self, name: str, w: Array, g: Array, lr: float, decay: float) -> Array:
        direction, correction = self.moved(name, g)
        u = direction / correction + decay * w
        if not decay:
            return w - lr * u
        xp = array_namespace(w)
        w_norm, u_norm = xp.sqrt((w * w).sum()), xp.sqrt((u * u).sum())
        trust = xp.where((w_norm > 0) & (u_norm > 0), w_norm / xp.where(u_norm > 0, u_norm, 1), 1)
        return w - (lr * trust).astype(w.dtype) * u
