"""A finished model as a list of steps, in the order of its data flow: lowered, batch norms folded, neighbours fused.

The order comes from the classes, not from attribute names: a :class:`Chain` says what follows what, a
:class:`Residual` what is added.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import nn
from ..nn.visit import Visitor, is_replaced
from ..ops.check import pair

NO_FLOOR = float("-inf")
ACTIVATIONS = {nn.ReLU: "relu", nn.LeakyReLU: "leaky_relu", nn.GELU: "gelu", nn.SiLU: "silu"}
SIMPLE = {**ACTIVATIONS, nn.MaxPool2d: "max_pool", nn.GlobalAvgPool2d: "mean"}


@dataclass(eq=False)
class Node:
    """One step: its kind, the nodes it reads, and the layer whose arrays it uses.

    A field that its kind does not use is None, or the default below.
    """

    kind: str  # input conv affine group_norm add relu leaky_relu gelu silu max_pool mean subsample call
    inputs: list["Node"] = field(default_factory=list)  # a conv, a group_norm may read two: its image, what it adds
    name: str = ""
    module: Any = None  # the layer: what a "call" runs, elsewhere the source of its statics
    weight: Any = None  # an array; conv: (F, C/G, kh, kw); affine, group_norm: the scale
    bias: Any = None  # an array; conv, affine, group_norm: the shift
    floor: float = NO_FLOOR  # 0 where a ReLU follows
    pool: Any = None  # conv: the max-pool that follows, a layer
    before: int = 0  # subsample: zero channels in front
    after: int = 0
    bits: int | None = None  # of its result's numbers, where not those of what it reads
    names: tuple[str, ...] = ()  # the modules whose output, in their last run, is this step's result

    few = False  # where ``bits`` are set: it need not pad up to four channels, since only convolutions read them

    @property
    def is_linear(self) -> bool:
        """Whether this "conv" is of scores, a 1x1 one of a single pixel."""
        return isinstance(self.module, nn.Linear)


def lower(model: nn.Module) -> list[Node]:
    """The model's steps, each after those it reads."""
    lowering = Lowering(model)
    lowering.visit(model, lowering.nodes[0])
    for name, node in lowering.results.items():
        node.names = (*node.names, name)
    return _channels_last(lowering.nodes)


def _channels_last(nodes):
    """Convolutions and calls read the image channels first; before other nodes a step converts it."""
    image = nodes[0]
    for node in nodes[1:]:
        reads = node.inputs if node.kind not in ("conv", "call") else node.inputs[1:]
        if image in reads:
            break
    else:
        return nodes
    converted = Node("call", [image], "channels last", nn.Identity())
    for node in nodes[1:]:
        node.inputs = [converted if read is image else read for read in node.inputs]
    return [image, converted, *nodes[1:]]


class Lowering(Visitor):
    """Visits a model with a node in the place of x: each layer and each sum appends a node and returns it."""

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.nodes = [Node("input", name="input")]
        self.results: dict[str, Node] = {}  # of each module by its name, in its last run

    def visit(self, module: nn.Module, x: Node, around: str = "") -> Node:
        if is_replaced(module):
            node = self.append(Node("call", [x], self.names.get(id(module), type(module).__name__), module))
        else:
            node = super().visit(module, x, around)
        if name := self.names.get(id(module)):
            self.results[name] = node
        return node

    def residual(self, module: nn.Residual, x: Node, name: str) -> Node:
        shortcut = self.visit(module.shortcut, x, name)  # first: the branch's last step may add it
        return self.append(Node("add", [self.visit(module.branch, x, name), shortcut], "add"))

    def leaf(self, module: nn.Module, x: Node, name: str) -> Node:
        return self.append(replace(leaf(module), inputs=[x], name=self.names.get(id(module), type(module).__name__)))

    def append(self, node: Node) -> Node:
        """node, which is now the last step."""
        self.nodes.append(node)
        return node


