"""The layers of an ONNX graph, in the order in which they run, as a State.

    Conv                             Conv2d; a Pad of zeros in front of it is part of its padding, as of a
                                     MaxPool's behind a ReLU
    BatchNormalization, Mul and Add  BatchNorm2d; of factors and terms alone with mean 0, variance 1 and eps 0
    Gemm, MatMul, an Add behind it   Linear, the weight (outputs, inputs)
    MaxPool, AveragePool             MaxPool2d, AvgPool2d; over the whole image AdaptiveAvgPool2d
    InstanceNormalization            GroupNorm, of a Mul and an Add behind it the weight and the bias
    Relu, Softmax, Sigmoid, …        ReLU, Softmax, Sigmoid, …;  x · Sigmoid(x) is SiLU, Erf in its company GELU
    Add of two values                Add
    Mul by a Sigmoid                 Mul; the layers on the way to the factor are called "se.fc1" and "se.fc2"

The arrays keep the file's names where they are those of PyTorch's layers ("layer1.0.conv1.weight"); else a layer is
called by its place and kind, "12.conv".  Where a layer reads others than the one before it, its option "reads" has
their paths, "" for the images.  Any other operator on the way to the output is refused.
"""

import numpy as np

from ..errors import WeightsError
from ..state import Layer, State
from ..stream import Budget
from ..tensors import Tensor
from .graph import Graph, Node
from .operators import READERS, ROLES, Part
from .resolve import PASSING, Resolver, vector
from .windows import four_sides, padding, refuse

GATES = {"Sigmoid": "SiLU", "HardSigmoid": "Hardswish"}  # x times it
AFFINE = ("Add", "Sub", "Mul", "Div", "Sum")


def state_of(graph: Graph, budget: Budget) -> State:
    """The State of the network that makes the graph's output."""
    reading = Reading(graph, budget)
    for node in reading.find.order():
        budget.step(16, "an operator")
        reading.read(node)
    parts = [part for part in reading.parts if not part.dropped]
    if not any(part.layer.kind == "Conv2d" for part in parts):
        raise WeightsError("its output comes from no convolution, so that it is no ResNet's")
    return state(unfolded(parts, budget), budget)


def unfolded(parts: list[Part], budget: Budget) -> list[Part]:
    """The parts with a norm again behind each convolution into which an exporter has multiplied one.

    They are seen where other norms are left, as in pre-activation networks: its convolution has a bias, and an
    activation behind it.  Where none is left, the network is one without norms.
    """
    eps = next((part.layer.options["eps"] for part in parts if part.layer.kind == "BatchNorm2d"), None)
    if eps is None:
        return parts
    found: list[Part] = []
    for part, after in zip(parts, [*parts[1:], None]):
        found.append(part)
        if part.role == "conv" and "bias" in part.arrays and after is not None and after.role == "act":
            budget.spend(64 * part.channels, "a batch norm")  # a file may name one large convolution many times
            ones = np.ones(part.channels)
            arrays = {"weight": ones, "running_mean": 0 * ones, "running_var": (1 - eps) * ones}
            norm = Part("norm", Layer("BatchNorm2d", {"eps": eps}), part.channels)
            norm.reads = [part]
            after.reads = [norm if read is part else read for read in after.reads]
            norm.arrays = {role: as_tensor(array) for role, array in arrays.items()} | {"bias": part.arrays.pop("bias")}
            found.append(norm)
    return found


def blur(part: Part, budget: Budget) -> Part:
    """The layer of a convolution behind a mirrored frame: of each channel with 1, 2, 1 in both directions, over 16."""
    filters = part.arrays["weight"]
    row = np.array([1, 2, 1]) / 4
    alike = filters.size[1:] == (1, 3, 3) and (abs(filters.array(budget) - row[:, None] * row) < 1e-6).all()
    options = part.layer.options
    if not alike or "bias" in part.arrays or options["groups"] != filters.size[0] or options["padding"] != (0, 0):
        raise WeightsError("a convolution of it has a mirrored frame, and does not blur as the family's do")
    return Part("pool", Layer("BlurPool2d", {"stride": options["stride"]}), part.channels)


