"""Graphs in the words of other exporters (tf2onnx, keras, the model zoo), beside ONNX Runtime."""

import numpy as np
import pytest

from npresnet import load_model
from npresnet.weights import save_onnx

from ..support.libraries import images
from .test_onnx_in import assert_same, nameless
from .test_onnx_out import small

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
helper, numpy_helper = onnx.helper, onnx.numpy_helper


def constant(model, name, array):
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return name


def array_of(model, name):
    return numpy_helper.to_array(next(one for one in model.graph.initializer if one.name == name))


def replaced(model, kind, make):
    """Each operator of a kind by those that ``make(node)`` returns."""
    nodes = [new for node in model.graph.node for new in (make(node) if node.op_type == kind else [node])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def images_last(model):
    """TensorFlow's images, N, H, W, C."""
    old = model.graph.input[0]
    turn = helper.make_node("Transpose", ["nhwc"], [old.name], perm=[0, 3, 1, 2])
    model.graph.node.insert(0, turn)
    model.graph.input.remove(old)
    model.graph.input.append(helper.make_tensor_value_info("nhwc", 1, ["N", 64, 64, 3]))


def turned_around_each_convolution(model):
    """tf2onnx before its optimizer: layouts there and back."""

    def make(node):
        name, y = node.input[0], node.output[0]
        last = helper.make_node("Transpose", [name], [f"{y}_last"], perm=[0, 2, 3, 1])
        first = helper.make_node("Transpose", [f"{y}_last"], [f"{y}_first"], perm=[0, 3, 1, 2])
        node.input[0] = f"{y}_first"
        return [last, first, node]

    replaced(model, "Conv", make)


def pads_before_convolutions(model):
    def make(node):
        pads = next((one for one in node.attribute if one.name == "pads"), None)
        if pads is None or not any(pads.ints):
            return [node]
        top, left, bottom, right = pads.ints
        node.attribute.remove(pads)
        given = constant(model, f"{node.output[0]}_pads", np.int64([0, 0, top, left, 0, 0, bottom, right]))
        pad = helper.make_node("Pad", [node.input[0], given], [f"{node.output[0]}_padded"])
        node.input[0] = pad.output[0]
        return [pad, node]

    replaced(model, "Conv", make)


def squeeze(model):
    axes = constant(model, "axes", np.int64([2, 3]))
    replaced(model, "Flatten", lambda node: [helper.make_node("Squeeze", [node.input[0], axes], node.output)])


def reduce_mean(model):
    replaced(model, "Flatten", lambda node: [helper.make_node("Identity", node.input, node.output)])
    mean = {"axes": [2, 3], "keepdims": 0}
    replaced(model, "GlobalAveragePool", lambda node: [helper.make_node("ReduceMean", node.input, node.output, **mean)])


def reduce_mean_of_images_last(model):
    """tf2onnx: the mean over H and W of N, H, W, C."""

    def make(node):
        turn = helper.make_node("Transpose", node.input, ["last"], perm=[0, 2, 3, 1])
        return [turn, helper.make_node("ReduceMean", ["last"], node.output, axes=[1, 2], keepdims=0)]

    replaced(model, "Flatten", lambda node: [helper.make_node("Identity", node.input, node.output)])
    replaced(model, "GlobalAveragePool", make)


def matmul_and_add(model):
    def make(node):
        w = constant(model, "dense", np.ascontiguousarray(array_of(model, node.input[1]).T))
        return [
            helper.make_node("MatMul", [node.input[0], w], ["product"]),
            helper.make_node("Add", ["product", node.input[2]], node.output),
        ]

    replaced(model, "Gemm", make)


def reshape_of_zero(model):
    """Reshape to (0, -1), as MXNet and PyTorch's view write it."""
    shape = constant(model, "shape", np.int64([0, -1]))
    replaced(model, "Flatten", lambda node: [helper.make_node("Reshape", [node.input[0], shape], node.output)])


def arrays_among_the_inputs(model):
    """ONNX before version 4 of its format: the model zoo's first files."""
    for one in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(one.name, one.data_type, one.dims))


def biases_apart(model):
    """A bias added behind its convolution, of shape (1, F, 1, 1)."""

    def make(node):
        if len(node.input) < 3:
            return [node]
        bias = array_of(model, node.input[2]).reshape(1, -1, 1, 1)
        name, y = constant(model, f"{node.output[0]}_bias", bias), node.output[0]
        conv = helper.make_node("Conv", node.input[:2], [f"{y}_bare"])
        conv.attribute.extend(node.attribute)
        return [conv, helper.make_node("Add", [f"{y}_bare", name], [y])]

    replaced(model, "Conv", make)


def softmax_behind(model):
    model.graph.node.append(helper.make_node("Softmax", [model.graph.output[0].name], ["probabilities"]))
    model.graph.output[0].name = "probabilities"


EDITS = (
    images_last,
    turned_around_each_convolution,
    pads_before_convolutions,
    squeeze,
    reduce_mean,
    reduce_mean_of_images_last,
    matmul_and_add,
    reshape_of_zero,
    arrays_among_the_inputs,
    biases_apart,
    softmax_behind,
)
TF2ONNX = (biases_apart, pads_before_convolutions, reduce_mean, matmul_and_add, softmax_behind, images_last)


@pytest.mark.parametrize("fold", [False, True], ids=["kept", "folded"])
@pytest.mark.parametrize(
    "name, edits",
    [*(("resnet18", (edit,)) for edit in EDITS), ("resnet50", TF2ONNX)],
    ids=lambda v: getattr(v, "__name__", str(v)) if not isinstance(v, tuple) else "+".join(e.__name__ for e in v),
)
def test_an_exporters_words(tmp_path, name, edits, fold):
    path = nameless(save_onnx(small(name), tmp_path / "net.onnx", fold=fold))
    model = onnx.load(path)
    for edit in edits:
        edit(model)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    x = images()
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = x.transpose(0, 2, 3, 1) if images_last in edits else x
    (expected,) = session.run(None, {session.get_inputs()[0].name: given})
    assert_same(path, x, expected)
    assert (load_model(path).softmax is not None) == (softmax_behind in edits)
