"""The ops against ONNX's own tests of its operators: the values they list, and each gradient as the adjoint.

A test is in scope where our op, with a reshape, a transpose or a scaling of its arguments, states the same function.
What is not raises OutOfScope with the reason; the counts are held below.
"""

from collections import Counter
from functools import cache, partial
from importlib import import_module

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

from npresnet import ops  # noqa: E402
from npresnet.backend import use  # noqa: E402

from .test_opinfo import OutOfScope, batch_norm, cross_entropy, pad, softmax  # noqa: E402

MODULES = {
    "Conv": "conv",
    "MaxPool": "maxpool",
    "AveragePool": "averagepool",
    "GlobalAveragePool": "globalaveragepool",
    "BatchNormalization": "batch_normalization",
    "Relu": "relu",
    "Gemm": "gemm",
    "Pad": "pad",
    "Softmax": "softmax",
    "SoftmaxCrossEntropyLoss": "softmax_cross_entropy_loss",
}
IN_SCOPE = {
    "Conv": 6,
    "MaxPool": 13,
    "AveragePool": 11,
    "GlobalAveragePool": 2,
    "BatchNormalization": 4,
    "Relu": 1,
    "Gemm": 11,
    "Pad": 3,
    "Softmax": 7,
    "SoftmaxCrossEntropyLoss": 10,
}  # at least; with onnx 1.23
STEP, ADJOINT = 1e-6, 1e-6


@cache
def cases(op):
    """(attributes, inputs, outputs) of every test of this operator; what ONNX expands to others is left to them."""
    package = "onnx.backend.test.case.node"
    import_module(f"{package}.{MODULES[op]}")
    found = [
        case
        for case in import_module(package)._NodeTestCases
        if [node.op_type for node in case.model.graph.node] == [op] and not case.name.endswith("_expanded")
    ]
    return [
        (
            {a.name: onnx.helper.get_attribute_value(a) for a in case.model.graph.node[0].attribute},
            *map(list, case.data_sets[0]),
        )
        for case in found
    ]


def window(size, kernel_shape=None, strides=(1, 1), pads=None, dilations=(1, 1), auto_pad=b"NOTSET"):
    """Our static arguments for ONNX's; one axis is an image of one row."""
    if len(size) > 2:
        raise OutOfScope("three axes in an image")
    one = len(size) == 1
    kernel, strides, dilations = (
        (1, *v) if one and len(v) == 1 else tuple(v) for v in (kernel_shape, strides, dilations)
    )
    size, half = ((1, *size) if one else tuple(size)), len(size)
    pads = [0] * (2 * half) if pads is None else list(pads)
    padding = tuple(zip(pads[:half], pads[half:]))
    if auto_pad.startswith(b"SAME"):
        padding = ops.same_padding(size, kernel, strides, dilations)
        padding = padding if auto_pad == b"SAME_UPPER" else tuple((b, a) for a, b in padding)
    return kernel, {"stride": strides, "dilation": dilations, "padding": ((0, 0), *padding) if one else padding}


def in_rows(x):
    return x[:, :, None] if x.ndim == 3 else x


def conv(attributes, x, w, b=None):
    group = attributes.pop("group", 1)
    attributes["kernel_shape"] = w.shape[2:]
    _, static = window(x.shape[2:], **attributes)
    return partial(ops.conv2d, groups=group, **static), [x, w] if b is None else [x, w, b]


def max_pool(attributes, x):
    attributes.pop("storage_order", None)  # of the indices, a second output
    ceil = bool(attributes.pop("ceil_mode", 0))
    kernel, static = pooling(attributes, x)
    return partial(ops.max_pool2d, kernel=kernel, ceil_mode=ceil, **static), [in_rows(x)]


def average_pool(attributes, x):
    ceil, count = bool(attributes.pop("ceil_mode", 0)), bool(attributes.pop("count_include_pad", 0))
    kernel, static = pooling(attributes, x)
    if static.pop("dilation") != (1, 1):
        raise OutOfScope("a mean over a window with holes")
    return partial(ops.avg_pool2d, kernel=kernel, ceil_mode=ceil, count_include_pad=count, **static), [in_rows(x)]


