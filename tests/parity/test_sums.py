"""float32 sums lose no more than twice what PyTorch's lose, in whatever order the images lie in memory."""

from functools import cache

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
import torch.nn.functional as F  # noqa: E402

from npresnet import ops, use  # noqa: E402

N, C, SIDE = 8, 16, 28
ORDERS = {
    "channels first": (0, 1, 2, 3),
    "channels last": (0, 2, 3, 1),
    "channels in front": (1, 0, 2, 3),
    "transposed": (3, 2, 1, 0),
}
SMALLEST = 2e-7  # of the largest value: an error of this size is a rounding or three, not a sum's


def images(kind, seed):
    rng = np.random.default_rng(seed)
    x = {"zero mean": rng.standard_normal, "one sign": rng.random}[kind]((N, C, SIDE, SIDE))
    return x.astype(np.float32)


def in_order(x, order):
    axes = ORDERS[order]
    return np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))


def error(found, exact):
    found, exact = np.asarray(found, np.float64), np.asarray(exact)
    return abs(found - exact).max() / abs(exact).max()


def in_torch(function, arrays, dy, dtype):
    """(value, *gradients) of PyTorch, as float64."""
    inputs = [torch.from_numpy(a).to(dtype).requires_grad_() for a in arrays]
    y = function(*inputs)
    y.backward(torch.from_numpy(dy).to(dtype))
    return [a.detach().double().numpy() for a in (y, *(i.grad for i in inputs))]


def per_channel(*starts):
    rng = np.random.default_rng(5)
    return [(rng.random(C) + start).astype(np.float32) for start in starts]


def conv(x, w, b):
    return ops.conv2d(x, w, b)


def norm_train(x, gamma, beta):
    return ops.batch_norm_train(x, gamma, beta, eps=1e-5)[:2]


MEAN, VAR = per_channel(-0.5, 0.5)


def norm_eval(x, gamma, beta):
    return ops.batch_norm_eval(x, gamma, beta, MEAN, VAR, eps=1e-5)


def in_torch_eval(x, gamma, beta):
    mean, var = (torch.from_numpy(a).to(x.dtype) for a in (MEAN, VAR))
    return F.batch_norm(x, mean, var, gamma, beta)


OPS = {
    "conv2d": (
        conv,
        F.conv2d,
        lambda: [per_channel(0)[0][:, None, None, None] * np.ones((1, C, 1, 1), np.float32) / C, *per_channel(0)],
    ),
    "batch_norm_train": (
        norm_train,
        lambda x, g, b: F.batch_norm(x, None, None, g, b, True),
        lambda: per_channel(0.5, 0),
    ),
    "batch_norm_eval": (norm_eval, in_torch_eval, lambda: per_channel(0.5, 0)),
    "global_avg_pool2d": (ops.global_avg_pool2d, lambda x: x.mean((2, 3)), list),
    "scale_channels": (
        ops.scale_channels,
        lambda x, s: x * s[:, :, None, None],
        lambda: [np.random.default_rng(6).random((N, C), np.float32)],
    ),
}


@cache
def expected(name, kind, offset):
    """The arrays, dy, and what PyTorch makes of them in float64 and in float32."""
    _, function, others = OPS[name]
    arrays, dy = [images(kind, 1) + np.float32(offset), *others()], images(kind, 2)
    dy = dy[:, :, 0, 0] if name == "global_avg_pool2d" else dy
    return arrays, dy, *(in_torch(function, arrays, dy, dtype) for dtype in (torch.float64, torch.float32))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize("kind", ["zero mean", "one sign"])
@pytest.mark.parametrize("name", OPS)
def test_errors_are_at_most_twice_pytorchs(name, kind, offset, order, backend):
    arrays, dy, exact, own = expected(name, kind, offset)
    with use(backend):
        y, pullback = OPS[name][0](in_order(arrays[0], order), *arrays[1:])
        gradients = pullback(in_order(dy, order) if y.ndim == 4 else dy)
    found = [y, *(gradients if isinstance(gradients, tuple) else [gradients])]
    for what, ours, theirs, truth in zip(["y", "dx", "second", "third"], found, own, exact, strict=False):
        assert error(ours, truth) <= max(2 * error(theirs, truth), SMALLEST), what