def leaf(module: Any) -> Node:
    """The node of a layer, which reads nothing yet."""
    kind = type(module)
    if kind is nn.Conv2d:
        bias = np.zeros(len(module.weight.value)) if module.bias is None else module.bias.value
        return Node("conv", module=module, weight=module.weight.value, bias=bias)
    if kind is nn.Linear:
        bias = np.zeros(len(module.weight.value)) if module.bias is None else module.bias.value
        return Node("conv", module=module, weight=module.weight.value[:, :, None, None], bias=bias)
    if kind is nn.BatchNorm2d:
        scale, shift = module.affine_map()
        return Node("affine", module=module, weight=scale, bias=shift)
    if kind is nn.GroupNorm:
        return Node("group_norm", module=module, weight=module.weight.value, bias=module.bias.value)
    if kind is nn.Subsample:
        return Node("subsample", module=module)
    if kind is nn.ZeroPadChannels:
        before, after = module.static["before"], module.static["after"]
        if min(before, after) < 0:
            raise ValueError(f"channels can be added, not taken away: before={before}, after={after}")
        return Node("subsample", module=None, before=before, after=after)
    return Node(SIMPLE.get(kind, "call"), module=module)


def fuse(nodes: list[Node]) -> list[Node]:
    """The same function in fewer steps; the nodes given are not changed.

        conv, batch norm    ->  conv                with a·W and a·b + shift: one affine map after another
        conv, + shortcut    ->  conv + residual; a group norm likewise
        any of them, ReLU   ->  the same, at least 0; other activations stay steps of their own
        conv, max-pool      ->  conv with pool
        subsample, channels ->  one shortcut A

    A pair is fused where no other node reads the first one's result, and everything that the second reads is computed
    before the first.
    """
    nodes = _copied(nodes)
    for node in list(nodes):
        first = node.inputs[0] if node.inputs else None
        if first is None or sum(first in other.inputs for other in nodes) > 1 or not _absorb(first, node, nodes):
            continue
        first.names = node.names
        nodes.remove(node)
        for other in nodes:
            other.inputs = [first if read is node else read for read in other.inputs]
    return nodes


def folded(model: nn.Module) -> list[Node]:
    """The model's steps, fused; weights folded in float64, kept in float32."""
    nodes = fuse(lower(model))
    for node in nodes:
        if node.weight is not None and node.bias is not None:
            node.weight, node.bias = node.weight.astype(np.float32), node.bias.astype(np.float32)
    return nodes


def _copied(nodes):
    """New nodes that read each other as the old ones did."""
    copies = {node: replace(node) for node in nodes}
    for node in copies.values():
        node.inputs = [copies[read] for read in node.inputs]
    return list(copies.values())


def _absorb(first, second, nodes) -> bool:
    """Fuse ``second`` into ``first``; whether that was possible."""
    can_extend = first.floor == NO_FLOOR and first.pool is None
    is_conv2d = first.kind == "conv" and type(first.module) is nn.Conv2d
    if (
        second.kind == "affine"
        and is_conv2d
        and can_extend
        and len(first.inputs) == 1
        and len(second.bias) == len(first.bias)
    ):
        first.weight = first.weight * second.weight[:, None, None, None]
        first.bias = first.bias * second.weight + second.bias
    elif (
        second.kind == "add"
        and first.kind in ("conv", "group_norm")
        and can_extend
        and len(first.inputs) == 1
        and nodes.index(second.inputs[1]) < nodes.index(first)
    ):
        first.inputs.append(second.inputs[1])
    elif second.kind == "relu" and first.kind in ("conv", "affine", "group_norm", "add") and can_extend:
        first.floor = 0.0
    elif (
        second.kind == "max_pool"
        and is_conv2d
        and len(first.inputs) == 1
        and not first.pool
        and first.module.groups == 1
        and not second.module.static.get("ceil_mode")
    ):
        first.pool = second.module
    elif second.kind == "subsample" and first.kind == "subsample" and first.module and not second.module:
        first.before, first.after = second.before + first.before, first.after + second.after
    else:
        return False
    return True


def stride_of(node: Node) -> tuple[int, int]:
    """A subsample's or a convolution's stride, (vertical, horizontal)."""
    if node.kind == "subsample":
        return pair(node.module.static["stride"]) if node.module else (1, 1)
    return pair(getattr(node.module, "stride", 1))