class Scale(Part):
    """x ↦ factor · x + term for each channel: a batch norm of which only that is left."""

    def __init__(self, channels: int):
        super().__init__("norm", Layer("BatchNorm2d", {"eps": 0.0}), channels)
        self.factor, self.term = np.ones(channels), np.zeros(channels)

    def then(self, kind: str, values: np.ndarray) -> None:
        """Another factor or term behind it."""
        if kind in ("Mul", "Div"):
            values = values if kind == "Mul" else 1 / values
            self.factor, self.term = self.factor * values, self.term * values
        else:
            self.term = self.term + (-values if kind == "Sub" else values)
        zeros, ones = np.zeros(self.channels), np.ones(self.channels)
        self.arrays = {role: as_tensor(a) for role, a in zip(ROLES, (self.factor, self.term, zeros, ones))}


class Reading:
    """Follows a graph from its images to its output, an operator at a time."""

    def __init__(self, graph: Graph, budget: Budget):
        self.find, self.budget = Resolver(graph, budget), budget
        self.parts: list[Part] = []
        self.made: dict[str, Part] = {}  # the part that made a value

    def read(self, node: Node) -> None:
        """Append the layer of an operator, or make it part of another."""
        data, name = self.find.data(node), node.outputs[0] if node.outputs else ""
        before = self.made.get(data[0]) if data else None
        if node.kind in PASSING:
            if before is not None:
                self.made[name] = before
        elif node.kind in AFFINE:
            self.made[name] = self.affine(node, before) if len(data) == 1 else self.join(node, data)
        elif node.kind in READERS and data:
            part = READERS[node.kind](self.find, node)
            self.made[name] = self.append(self.behind(part, before, data[0]), before)
        else:
            raise refuse(node, "is in no ResNet that is read here")

    def append(self, part: Part, *reads: Part | None) -> Part:
        """The part, which reads these and now is the last."""
        before, part.reads = reads[0], list(reads)
        added = sum(part.layer.options.get(side, 0) for side in ("before", "after"))  # channels of zeros
        if not part.channels and before is not None and before.channels:
            part.channels = before.channels + added
        self.parts.append(part)
        return part

    def behind(self, part: Part, before: Part | None, read: str) -> Part:
        """The part; a padding in front of a convolution becomes part of it, a mean before a classifier the whole's.

        So does one in front of a max pooling of what a ReLU gives.
        """
        if before is None:
            return part
        kinds, options = (before.layer.kind, part.layer.kind), part.layer.options
        zeros_win_nowhere = kinds == ("ZeroPad2d", "MaxPool2d") and kind_of(before.reads[0]) == "ReLU"
        padded = kinds == ("ZeroPad2d", "Conv2d") or zeros_win_nowhere
        pads = four_sides(options["padding"]) if padded else ()
        if pads and self.find.uses[read] == 1:
            left, right, top, bottom = before.layer.options["padding"]
            pads = tuple(a + b for a, b in zip(pads, (top, left, bottom, right)))
            window = (options[name] for name in ("kernel_size", "stride", "dilation"))
            options["padding"], before.dropped = padding(pads, *window), True
        if kinds == ("ReflectionPad2d", "Conv2d") and self.find.uses[read] == 1:
            part, before.dropped = blur(part, self.budget), True
        if kinds == ("Subsample", "Subsample") and self.find.uses[read] == 1:
            strides = list(zip(before.layer.options["stride"], options["stride"]))
            if all(1 in pair for pair in strides):  # rows, then columns
                options["stride"], before.dropped = tuple(map(max, strides)), True
        if kinds == ("AvgPool2d", "Linear") and before.channels == options["in_features"]:
            before.layer = Layer("AdaptiveAvgPool2d", {"output_size": (1, 1)})
        return part

    # -- sums and products -------------------------------------------------------------------------------------------

    def join(self, node: Node, data: list[str]) -> Part:
        """The sum of two paths, or an image times what a gate makes of it."""
        origins = [self.find.origin(name) for name in data]
        if node.kind in ("Add", "Sum") and len(data) == 2:
            return self.append(Part("add", Layer("Add", {})), *map(self.made.get, data))
        for one, other in (origins, origins[::-1]) if node.kind == "Mul" else ():
            maker = self.find.maker.get(one)
            if maker is None or maker.kind not in GATES:
                continue
            if self.find.origin(maker.inputs[0]) == other and self.find.uses[maker.outputs[0]] == 1:
                self.made[one].dropped = True
                return self.append(Part("act", Layer(GATES[maker.kind], {})), self.made.get(other))
            self.name_gate(one, other)
            return self.append(Part("mul", Layer("Mul", {})), self.made.get(other), self.made.get(one))
        raise refuse(node, "joins two paths as no ResNet does that is read here")

    def name_gate(self, factor: str, image: str) -> None:
        """Call the two layers between an image and its factors those of a gate."""
        name, found = factor, []
        while len(found) < 2 and name != image and (node := self.find.maker.get(name)):
            self.budget.step(1, "the graph")
            part = self.made.get(name)
            if part is not None and part.role in ("conv", "fc", "channels") and part not in found:
                found.append(part)
            name = next(iter(self.find.data(node)), image)
        roles = ("se.conv",) if found and found[0].role == "channels" else ("se.fc2", "se.fc1")
        for part, role in zip(found, roles):
            part.role, part.place = role, None if part is found[-1] else found[-1]

    def affine(self, node: Node, before: Part | None) -> Part:
        """A Mul, Div, Add or Sub with a constant: a bias, or part of a batch norm."""
        if before is None or not before.channels:
            raise WeightsError(
                f"it computes with its images ({node.kind}) before the first convolution, which is not read; export "
                "the network without its preprocessing"
            )
        index = next((i for i, name in enumerate(node.inputs) if name in self.find.constants), 0)
        tensor = vector(self.find.constants[node.inputs[index]]) if len(node.inputs) == 2 else None
        if tensor is None or tensor.size[0] not in (1, before.channels) or (node.kind in ("Sub", "Div") and not index):
            raise refuse(node, f"is no factor or term of each of {before.channels} channels")
        alone = self.parts[-1] is before and self.find.uses[node.inputs[1 - index]] == 1
        bare = before.layer.kind in ("Conv2d", "Linear") and "bias" not in before.arrays
        if alone and bare and node.kind in ("Add", "Sum") and tensor.size[0] == before.channels:
            before.arrays["bias"], before.names["bias"] = tensor, node.inputs[index]
            return before
        if before.layer.kind == "Linear":
            raise refuse(node, "changes the classifier's scores")
        role = {"Mul": "weight", "Add": "bias"}.get(node.kind, "")
        if alone and before.layer.kind == "GroupNorm" and role not in before.arrays and tensor.size[0] > 1:
            before.arrays[role], before.names[role] = tensor, node.inputs[index]
            return before
        self.budget.spend(64 * before.channels, "a batch norm")
        scale = before
        if not alone or not isinstance(scale, Scale):
            scale = Scale(before.channels)
            self.append(scale, before)
        scale.then(node.kind, np.broadcast_to(tensor.array(self.budget).astype(np.float64), before.channels))
        return scale


