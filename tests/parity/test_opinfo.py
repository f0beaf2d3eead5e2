"""The ops against the inputs that PyTorch tries its own with: value and every gradient.

A sample is in scope where our op, with a reshape or an addition at most, states the same function.  What is not raises
:class:`OutOfScope` with the reason, before PyTorch or we compute anything; the counts are held below.
"""

from collections import Counter
from functools import cache
from math import prod

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from npresnet import ops  # noqa: E402
from npresnet.backend import use  # noqa: E402

IN_SCOPE = {
    "conv2d": 30,
    "max_pool2d": 720,
    "avg_pool2d": 2,
    "batch_norm": 20,
    "cross_entropy": 7,
    "relu": 4,
    "linear": 18,
    "pad": 47,
    "softmax": 12,
}  # at least; with PyTorch 2.13
BOUND = {np.float64: 1e-12, np.float32: 3e-6}  # of the largest value


class OutOfScope(Exception):
    """Why a sample asks for another function than ours."""


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    if padding == "same":
        padding = ops.same_padding(x.shape[-2:], w.shape[2:], stride, dilation)
    elif padding == "valid":
        padding = 0
    return ops.conv2d(as_images(x), w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    if return_indices:
        raise OutOfScope("the indices are not an output of ours; the same sample comes without them")
    stride = kernel_size if stride is None else stride
    if not all_see_a_pixel(x.shape[-2:], kernel_size, stride, padding, dilation, ceil_mode):
        raise OutOfScope("a window meets no pixel: there PyTorch gives an index outside the image, and writes to it")
    return ops.max_pool2d(
        as_images(x), kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    if divisor_override is not None:
        raise OutOfScope("a divisor of one's own is no mean")
    padding, stride = (v[0] if isinstance(v, tuple) and len(v) == 1 else v for v in (padding, stride))
    return ops.avg_pool2d(
        as_images(x),
        kernel_size,
        stride=stride or kernel_size,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )


def batch_norm(x, mean, var, gamma=None, beta=None, training=False, momentum=0.1, eps=1e-5):
    if x.ndim < 2:
        raise OutOfScope("no axis of channels")
    images = x.reshape(*x.shape[:2], -1, 1)
    weights = [np.full(x.shape[1], fill, x.dtype) if a is None else a for a, fill in ((gamma, 1), (beta, 0))]
    if not training:
        return ops.batch_norm_eval(images, *weights, mean, var, eps=eps)
    y, pullback, _ = ops.batch_norm_train(images, *weights, eps=eps)
    return y, pullback


def cross_entropy(x, labels, weight=None, reduction="mean", ignore_index=-100):
    if weight is not None or ignore_index >= 0:
        raise OutOfScope("classes of different weight")
    if labels.dtype.kind == "f":
        raise OutOfScope("labels that are probabilities")
    logits = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])
    rows = [(logits, labels.reshape(-1))]
    if reduction == "none":
        rows = [(row[None], label.reshape(1)) for row, label in zip(*rows[0])]
    losses, pullbacks = zip(*(ops.softmax_cross_entropy(*row) for row in rows))
    scale = len(logits) if reduction == "sum" else 1

    def pullback(dy):
        dz = np.concatenate([back(scale * d) for back, d in zip(pullbacks, np.reshape(dy, -1))])
        return np.moveaxis(dz.reshape(len(x), *x.shape[2:], -1), -1, 1)

    return scale * np.array(losses), pullback


def relu(x):
    return ops.relu(x)


def linear(x, w, b=None):
    return ops.linear(x.reshape(-1, x.shape[-1]), w, b)


def pad(x, pads, mode="constant", value=0.0):
    """With a value v other than 0: the zeros around x − v, plus v."""
    if mode != "constant":
        raise OutOfScope("padding by other pixels")
    if min(pads) < 0:
        raise OutOfScope("padding that cuts off")
    left, right, top, bottom, before, after = (*pads, 0, 0, 0, 0)[:6]
    y, channels_back = ops.zero_pad_channels(as_images(x) - x.dtype.type(value), before, after)
    y, frame_back = ops.zero_pad2d(y, ((top, bottom), (left, right)))
    return y + x.dtype.type(value), lambda dy: channels_back(frame_back(dy))


def softmax(x, dim, dtype=None):
    rows = np.moveaxis(np.atleast_1d(x), dim, -1)
    if rows.size == 0:
        raise OutOfScope("no class to choose from")
    p, back = ops.softmax(rows.reshape(-1, rows.shape[-1]))

    def pullback(dy):
        dy = np.moveaxis(np.atleast_1d(dy), dim, -1).reshape(p.shape)
        return np.moveaxis(back(dy).reshape(rows.shape), -1, dim)

    return np.moveaxis(p.reshape(rows.shape), -1, dim), pullback


