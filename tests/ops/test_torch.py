"""The whole table against torch.nn.functional in float64: values, extras and every gradient."""

import numpy as np
import pytest

from ..support import laws, oracles
from ..support.cases import CASES
from ..support.loops import pair
from ..support.loops import sides as numbers


def sides(padding, *window):
    """F.pad's order: left, right, top, bottom."""
    (top, bottom), (left, right) = numbers(padding, *window)
    return left, right, top, bottom


def padded(F, x, kernel, fill=0.0, padding=0, stride=1, dilation=1, **_):
    """(x, padding) as torch's pools take them; other padding becomes part of x."""
    left, right, top, bottom = sides(padding, x.shape[2:], kernel, stride, dilation)
    if left == right <= pair(kernel)[1] // 2 and top == bottom <= pair(kernel)[0] // 2:
        return x, (top, left)
    return F.pad(x, (left, right, top, bottom), value=fill), 0


def in_torch(F, op, arrays, constants, static):
    x, *rest = arrays.values()
    s, affine = dict(static), [arrays.get("gamma"), arrays.get("beta")]
    s = {name: value for name, value in s.items() if name not in ("gamma", "beta")}
    if op in ("conv2d", "winograd_conv2d"):
        s.pop("tile", None)
        return convolved(F, x, *rest, **{"padding": int(op != "conv2d"), **s})
    if op == "max_pool2d":
        x, padding = padded(F, x, fill=-np.inf, **s)
        return F.max_pool2d(x, s.pop("kernel"), **s | {"padding": padding})
    if op == "avg_pool2d":
        x, padding = padded(F, x, **s)
        return F.avg_pool2d(x, s.pop("kernel"), **s | {"padding": padding})
    if op == "batch_norm_train":
        return F.batch_norm(x, None, None, *affine, training=True, eps=s["eps"])
    if op in ("batch_norm_relu", "batch_norm_add_relu"):
        return F.relu(F.batch_norm(x, None, None, *affine, training=True, eps=s["eps"]) + arrays.get("s", 0))
    if op == "batch_norm_relu_conv2d":
        y = F.relu(F.batch_norm(x, None, None, *affine, training=True, eps=s.pop("eps")))
        return convolved(F, y, arrays["w"], arrays.get("b"), **s)
    if op == "batch_norm_eval":
        return F.batch_norm(x, *constants.values(), *affine, training=False, eps=s["eps"])
    if op == "group_norm":
        return F.group_norm(x, s["groups"], *affine, eps=s["eps"])
    return {
        "global_avg_pool2d": lambda: F.adaptive_avg_pool2d(x, 1)[:, :, 0, 0],
        "relu": lambda: F.relu(x),
        "leaky_relu": lambda: F.leaky_relu(x, **s),
        "gelu": lambda: F.gelu(x),
        "silu": lambda: F.silu(x),
        "blur_pool2d": lambda: blurred(F, x, s["stride"]),
        "conv_channels": lambda: F.conv1d(x[:, None], rest[0], padding=rest[0].shape[2] // 2)[:, 0],
        "sigmoid": lambda: F.sigmoid(x),
        "scale_channels": lambda: x * rest[0][:, :, None, None],
        "softmax": lambda: F.softmax(x, dim=1),
        "log_softmax": lambda: F.log_softmax(x, dim=1),
        "softmax_cross_entropy": lambda: F.cross_entropy(
            x, constants["labels"], constants.get("weight"), **s | {"ignore_index": s.get("ignore_index", -100)}
        ),
        "linear": lambda: F.linear(x, *rest),
        "adaptive_avg_pool2d": lambda: F.adaptive_avg_pool2d(x, s["output_size"]),
        "constant_pad2d": lambda: F.pad(x, sides(s["padding"]), value=s.get("value", 0)),
        "zero_pad2d": lambda: F.pad(x, sides(s["padding"])),
        "zero_pad_channels": lambda: F.pad(x, (0, 0, 0, 0, s["before"], s["after"])),
        "subsample": lambda: x[:, :, :: pair(s["stride"])[0], :: pair(s["stride"])[1]],
    }[op]()


def convolved(F, x, w, b=None, padding=0, stride=1, dilation=1, groups=1):
    """torch has 'same' at stride 1 and 'valid'; elsewhere the padding becomes part of x."""
    if padding == "valid" or (padding == "same" and stride == 1):
        return F.conv2d(x, w, b, stride, padding, dilation, groups)
    return F.conv2d(
        F.pad(x, sides(padding, x.shape[2:], w.shape[2:], stride, dilation)), w, b, stride, 0, dilation, groups
    )


def blurred(F, x, stride):
    """A grouped convolution with the binomial filter, over images with a mirrored frame."""
    k = x.new_tensor([1.0, 2.0, 1.0]) / 4
    x = F.pad(x, (1, 1, 1, 1), mode="reflect")
    return F.conv2d(x, (k[:, None] * k).expand(x.shape[1], 1, 3, 3), None, stride, groups=x.shape[1])


def torch_has(case):
    """Torch's average pool cannot leave one-sided padding out of the count; ranks are compared in tests/distributed."""
    if "ranks" in case.static:
        return False
    padding = case.static.get("padding", 0)
    one_sided = padding == "same_lower" or isinstance(pair(padding)[0], tuple)
    return not (case.op == "avg_pool2d" and one_sided and not case.static.get("count_include_pad", True))


@pytest.mark.parametrize("case", [case for case in CASES if torch_has(case)], ids=str)
def test_the_op_equals_torch(case):
    torch = oracles.torch()
    arrays, constants = case.draw()
    y, cotangents, _ = laws.run(laws.reference(case), case, arrays, constants)
    tensors = {name: torch.tensor(a, requires_grad=True) for name, a in arrays.items()}
    theirs = in_torch(
        torch.nn.functional, case.op, tensors, {k: torch.tensor(c) for k, c in constants.items()}, case.static
    )
    laws.assert_close(np.asarray(y), theirs.detach().numpy(), 1e-10, "value")
    dy = laws.cotangent(y)
    wanted = torch.autograd.grad(theirs, list(tensors.values()), torch.tensor(dy))
    for name, grad in zip(arrays, wanted):
        laws.assert_close(cotangents(dy)[name], grad.numpy(), 1e-10, f"d{name}")
