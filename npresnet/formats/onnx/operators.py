"""One operator of an ONNX graph as a layer with PyTorch's names of classes and options.

An operator's arguments are attributes in some versions and inputs in others.
"""

from collections.abc import Callable

from ..state import Layer
from ..tensors import Tensor
from .graph import Node
from .resolve import Resolver, vector
from .windows import pair, refuse, window

ACTIVATIONS = {
    "Relu": "ReLU",
    "LeakyRelu": "LeakyReLU",
    "PRelu": "PReLU",
    "Elu": "ELU",
    "Selu": "SELU",
    "Celu": "CELU",
    "Gelu": "GELU",
    "Sigmoid": "Sigmoid",
    "HardSigmoid": "Hardsigmoid",
    "HardSwish": "Hardswish",
    "Swish": "SiLU",
    "Mish": "Mish",
    "Softplus": "Softplus",
    "Tanh": "Tanh",
    "Softmax": "Softmax",
    "LogSoftmax": "LogSoftmax",
}
OPTIONS = {"LeakyRelu": ("negative_slope", "alpha", 0.01), "Elu": ("alpha", "alpha", 1.0)}
ROLES = ("weight", "bias", "running_mean", "running_var")
FARTHEST = 1e30  # a bound of Clip that is none
SPATIAL = ([2, 3], [-2, -1], [1, 2], [-3, -2])  # an image's two axes, the channels before or after them


class Part:
    """A layer while a graph is read, with its arrays and their names in the file.

    ``role`` is what it is called where the file has no name for it; ``channels`` those of its output, 0 if unknown.
    """

    def __init__(self, role: str, layer: Layer, channels: int = 0, **arrays: Tensor | None):
        self.role, self.layer, self.channels = role, layer, channels
        self.arrays = {name: tensor for name, tensor in arrays.items() if tensor is not None}
        self.names: dict[str, str] = {}
        self.reads: list[Part | None] = []  # the parts whose outputs it reads; None for the images
        self.place: Part | None = None  # another part whose number it has, where it has no name; never itself: a cycle
        # would keep the file's arrays until Python next looks for cycles
        self.dropped = False  # for another layer includes it


# -- with arrays -----------------------------------------------------------------------------------------------------


def conv(find: Resolver, node: Node) -> Part:
    kernel = find.constant(node, 1)
    if kernel is not None and len(kernel.size) == 3:
        return channel_conv(find, node)
    weight, bias = array(find, node, 1, 4), array(find, node, 2, 1) if len(node.inputs) > 2 else None
    groups = node.attributes.get("group", 1)
    if not isinstance(groups, int) or not 1 <= groups < 2**31:
        raise refuse(node, "has no number of groups")
    options = {"kernel_size": weight.size[2:], **window(node, weight.size[2:]), "groups": groups}
    return named(node, Part("conv", Layer("Conv2d", options), weight.size[0], weight=weight, bias=bias))


