"""Modules: arrays with names, and functions that know their own pullback."""

from collections.abc import Mapping
from copy import deepcopy
from typing import NamedTuple

import numpy as np

from ..backend import array_namespace, floating
from . import repr


class Parameter:
    """A learned array and the gradient accumulated for it (None until there is one)."""

    __slots__ = ("grad", "trainable", "value")

    def __init__(self, value, trainable=True):
        self.value, self.grad, self.trainable = value, None, trainable

    def accumulate(self, grad):
        self.grad = grad if self.grad is None else self.grad + grad


class Buffer:
    """A stored array that is not learned, such as a running mean."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


def needs_module(thing, who):
    """What is asked of a model cannot be asked of anything else."""
    if not isinstance(thing, Module):
        name = f"the class {thing.__name__}" if isinstance(thing, type) else type(thing).__name__
        raise TypeError(f"{who} takes a model, not {name}")


class Mismatch(NamedTuple):
    """The keys that ``load_state_dict(strict=False)`` passed over."""

    missing: list[str]
    unexpected: list[str]


class Module:
    """A differentiable function of one array.

    ``y = module(x)`` computes the value and keeps nothing.
    ``y, pullback = module.vjp(x)`` also returns the map dy ↦ dx, which adds each trainable
    parameter's gradient to ``Parameter.grad`` on the way and runs once.  With
    ``input_grad=False`` dx is not computed, and None stands in its place.
    """

    training = False
    after_scores = False        # whether, at the end of a model, it only makes probabilities of the scores
    keeps = None                # "x" or "y", where a layer's pullback holds its input or its output

    def __call__(self, x):
        return self.vjp(x)[0]

    def vjp(self, x, input_grad=True):
        raise NotImplementedError(f"{type(self).__name__} needs a vjp")

    def logits(self, x):
        """The scores: the value, or what a softmax at the end would be given."""
        return self(x)

    def logits_vjp(self, x, input_grad=True):
        """The scores and their pullback."""
        return self.vjp(x, input_grad)

    # -- what a layer costs: x and y may be zeros that take no memory, since only their shapes are looked at ----------

    def output_shape(self, x) -> tuple[int, ...]:
        """The shape of the output for x; a layer whose ops are expensive knows it without running them."""
        return self(x).shape

    def macs(self, y) -> int:
        """Multiply-accumulates for the output y: a filter's size each time it is applied."""
        return 0

    def window_size(self) -> tuple[int, ...]:
        """(kh, kw) of what slides over an image; () where nothing does."""
        return ()

    def bytes_kept(self, x, y) -> int:
        """Bytes of what the pullback holds besides what ``keeps`` names, for images in float32."""
        return 0

    def __repr__(self):
        return repr.line(self)

    def _repr_html_(self):
        """A tree that notebooks show."""
        return repr.tree_html(self)

    # -- structure -------------------------------------------------------------------------------

    def children(self) -> dict:
        return {name: part for name, part in vars(self).items() if isinstance(part, Module)}

    def named_modules(self, prefix=""):
        """(dotted name, module) for this module, named "", and everything inside it."""
        yield prefix, self
        for name, child in self.children().items():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self):
        return (module for _, module in self.named_modules())

    def named_arrays(self, prefix=""):
        """(state-dict key, box) for every Parameter and Buffer, in PyTorch's order of keys."""
        boxes = vars(self).items()
        yield from ((prefix + name, box) for name, box in boxes if isinstance(box, Parameter))
        yield from ((prefix + name, box) for name, box in boxes if isinstance(box, Buffer))
        for name, child in self.children().items():
            yield from child.named_arrays(f"{prefix}{name}.")

    def named_parameters(self):
        """(key, box) for every Parameter, once: what stands in several places has the key of the first."""
        found = {}
        for name, box in self.named_arrays():
            if isinstance(box, Parameter):
                found.setdefault(id(box), (name, box))
        return found.values()

    def parameters(self) -> list:
        return [box for _, box in self.named_parameters()]

    @property
    def trainable(self) -> bool:
        """Whether anything inside wants a gradient."""
        own = (box.trainable for box in vars(self).values() if isinstance(box, Parameter))
        return any(own) or any(child.trainable for child in self.children().values())

    # -- state -----------------------------------------------------------------------------------

    def train(self, mode=True):
        if not isinstance(mode, bool):
            raise ValueError(f"train() takes True or False, not {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self):
        return self.train(False)

    def zero_grad(self):
        for box in self.parameters():
            box.grad = None

    def mapped(self, f):
        """A new module with ``f(array)`` in the place of every array; gradients are left behind."""
        arrays = {id(box.value): box.value for _, box in self.named_arrays()}
        gradients = {id(box.grad): None for box in self.parameters()}
        twin = deepcopy(self, gradients | arrays)      # deepcopy takes what it finds there instead of copying
        for box in {id(box): box for _, box in twin.named_arrays()}.values():
            box.value = f(box.value)
        return twin

    def astype(self, dtype):
        """A new module whose floating-point arrays are ``dtype``: float16, 32 or 64."""
        if dtype is None or not floating(np.dtype(dtype)):
            raise TypeError(f"a model's arrays are floating-point numbers, not {dtype!r}")
        return self.mapped(lambda array: array.astype(dtype) if floating(array.dtype) else array)

    def state_dict(self) -> dict:
        """Every array by its key: torchvision's keys, in torchvision's order."""
        return {name: box.value for name, box in self.named_arrays()}

    def load_state_dict(self, state, strict=True) -> Mismatch:
        """Copy the arrays of ``state`` in, cast to this module's dtypes; all of them, or none on an error.

        Every missing, unexpected and misshapen key is named in one ValueError; ``strict=False``
        passes over the first two kinds.  ``num_batches_tracked`` may always be missing.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict takes a mapping key → array, not {type(state).__name__}")
        boxes = dict(self.named_arrays())
        given = {key: as_array(state[key], key) for key in boxes if key in state}
        missing = [key for key in boxes if key not in state and not key.endswith("num_batches_tracked")]
        unexpected = [key for key in state if key not in boxes]
        problems = [f"missing     {key}" for key in missing if strict]
        problems += [f"unexpected  {key}" for key in unexpected if strict]
        problems += [f"shape       {key}: the model has {boxes[key].value.shape}, the state {np.shape(array)}"
                     for key, array in given.items() if np.shape(array) != boxes[key].value.shape]
        problems += [f"dtype       {key}: {array.dtype} holds no real numbers"
                     for key, array in given.items() if not real(array.dtype)]
        if problems:
            raise ValueError(f"{len(problems)} key(s) do not fit:\n  " + "\n  ".join(problems))
        olds = {key: boxes[key].value for key in given}
        fresh = {key: array_namespace(old).array(given[key], old.dtype) for key, old in olds.items()}
        for key, array in fresh.items():
            boxes[key].value = array
        return Mismatch(missing, unexpected)


def as_array(value, key):
    """NumPy's and CuPy's arrays as they are; lists and other libraries' tensors as NumPy's."""
    if hasattr(getattr(value, "dtype", None), "kind"):
        return value
    try:
        return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
    except (RuntimeError, TypeError, ValueError):
        raise TypeError(f"{key} is a {type(value).__name__} that NumPy cannot read; detach it, move it to the CPU and "
                        "convert it to float32") from None


def real(dtype) -> bool:
    """Whether such arrays hold real numbers."""
    return floating(dtype) or dtype.kind in "biu"


def recorded(op_pullback, input_grad, **parameters):
    """dy ↦ dx for a layer: adds the gradient of each trainable parameter on the way; runs once.

    ``parameters`` are the layer's boxes under the op's argument names, in the op's order; what the op answers for
    arguments after them follows dx.
    """
    wanted = {name for name, box in parameters.items() if box is not None and box.trainable}
    skip = (parameters.keys() - wanted) | (set() if input_grad else {"x"})

    def pullback(dy):
        dx, *grads = op_pullback(dy, skip=skip)
        for (name, box), grad in zip(parameters.items(), grads):
            if name in wanted:
                box.accumulate(grad)
        others = grads[len(parameters):]
        return (dx, *others) if others else dx

    return once(pullback)


def once(pullback):
    """The same map, which lets go of all it saved when it runs and says so when it is called again."""
    held = [pullback]

    def run(dy):
        if not held:
            raise RuntimeError("a pullback runs once, then frees what it saved; call vjp again for another")
        return held.pop()(dy)

    return run