def pooling(attributes, x):
    if x.dtype.kind != "f":
        raise OutOfScope("integers")
    kernel, static = window(x.shape[2:], **attributes)
    if any(2 * max(p) > k for k, p in zip(kernel, static["padding"])):
        raise OutOfScope("padding of more than half the window, which PyTorch refuses, too")
    return kernel, static


def batch_normalization(attributes, x, scale, bias, mean, var):
    training = bool(attributes.get("training_mode", 0))

    def norm(x, scale, bias):
        return batch_norm(
            x,
            mean.astype(x.dtype),
            var.astype(x.dtype),
            scale,
            bias,
            training=training,
            eps=attributes.get("epsilon", 1e-5),
        )

    return norm, [x, scale, bias]


def gemm(attributes, a, b, c=None):
    """αA′B′ + βC as X Wᵀ + b, and where C is no row as a sum of two."""
    a, b = (v.T if attributes.get(name) else v for v, name in ((a, "transA"), (b, "transB")))
    x, w = attributes.get("alpha", 1) * a, np.ascontiguousarray(b.T)
    if c is None:
        return ops.linear, [x, w]
    c = attributes.get("beta", 1) * c
    if c.ndim < 2 or len(c) == 1:
        return ops.linear, [x, w, np.broadcast_to(c.reshape(-1), len(w)).copy()]
    return lambda x, w: (ops.add(ops.linear(x, w)[0], c.astype(x.dtype))[0], ops.linear(x, w)[1]), [x, w]


def padded(attributes, x, pads, value=0, axes=None):
    mode = attributes.get("mode", b"constant").decode()
    before = np.zeros((2, x.ndim), int)
    before[:, range(x.ndim) if axes is None else axes] = pads.reshape(2, -1)
    if before[:, 0].any():
        raise OutOfScope("images of padding")
    sides = tuple(int(n) for axis in (3, 2, 1) for n in before[:, axis])
    return partial(pad, pads=sides, mode=mode, value=value), [x]


def loss(attributes, x, labels, weight=None):
    if "ignore_index" in attributes:
        raise OutOfScope("classes of different weight")
    return partial(cross_entropy, labels=labels, weight=weight, reduction=attributes["reduction"].decode()), [x]


OURS = {
    "Conv": conv,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "GlobalAveragePool": lambda _, x: (ops.global_avg_pool2d, [x]),
    "Relu": lambda _, x: (ops.relu, [x]),
    "Gemm": gemm,
    "Pad": padded,
    "SoftmaxCrossEntropyLoss": loss,
    "Softmax": lambda attributes, x: (partial(softmax, dim=attributes.get("axis", -1)), [x]),
}


def assert_agrees(op, attributes, inputs, outputs):
    function, arrays = OURS[op](dict(attributes), *inputs)
    y, _ = function(*arrays)
    truth = outputs[0]
    assert np.size(y) == truth.size and np.asarray(y).dtype == truth.dtype
    bound = 6e-5 if (np.round(truth, 4) == truth).all() else 3e-6 * abs(truth).max(initial=1)  # some list four digits
    np.testing.assert_allclose(np.reshape(y, truth.shape), truth, rtol=0, atol=bound)
    arrays = [a.astype(np.float64) for a in arrays]
    y, pullback = function(*arrays)
    rng = np.random.default_rng(0)
    u = rng.standard_normal(np.shape(y))
    found = pullback(u)
    found = found if isinstance(found, tuple) else (found,)
    for i, array in enumerate(arrays):
        v = rng.standard_normal(array.shape)
        ahead, behind = (function(*arrays[:i], array + h * v, *arrays[i + 1 :])[0] for h in (STEP, -STEP))
        jv = (ahead - behind) / (2 * STEP)
        error = abs(np.vdot(u, jv) - np.vdot(found[i], v))
        assert error <= ADJOINT * np.linalg.norm(u) * max(np.linalg.norm(jv), 1e-3), (op, attributes, i, error)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("op", IN_SCOPE)
def test_onnxs_own_tests(op, backend):
    counted, reasons = 0, Counter()
    with use(backend):
        for case in cases(op):
            try:
                assert_agrees(op, *case)
                counted += 1
            except OutOfScope as reason:
                reasons[str(reason)] += 1
    assert counted >= IN_SCOPE[op], f"{counted} in scope; {dict(reasons)}"
