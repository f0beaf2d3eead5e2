"""Small ONNX files, as our own writer and as other programs leave them."""

import io

import numpy as np

from npresnet.formats.onnx.write import Node, Port, write_onnx

RNG = np.random.default_rng(0)


def file(nodes, arrays, texts=None, opset=17, inputs=("x",), outputs=("y",)):
    """The bytes of a graph; nodes are (kind, "inputs", output, attributes)."""
    buffer = io.BytesIO()
    ports = [[Port(name, np.dtype("f4"), ("N", 3, "H", "W")) for name in names] for names in (inputs, outputs)]
    nodes = [Node(kind, tuple(read.split()), output, attributes) for kind, read, output, attributes in nodes]
    write_onnx(buffer, nodes, arrays, *ports, texts or {}, opset=opset)
    return buffer.getvalue()


def own(arrays, texts):
    """A file whose metadata and arrays' names are ours."""
    return file([("Relu", "x", "y", {})], arrays, texts)


def floats(*size):
    return RNG.standard_normal(size).astype("<f4")


def norm(name, channels):
    return {f"{name}.{i}": abs(floats(channels)) for i in range(4)}


def constant(name, *values):
    return "Constant", "", name, {"value": np.array(values, "<i8")}


def window(kernel, stride=1, pad=0):
    return {"kernel_shape": (kernel, kernel), "strides": (stride, stride), "pads": (pad, pad, pad, pad)}


def plain():
    """A stem, one block with a projection, and a head."""
    arrays = {"a": floats(2, 3, 3, 3), "b": floats(4, 2, 3, 3), "c": floats(4, 4, 3, 3), "d": floats(4, 2, 1, 1)}
    arrays |= norm("na", 2) | norm("nb", 4) | norm("nc", 4) | norm("nd", 4) | {"fc": floats(5, 4), "fb": floats(5)}
    nodes = [
        ("Conv", "x a", "1", window(3, 2, 1)),
        ("BatchNormalization", "1 na.0 na.1 na.2 na.3", "2", {"epsilon": 1e-3}),
        ("Relu", "2", "3", {}),
        ("MaxPool", "3", "4", window(3, 2, 1)),
        ("Conv", "4 d", "s1", window(1, 2)),  # the shortcut stands first
        ("BatchNormalization", "s1 nd.0 nd.1 nd.2 nd.3", "s2", {}),
        ("Conv", "4 b", "5", window(3, 2, 1)),
        ("BatchNormalization", "5 nb.0 nb.1 nb.2 nb.3", "6", {}),
        ("LeakyRelu", "6", "7", {"alpha": 0.2}),
        ("Conv", "7 c", "8", window(3, 1, 1)),
        ("BatchNormalization", "8 nc.0 nc.1 nc.2 nc.3", "9", {}),
        ("Add", "s2 9", "10", {}),
        ("Relu", "10", "11", {}),
        ("GlobalAveragePool", "11", "12", {}),
        ("Flatten", "12", "13", {"axis": 1}),
        ("Gemm", "13 fc fb", "y", {"transB": 1}),
    ]
    return file(nodes, arrays)


def converted():
    """As converters leave networks: layouts turned, constants as operators, norms as factors and terms."""
    arrays = {"a": floats(3, 3, 3, 2), "scale": floats(1, 2, 1, 1), "shift": floats(2, 1, 1), "fc": floats(4, 5)}
    arrays |= {"fb": floats(5), "g1": floats(1, 2, 1, 1), "g2": floats(2, 1, 1, 1)}
    nodes = [
        ("Transpose", "x", "t", {"perm": (0, 3, 1, 2)}),
        ("Identity", "a", "ai", {}),
        ("Transpose", "ai", "w", {"perm": (3, 2, 0, 1)}),
        constant("p", 0, 0, 1, 1, 0, 0, 1, 1),
        ("Pad", "t p", "padded", {}),
        ("Conv", "padded w", "1", window(3, 2)),
        ("Mul", "1 scale", "2", {}),
        ("Add", "2 shift", "3", {}),
        ("Sigmoid", "3", "gate", {}),
        ("Mul", "3 gate", "4", {}),
        ("GlobalAveragePool", "4", "m", {}),
        ("Conv", "m g1", "q", window(1)),
        ("Relu", "q", "r", {}),
        ("Conv", "r g2", "e", window(1)),
        ("Sigmoid", "e", "f", {}),
        ("Mul", "4 f", "5", {}),
        constant("starts", 0, 0),
        constant("ends", 2**62, 2**62),
        constant("axes", 2, 3),
        constant("steps", 2, 2),
        ("Slice", "5 starts ends axes steps", "6", {}),
        constant("cp", 0, 1, 0, 0, 0, 1, 0, 0),
        ("Pad", "6 cp", "7", {}),
        ("AveragePool", "7", "8", window(2)),
        ("Flatten", "8", "9", {}),
        ("MatMul", "9 fc", "10", {}),
        ("Add", "10 fb", "11", {}),
        ("Softmax", "11", "y", {}),
    ]
    return file(nodes, arrays)


GRAPHS = {"plain": plain, "converted": converted}