# -- names -------------------------------------------------------------------------------------------------------


def state(parts: list[Part], budget: Budget) -> State:
    """The parts' arrays and layers by name."""
    found, kept = State(kind="onnx"), kept_names(parts)
    numbers = {id(part): i for i, part in enumerate(parts)}
    paths = [kept.get(i, f"{numbers[id(part.place or part)]}.{part.role}") for i, part in enumerate(parts)]
    for i, (path, part) in enumerate(zip(paths, parts)):
        budget.spend((256 + len(path)) * (2 + len(part.arrays)), "the network's names")
        reads = [numbers.get(id(standing(read, budget)), -1) for read in part.reads]
        if reads != [i - 1]:
            part.layer.options["reads"] = tuple(paths[n] if n >= 0 else "" for n in reads)
        found.layers[path] = part.layer
        found.update((f"{path}.{name}", tensor) for name, tensor in part.arrays.items())
    return found


def standing(part: Part | None, budget: Budget) -> Part | None:
    """The part, or what stands for it where it was dropped: what it reads."""
    while part is not None and part.dropped:
        budget.step(1, "the graph")
        part = part.reads[0]
    return part


def kind_of(part: Part | None) -> str:
    return part.layer.kind if part else ""


def kept_names(parts: list[Part]) -> dict[int, str]:
    """The file's names of the parts with arrays, where all of them are called as PyTorch does it; else nothing."""
    found: dict[int, str] = {}
    for i, part in enumerate(parts):
        path = part.names.get("weight", "").removesuffix(".weight")
        if part.arrays and (not path or any(part.names.get(name) != f"{path}.{name}" for name in part.arrays)):
            return {}
        if part.arrays:
            found[i] = path
    return found if len(set(found.values())) == len(found) else {}


def as_tensor(values: np.ndarray) -> Tensor:
    return Tensor.of(values.astype(np.float32))
