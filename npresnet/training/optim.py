"""Optimisers: from a gradient to a parameter's next value.

A value is replaced by a new array and never written into, so a state dict taken earlier keeps its numbers.

[KB] Kingma & Ba 2015, Adam, arXiv:1412.6980
[LH] Loshchilov & Hutter 2019, Decoupled weight decay regularization, arXiv:1711.05101
"""

import numpy as np

from ..backend import array_namespace
from ..nn.module import needs_module
from ..ops import momentum_step


class Optimizer:
    """Moves the trainable parameters of a model.

    ``decay_all=False`` leaves batch norms and biases, the parameters with one axis, without weight decay: they do
    not multiply the input, so shrinking them regularizes nothing.
    """

    def __init__(self, model, weight_decay=0.0, decay_all=True):
        needs_module(model, "an optimizer")
        self.parameters = {name: box for name, box in model.named_parameters() if box.trainable}
        self.weight_decay, self.decay_all = weight_decay, decay_all
        self.state = {}                                                 # "velocity/conv1.weight" → array

    def step(self, lr):
        """One update of every parameter that has a gradient."""
        lr = float(lr)
        for name, box in self.parameters.items():
            if box.grad is not None:
                box.value = self.updated(name, box.value, box.grad, lr, self.decay(box))

    def decay(self, box) -> float:
        return self.weight_decay if self.decay_all or box.value.ndim > 1 else 0.0

    def updated(self, name, w, g, lr, decay):
        raise NotImplementedError(f"{type(self).__name__} needs an updated()")

    def expected_state(self) -> dict:
        """Arrays of the names, shapes and dtypes that the state has once a step has been made."""
        return {}

    def state_dict(self) -> dict:
        return dict(self.state)

    def load_state_dict(self, state):
        self.state = dict(state)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as in PyTorch.

        g ← g + λ w        v ← μ v + g        w ← w − η v,    or with Nesterov    w ← w − η (g + μ v)

    The arithmetic is :func:`npresnet.ops.momentum_step`.
    """

    def __init__(self, model, momentum=0.9, nesterov=False, weight_decay=0.0, decay_all=True):
        super().__init__(model, weight_decay, decay_all)
        if nesterov and not momentum:
            raise ValueError("Nesterov's step looks ahead along the momentum; give one above 0")
        self.momentum, self.nesterov = momentum, nesterov

    def expected_state(self):
        return {f"velocity/{name}": box.value for name, box in self.parameters.items() if self.momentum}

    def updated(self, name, w, g, lr, decay):
        if not self.momentum:
            return w - lr * (g + decay * w if decay else g)
        key = f"velocity/{name}"
        w, self.state[key] = momentum_step(w, g, self.state.get(key), lr, momentum=self.momentum,
                                           nesterov=self.nesterov, decay=decay)
        return w


class AdamW(Optimizer):
    """Adam with weight decay beside the gradient instead of inside it, as in PyTorch.     [KB] Alg. 1, [LH] Alg. 2

        m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²        w ← w − η λ w

        w ← w − η · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε)

    PyTorch multiplies the decay by the rate η; [LH] by the schedule alone.
    """

    def __init__(self, model, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, decay_all=True):
        super().__init__(model, weight_decay, decay_all)
        self.betas, self.eps = betas, eps

    def expected_state(self):
        boxes = self.parameters.items()
        return {f"{what}/{name}": np.array(0) if what == "steps" else box.value
                for name, box in boxes for what in ("steps", "m", "v")}

    def updated(self, name, w, g, lr, decay):
        xp, (b1, b2) = array_namespace(w), self.betas
        t = int(self.state.get(f"steps/{name}", 0)) + 1
        m = b1 * self.state.get(f"m/{name}", 0) + (1 - b1) * g
        v = b2 * self.state.get(f"v/{name}", 0) + (1 - b2) * (g * g)
        self.state.update({f"steps/{name}": np.array(t), f"m/{name}": m, f"v/{name}": v})
        root = xp.sqrt(v) / (1 - b2**t) ** 0.5 + self.eps
        return w * (1 - lr * decay) - (lr / (1 - b1**t)) * (m / root)
