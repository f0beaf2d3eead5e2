"""A quantized network as nodes for the engine: levels of 8 bits from the image to the scores.

    convolution, + shortcut    ->  conv that reads two: the sum of levels is rounded where the convolution's are
    convolution, max-pool      ->  conv with pool

Both are what the network computes, bit for bit.
"""

from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace

from .. import nn
from ..ops import Quantized
from ..ops.integer_winograd import supports_integer_winograd
from ..quantized import QuantizedNetwork
from ..quantized.float_step import INPUT
from ..quantized.steps import Add, IntegerStep, Kept, Scaled, Weighted
from .graph import Node, leaf

KERNELS = (nn.MaxPool2d, nn.GlobalAvgPool2d, nn.ReLU, nn.Subsample, nn.ZeroPadChannels)  # among the layers that keep


@dataclass(eq=False)
class IntegerNode(Node):
    """A node whose result is ``scale`` · (levels − ``zero_point``).

    ``step`` is the network's, ``sum`` the residual sum that a convolution ends in.
    """

    scale: float = 1.0
    zero_point: int = 0
    step: IntegerStep | None = None
    sum: Add | None = None

    @cached_property
    def suits_winograd(self) -> bool:
        """Whether F(4x4, 3x3) gives every sum of these filters (F, C, 3, 3) int8."""
        return supports_integer_winograd(self.weight, 4)

    @property
    def is_linear(self) -> bool:
        return isinstance(self.step, Weighted) and self.step.weight.ndim == 2


def lower(network: QuantizedNetwork) -> list[Node]:
    """The network's steps, each after those it reads; neighbours joined where one kernel computes both."""
    image = Node("input", name="input")
    levels = IntegerNode("quantize", [image], "quantize", bits=8, scale=network.scale, zero_point=network.zero_point)
    nodes: list[Node] = [image, levels]
    found: dict[str, IntegerNode] = {INPUT: levels}
    readers = [name for step in network.steps for name in step.inputs]
    for step in network.steps:
        inputs = [found[name] for name in step.inputs]
        first = inputs[0]
        if readers.count(step.inputs[0]) == 1 and _absorbs(first, step):
            if isinstance(step, Add):  # in its place, where the shortcut has been computed
                first.inputs.append(inputs[1])
                nodes.remove(first)
                nodes.append(first)
            node = first
        else:
            node = _node(step, inputs)
            nodes.append(node)
        found[step.name] = node
    _name_results({name: node for name, node in found.items() if name != INPUT})
    levels.few = all(node.kind == "conv" and node.inputs[1:].count(levels) == 0 for node in _readers(levels, nodes))
    return nodes


def _readers(node, nodes):
    return [other for other in nodes if node in other.inputs]


def _absorbs(node, step) -> bool:
    """Whether the node, a convolution that nothing has been added to, was made to compute the step, too."""
    if not isinstance(node.step, Weighted) or node.is_linear or node.sum or node.pool:
        return False
    if isinstance(step, Add):
        node.sum, node.scale, node.zero_point = step, step.scale, step.zero_point
    elif _pools(step) and node.module.groups == 1:
        node.pool = step.layer
    else:
        return False
    return True


def _pools(step):
    return isinstance(step, Kept) and isinstance(step.layer, nn.MaxPool2d) and not step.layer.static.get("ceil_mode")


def _node(step, inputs) -> IntegerNode:
    x = inputs[0]
    scaled = step if isinstance(step, Scaled) else x
    common = {"scale": scaled.scale, "zero_point": scaled.zero_point, "step": step}
    if isinstance(step, Weighted):
        window = SimpleNamespace(**{"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **step.window})
        weight = step.weight.reshape(*step.weight.shape, *(1,) * (4 - step.weight.ndim))
        return IntegerNode("conv", inputs, step.name, window, weight, step.bias, **common)
    if isinstance(step, Add):
        return IntegerNode("add", inputs, step.name, **common)
    if isinstance(step, Kept) and isinstance(step.layer, KERNELS):
        like = leaf(step.layer)
        around = {"before": like.before, "after": like.after}
        return IntegerNode(like.kind, inputs, step.name, like.module, **around, **common)
    return IntegerNode("call", inputs, step.name, _on_levels(step, x), **common)


def _on_levels(step, x):
    """What has no kernel: the step itself, from levels to levels."""
    return lambda q: step(Quantized(q, x.scale, x.zero_point)).q


def _name_results(found):
    """Each node's names: of the step whose result it computes, and of the blocks that end with it."""
    ends = {node: name for name, node in found.items()}  # of the steps joined in a node, the last
    last: dict[str, IntegerNode] = {}
    for name, node in found.items():
        parts = name.split(".") if name == ends[node] else ()
        for k in range(1, len(parts) + 1):
            last[".".join(parts[:k])] = node
    for name, node in last.items():
        node.names = (*node.names, name)
