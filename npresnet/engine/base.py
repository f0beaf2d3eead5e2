"""What the engines on a CPU and on a GPU have in common."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any, NoReturn

from ..backend import Array, array_namespace, as_array
from ..models.classifier import NO_CLASSIFIER
from ..nn import Module, Softmax
from .graph import Node


class Engine(ABC):
    """A model compiled to steps: ``engine(x)`` runs it, ``print(engine.plan)`` shows the last plan.

    A plan belongs to a size of input: how each step is computed, and where its results lie.  Plans are made when a
    size first comes, and those of the ``KEPT`` sizes last used are kept.

    Threads: any number of them may call one engine, and several engines may run side by side.  The calls of one engine
    take turns, each with all its threads, so that more callers do not make it faster; larger batches do.  Equal arrays
    of one shape get equal bits, whoever else calls; another number of images may round otherwise.  A result is an array
    of its own, which no later call changes.  ``engine.plan`` is that of whichever call came last.  Not promised: the
    order in which waiting calls run, and anything where an array is written to while a call reads it; nor that a NaN or
    an infinity stays in the channels that depend on it, since filters and groups are padded with zeros.  A child after
    ``fork`` may go on calling on the CPU, not on a GPU; an engine cannot be pickled, so that other processes make their
    own with :func:`npresnet.optimize`.

    Arrays of other libraries are taken, such as PyTorch's tensors; the results are NumPy's, or CuPy's on a GPU.
    """

    KEPT = 16
    lock: AbstractContextManager[Any]
    runs_on: str  # the backend, and how it is used there

    def __init__(self, model: Any, nodes: list[Node]):
        self.softmax = nodes.pop().module if isinstance(nodes[-1].module, Softmax) else None
        self.nodes = nodes
        self.name = getattr(getattr(model, "spec", None), "name", type(model).__name__)
        steps = [step.name for step in getattr(model, "steps", ())]  # of a quantized network
        named = [name for name, _ in model.named_modules()] if isinstance(model, Module) else steps
        self.layers = {name for name in named if name}
        self.preprocessing: Any = getattr(model, "preprocessing", None)
        self.has_classifier = getattr(getattr(model, "spec", None), "num_classes", None) != 0
        self.in_channels: int | None = getattr(getattr(model, "spec", None), "in_channels", None)
        self.plan: Any = None
        self.plans: dict[tuple[int, ...], Any] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}, {self.runs_on}, {len(self.nodes)} steps)"

    def __call__(self, x: Array) -> Array:
        """The model's output for images x (N, C, H, W)."""
        y = self.before_softmax(x)
        return y if self.softmax is None else self.softmax(y)

    def logits(self, x: Array) -> Array:
        """The scores: the output, or the input of a softmax at the end."""
        if not self.has_classifier:
            raise ValueError(NO_CLASSIFIER)
        return self.before_softmax(x)

    def features(self, x: Array, after: str | None = None) -> Array:
        """The pooled features (N, C) of images x; or the output of the layer called ``after``, such as "layer3.0".

        Nothing behind that layer is computed.  Raises ValueError for a layer that the model does not have, or whose
        output no step computes, since the layers that follow are fused with it.
        """
        return self.computed(x, self.steps_to(after))

    def before_softmax(self, x: Array) -> Array:
        """What the steps make of x."""
        return self.computed(x, self.nodes)

    def steps_to(self, after: str | None) -> list[Node]:
        """The steps up to the layer's output, or without a name up to the pooled features."""
        if not isinstance(after, str | None):
            raise TypeError(f"an engine reads the output of one layer at a time: after=NAME, not {after!r}")
        found = [node.kind == "mean" if after is None else after in node.names for node in self.nodes]
        if any(found):
            return self.nodes[: len(found) - found[::-1].index(True)]
        if after is None:
            raise ValueError("this model does not pool its features: name the layer whose output to read, after=NAME")
        if after in self.layers:
            raise ValueError(
                f"the engine joins {after} with the layers that follow it; read its block's output, or ask the model"
            )
        raise ValueError(f"no layer {after}; the engine reads the outputs of blocks, such as layer1 and layer1.0")

    def computed(self, x: Array, nodes: list[Node]) -> Array:
        """What these first steps make of x."""
        x = self.checked(as_array(x))
        if len(x) == 0:
            return self.computed(array_namespace(x).zeros((1, *x.shape[1:]), dtype=x.dtype), nodes)[:0]
        with self.lock:
            return self.run(x, nodes)

    def missing_kernels(self, shape: tuple[int, ...]) -> int:
        """How many kernels are to be compiled before images of ``shape`` (N, C, H, W) can run."""
        return 0

    def plan_for(self, shape: tuple[int, ...], nodes: list[Node]) -> Any:
        """The plan for inputs of ``shape``, which is now the last used."""
        key = shape if len(nodes) == len(self.nodes) else (*shape, len(nodes))
        plan = self.plans.pop(key, None)  # to put it in again as the last
        while len(self.plans) >= self.KEPT:
            del self.plans[next(iter(self.plans))]
        self.plan = self.plans[key] = plan or self.make_plan(shape, nodes)
        return self.plan

    @abstractmethod
    def make_plan(self, shape: tuple[int, ...], nodes: list[Node]) -> Any:
        """A new plan of these steps for inputs of ``shape``."""

    @abstractmethod
    def run(self, x: Array, nodes: list[Node]) -> Array:
        """What the steps make of images that :meth:`checked` returned, one call at a time."""

    def checked(self, x: Array) -> Array:
        """x, where its shape is that of images for this model; ValueError elsewhere."""
        if x.ndim != 4 or self.in_channels not in (None, x.shape[1]):
            raise ValueError(f"this model takes images (N, {self.in_channels or 'C'}, H, W), not {x.shape}")
        if 0 in x.shape[1:]:
            raise ValueError(f"there is no pixel in these images: {x.shape}")
        return x

    def __reduce__(self) -> NoReturn:
        """Refuse: pickle and deepcopy ask for this."""
        raise TypeError(
            "an engine is machine code and cannot be copied or pickled; copy the model and optimize() the copy"
        )