def channel_conv(find: Resolver, node: Node) -> Part:
    """Along the channels, which a Reshape has made the pixels of a row."""
    weight = array(find, node, 1, 3)
    k = weight.size[2]
    usual = {"pads": (k // 2, k // 2), "strides": (1,), "dilations": (1,)}
    if weight.size[:2] != (1, 1) or len(node.inputs) > 2 or k % 2 == 0:
        raise refuse(node, "is no convolution of images")
    if any(node.attributes.get(name, value) != value for name, value in usual.items()):
        raise refuse(node, "is no convolution along the channels, as in ECA")
    return named(node, Part("channels", Layer("ChannelConv", {"kernel_size": k}), weight=weight))


def norm(find: Resolver, node: Node) -> Part:
    arrays = {role: array(find, node, i, 1) for i, role in enumerate(ROLES, 1)}
    kept = node.attributes.get("momentum")  # what is kept of the running statistics; PyTorch counts what is new
    new = {} if kept is None else {"momentum": round(1 - kept, 9)}
    layer = Layer("BatchNorm2d", {"eps": node.attributes.get("epsilon", 1e-5), **new})
    return named(node, Part("norm", layer, arrays["weight"].size[0], **arrays))


def group_norm(find: Resolver, node: Node) -> Part:
    """Each group as one channel of an image that is reshaped before and after; the channels' factors come behind it."""
    scale, shift = (array(find, node, i, 1) for i in (1, 2))
    for tensor, value in ((scale, 1), (shift, 0)):
        if (tensor.array(find.budget) != value).any():
            raise refuse(node, "scales what it norms, which is no group norm")
    eps = node.attributes.get("epsilon", 1e-5)
    return Part("norm", Layer("GroupNorm", {"num_groups": scale.size[0], "eps": eps}))


def gemm(find: Resolver, node: Node) -> Part:
    """α A B + β C, of which a classifier has α = β = 1."""
    usual = {"alpha": 1.0, "transA": 0, "beta": 1.0}
    if any(node.attributes.get(name, value) != value for name, value in usual.items()):
        raise refuse(node, "scales or transposes what it reads, which no classifier does")
    weight, bias = array(find, node, 1, 2), array(find, node, 2, 1) if len(node.inputs) > 2 else None
    return linear(node, weight if node.attributes.get("transB") else transposed(weight), bias)


def matmul(find: Resolver, node: Node) -> Part:
    return linear(node, transposed(array(find, node, 1, 2)))


def linear(node: Node, weight: Tensor, bias: Tensor | None = None) -> Part:
    outputs, inputs = weight.size
    layer = Layer("Linear", {"in_features": inputs, "out_features": outputs})
    return named(node, Part("fc", layer, outputs, weight=weight, bias=bias))


def named(node: Node, part: Part) -> Part:
    """The part, its arrays called as in the file."""
    part.names = dict(zip(ROLES, node.inputs[1:]))
    return part


def array(find: Resolver, node: Node, index: int, axes: int) -> Tensor:
    """A constant of so many axes, or an error."""
    tensor = find.constant(node, index)
    if tensor is not None and axes == 1:
        tensor = vector(tensor)
    if tensor is None or len(tensor.size) != axes or 0 in tensor.size:
        raise refuse(node, f"reads no constant of {axes} axes; quantized and computed weights are not read")
    return tensor


def transposed(tensor: Tensor) -> Tensor:
    return Tensor(tensor.storage, tensor.offset, tensor.size[::-1], tensor.stride[::-1], tensor.dtype)


# -- without ---------------------------------------------------------------------------------------------------------


def activation(find: Resolver, node: Node) -> Part:
    name, attribute, usual = OPTIONS.get(node.kind, ("", "", None))
    options = {name: node.attributes.get(attribute, usual)} if name else {}
    return Part("act", Layer(ACTIVATIONS[node.kind], options))


def clip(find: Resolver, node: Node) -> Part:
    least, most = ((find.numbers(node, i, name) or (None,))[0] for i, name in ((1, "min"), (2, "max")))
    if least != 0 or not (most is None or most == 6 or most > FARTHEST):
        raise refuse(node, "is neither a ReLU nor a ReLU6")
    return Part("act", Layer("ReLU6" if most == 6 else "ReLU", {}))


def max_pool(find: Resolver, node: Node) -> Part:
    return pool(node, "MaxPool2d")


def mean_pool(find: Resolver, node: Node) -> Part:
    part = pool(node, "AvgPool2d")
    part.layer.options["count_include_pad"] = bool(node.attributes.get("count_include_pad", 0))
    return part


def pool(node: Node, kind: str) -> Part:
    kernel = pair(node, "kernel_shape", ())
    ceil = bool(node.attributes.get("ceil_mode", 0))
    return Part("pool", Layer(kind, {"kernel_size": kernel, **window(node, kernel), "ceil_mode": ceil}))


def whole_mean(find: Resolver, node: Node) -> Part:
    return Part("pool", Layer("AdaptiveAvgPool2d", {"output_size": (1, 1)}))


def reduce_mean(find: Resolver, node: Node) -> Part:
    if sorted(find.numbers(node, 1, "axes") or ()) not in SPATIAL:
        raise refuse(node, "takes the mean of other axes than an image's two")
    return whole_mean(find, node)


def pad(find: Resolver, node: Node) -> Part:
    """Zeros around images, or more channels of zeros."""
    pads, value = find.numbers(node, 1, "pads"), find.numbers(node, 2, "value")
    mode = node.attributes.get("mode", "constant")
    if mode == "reflect" and pads == (0, 0, 1, 1, 0, 0, 1, 1):
        return Part("pad", Layer("ReflectionPad2d", {"padding": (1, 1, 1, 1)}))
    plain = mode == "constant" and (value is not None or not any(node.inputs[2:3]))
    if not plain or any(value or ()) or pads is None or len(pads) != 8 or min(pads) < 0 or pads[0] or pads[4]:
        raise refuse(node, "is not of zeros around images, or of channels of zeros")
    _, before, top, left, _, after, bottom, right = pads
    if before or after:
        if top or left or bottom or right:
            raise refuse(node, "pads channels and sides at once")
        return Part("pad", Layer("ZeroPadChannels", {"before": before, "after": after}))
    return Part("pad", Layer("ZeroPad2d", {"padding": (left, right, top, bottom)}))


def every_second(find: Resolver, node: Node) -> Part:
    """A Slice that takes every s-th row or column, from the first to the last."""
    starts, ends, axes, steps = (
        find.numbers(node, i, name) for i, name in enumerate(("starts", "ends", "axes", "steps"), 1)
    )
    steps = steps or (1,) * len(axes or ())
    if not starts or not ends or not axes or not len(starts) == len(ends) == len(axes) == len(steps):
        raise refuse(node, "is no part of images that is known here")
    if any(starts) or min(ends) < 2**31 - 1 or not set(axes) <= {2, 3, -1, -2} or min(steps) < 1:
        raise refuse(node, "takes another part of images than every second pixel")
    stride = dict(zip((axis % 4 for axis in axes), steps))
    return Part("pool", Layer("Subsample", {"stride": (stride.get(2, 1), stride.get(3, 1))}))


Reader = Callable[[Resolver, Node], Part]
READERS: dict[str, Reader] = {
    "Conv": conv,
    "BatchNormalization": norm,
    "InstanceNormalization": group_norm,
    "Gemm": gemm,
    "MatMul": matmul,
    "Clip": clip,
    "MaxPool": max_pool,
    "AveragePool": mean_pool,
    "GlobalAveragePool": whole_mean,
    "ReduceMean": reduce_mean,
    "Pad": pad,
    "Slice": every_second,
    **dict.fromkeys(ACTIVATIONS, activation),
}