def as_images(x):
    """(…, C, H, W) as (N, C, H, W)."""
    return x.reshape(prod(x.shape[:-3]), *(1, 1, 1, *x.shape)[-3:])


def all_see_a_pixel(size, kernel, stride, padding, dilation, ceil_mode):
    """Whether every window meets a pixel, found by walking along each axis."""
    for i, k, s, p, d in zip(size, *map(np.broadcast_to, (kernel, stride, padding, dilation), [2] * 4)):
        room = i + 2 * p - d * (k - 1) - 1
        o = (-(-room // s) if ceil_mode else room // s) + 1
        o -= bool(ceil_mode and (o - 1) * s >= i + p)
        if not all(any(0 <= q * s - p + d * tap < i for tap in range(k)) for q in range(o)):
            return False
    return True


@cache
def samples(name):
    """(number, how to call PyTorch, the sample) for every variant of this op."""
    from torch.testing._internal.common_methods_invocations import op_db

    torch.manual_seed(0)
    wanted = (name if name == "softmax" else f"nn.functional.{name}",)
    return [
        (op.op, sample)
        for op in op_db
        if op.name in wanted
        for sample in op.sample_inputs("cpu", torch.float64, requires_grad=True)
    ]


def in_float(sample, dtype, copy):
    """The sample's arguments with every tensor of floats through ``copy`` into ``dtype``."""

    def converted(a):
        if not isinstance(a, torch.Tensor):
            return a
        return copy(a.detach().to(dtype if a.is_floating_point() else a.dtype), a.requires_grad)

    kwargs = {k: dtype if k == "dtype" else converted(v) for k, v in sample.kwargs.items()}
    return [converted(a) for a in (sample.input, *sample.args)], kwargs


def tensor(a, requires_grad):
    return a.clone().requires_grad_(requires_grad)


def array(a, requires_grad):
    a = a.numpy().copy()
    a.flags.writeable = False
    return a


def assert_agrees(name, call, sample, dtype):
    """Raise OutOfScope, or where value or a gradient differs from PyTorch's."""
    args, kwargs = in_float(sample, getattr(torch, dtype.__name__), array)
    y, pullback = globals()[name](*args, **kwargs)
    their_args, their_kwargs = in_float(sample, getattr(torch, dtype.__name__), tensor)
    theirs = call(*their_args, **their_kwargs)
    assert_near(np.reshape(y, theirs.shape), theirs.detach().numpy(), dtype, "value")
    inputs = [a for a in (*their_args, *their_kwargs.values()) if isinstance(a, torch.Tensor) and a.requires_grad]
    dy = np.random.default_rng(0).standard_normal(np.shape(y)).astype(dtype)
    due = torch.autograd.grad(theirs, inputs, torch.from_numpy(dy).reshape(theirs.shape), allow_unused=True)
    found = pullback(dy)
    found = [d for d in (found if isinstance(found, tuple) else (found,)) if d is not None]
    due = [d.numpy() for d in due if d is not None]
    if name == "batch_norm":  # those of a gamma and beta that were left away
        found = found[: len(due)]
    for d, truth in zip(found, due, strict=True):
        assert_near(np.reshape(d, truth.shape), truth, dtype, "gradient")


def assert_near(found, truth, dtype, what):
    bound = BOUND[dtype] * np.abs(truth[np.isfinite(truth)]).max(initial=1)
    np.testing.assert_allclose(found, truth, rtol=0, atol=bound, err_msg=what)
    assert np.asarray(found).dtype == truth.dtype == dtype


@pytest.mark.parametrize("backend, dtype", [("numpy", np.float64), ("numba", np.float32)])
@pytest.mark.parametrize("name", IN_SCOPE)
def test_pytorchs_own_samples(name, backend, dtype):
    counted, reasons = 0, Counter()
    with use(backend):
        for call, sample in samples(name):
            try:
                assert_agrees(name, call, sample, dtype)
                counted += 1
            except OutOfScope as reason:
                reasons[str(reason)] += 1
    assert counted >= IN_SCOPE[name], f"{counted} in scope; {dict(reasons)}"


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_what_pytorch_refuses_is_refused(backend):
    """Each of its wrong arguments, by one line of ours."""
    from torch.testing._internal.common_methods_invocations import op_db

    wrong = [
        (op.name.split(".")[-1], error.sample_input)
        for op in op_db
        if op.name.split(".")[-1] in IN_SCOPE and op.error_inputs_func
        for error in op.error_inputs("cpu")
    ]
    refused = 0
    for name, sample in wrong:
        args, kwargs = in_float(sample, torch.float32, array)
        kwargs.pop("return_indices", None)
        try:
            with use(backend), pytest.raises((ValueError, TypeError), match=r"\A[^\n]+\Z"):
                globals()[name](*args, **kwargs)
            refused += 1
        except OutOfScope:
            pass
    assert refused >= 19, f"{refused} of {len(wrong)}"
