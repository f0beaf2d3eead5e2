"""The same step taken by npresnet and by PyTorch, and how far apart the two come to stand.

A step's answers are named arrays: "logits", "loss", "x.grad", "<parameter>.grad" and, in train mode, every buffer.
"""

import numpy as np

from npresnet import ops, use
from npresnet.nn import BatchNorm2d
from npresnet.verify.replay import descent

from . import oracles

BOUND = 1e-9  # in float64
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def spread(model, seed, side):
    """Weights and running statistics such as training leaves behind, in place: nothing is 0 or 1, nothing explodes."""
    rng = np.random.default_rng(seed)
    for key, parameter in model.named_arrays():
        shape, kind = parameter.value.shape, key.rsplit(".", 1)[-1]
        if kind == "num_batches_tracked":
            parameter.value = np.asarray(7)
        elif parameter.value.ndim > 1:
            fan_in = parameter.value[0].size
            parameter.value = (rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)
        elif kind in ("running_var", "weight"):
            parameter.value = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        else:
            parameter.value = rng.normal(0, 0.1, shape).astype(np.float32)
    return settled(model, batch(model, 4, side, seed)[0].astype(np.float32))


def settled(model, x):
    """The model with the statistics of x as its running statistics."""
    norms = [(part, part.momentum) for part in model.modules() if isinstance(part, BatchNorm2d)]
    for part, _ in norms:
        part.momentum = 1
    with use("numpy"):
        model.train()(x)
    for part, momentum in norms:
        part.momentum = momentum
    return model.eval()


def jittered(model, roundings=4):
    """A float64 copy whose every weight is off by a few roundings, as after sums in another order."""
    rng, copy = np.random.default_rng(0), model.astype(np.float64)
    for parameter in copy.parameters():
        parameter.value = parameter.value * (1 + roundings * 2.0**-52 * rng.standard_normal(parameter.value.shape))
    return copy


def batch(model, n, side, seed=0):
    rng = np.random.default_rng([seed, n, side])
    return rng.standard_normal((n, 3, side, side)), rng.integers(0, model.spec.num_classes, n)


def ours(model, x, labels, dtype=np.float64):
    """One step of a copy of the model in the mode it is in."""
    model = model.astype(dtype)
    logits, pullback = model.vjp(x.astype(dtype))
    loss, dlogits = ops.softmax_cross_entropy(logits, labels)
    found = {"logits": logits, "loss": loss, "x.grad": pullback(dlogits())}
    found.update((f"{name}.grad", parameter.grad) for name, parameter in model.named_parameters())
    return found | buffers(model.state_dict(), model.training)


def theirs(forward, model, x, labels, dtype=np.float64):
    torch = oracles.torch()
    p = tensors(model, dtype)
    x = torch.from_numpy(x.astype(dtype)).requires_grad_()
    logits = forward(p, x, model.training)
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    loss.backward()
    found = {"logits": logits.detach().numpy(), "loss": loss.item(), "x.grad": x.grad.numpy()}
    found.update((f"{key}.grad", t.grad.numpy()) for key, t in p.items() if t.requires_grad)
    return found | buffers({key: t.detach().numpy() for key, t in p.items()}, model.training)


def our_losses(model, x, labels, steps=10, lr=0.01, dtype=np.float64):
    """The loss before each step of plain gradient descent, in train mode."""
    return descent(model.astype(dtype).train(), x.astype(dtype), labels, lr, steps)


def their_losses(forward, model, x, labels, steps=10, lr=0.01, dtype=np.float64):
    torch = oracles.torch()
    p, losses = tensors(model, dtype), []
    optimizer = torch.optim.SGD([t for t in p.values() if t.requires_grad], lr=lr)
    x, labels = torch.from_numpy(x.astype(dtype)), torch.from_numpy(labels)
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(forward(p, x, True), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def tensors(model, dtype):
    """Copies of a model's arrays as torch's leaves, the parameters with gradients."""
    torch = oracles.torch()
    p = {key: torch.from_numpy(np.array(value)) for key, value in model.astype(dtype).state_dict().items()}
    return {key: t if key.endswith(BUFFERS) else t.requires_grad_() for key, t in p.items()}


def buffers(state, training):
    return {key: value for key, value in state.items() if training and key.endswith(BUFFERS)}


def errors(found, due):
    """The largest difference of each array, divided by its own largest entry or 1e-9 of the largest gradient.

    A bias in front of a training batch norm has the gradient 0, of which both sides keep what rounding leaves of sums
    that cancel.  Where neither exceeds 1e-13 of the largest gradient, both are 0.
    """
    assert found.keys() == due.keys()
    size = {key: largest(a) for key, a in due.items()}
    top = max(size[key] for key in due if key.endswith(".grad"))
    return {
        key: 0.0
        if max(size[key], largest(found[key])) < 1e-13 * top
        else largest(found[key] - due[key]) / max(size[key], 1e-9 * top)
        for key in due
    }


def largest(a) -> float:
    return float(np.max(np.abs(a)))


def rms(a) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(a, np.float64)))))


def assert_parity(found, due, bound=BOUND):
    far = {key: error for key, error in errors(found, due).items() if not error <= bound}
    assert not far, f"{len(far)} of {len(due)} arrays differ: " + ", ".join(f"{k} {e:.1e}" for k, e in far.items())
