"""Modules: differentiable functions with named arrays."""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from ..backend import Array, Pullback, array_namespace, as_array, floating
from . import repr

Model = TypeVar("Model", bound="Module")


class Parameter:
    """A learned array and the gradient accumulated for it (None until there is one)."""

    __slots__ = ("grad", "trainable", "value")

    def __init__(self, value: Array, trainable: bool = True):
        self.value: Array = value
        self.grad: Array | None = None
        self.trainable: bool = trainable

    def add(self, grad: Array) -> None:
        """Add to the gradient."""
        self.grad = grad if self.grad is None else self.grad + grad

    def accumulate(self, grad: Array) -> None:
        """:meth:`add` in a pullback; see :func:`gradients_reported_to`."""
        self.add(grad)
        if (report := _report.get()) is not None:
            report(self)


_report: ContextVar[Callable[[Parameter], None] | None] = ContextVar("report", default=None)


@contextmanager
def gradients_reported_to(report: Callable[[Parameter], None]) -> Iterator[None]:
    """Inside this context ``report`` is called with each parameter that a pullback has given a gradient."""
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


class Buffer:
    """A stored array that is not learned, such as a running mean."""

    __slots__ = ("value",)

    def __init__(self, value: Array):
        self.value: Array = value


def needs_module(thing: Any, who: str) -> None:
    """Raise TypeError where ``thing`` is no Module; ``who`` begins the message."""
    if not isinstance(thing, Module):
        name = f"the class {thing.__name__}" if isinstance(thing, type) else type(thing).__name__
        raise TypeError(f"{who} takes a model, not {name}")


class Mismatch(NamedTuple):
    """The keys that ``load_state_dict(strict=False)`` ignored."""

    missing: list[str]
    unexpected: list[str]


class Module:
    """A differentiable function of one array.

    ``y = module(x)`` computes the value and keeps nothing.
    ``y, pullback = module.vjp(x)`` also returns the map dy ↦ dx, which adds each trainable
    parameter's gradient to ``Parameter.grad`` on the way and runs once.  With
    ``input_grad=False`` dx is not computed and is None.
    """

    training: bool = False
    recorded: bool = False  # a class outside this package: its vjp computes by ops alone (see training/recorded.py)
    after_scores = False  # whether this layer, last in a model, turns scores into probabilities

    def __call__(self, x: Array) -> Array:
        return self.vjp(x)[0]

    def vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        raise NotImplementedError(f"{type(self).__name__} needs a vjp")

    def logits(self, x: Array) -> Array:
        """The scores: the output, or the input of a softmax at the end."""
        return self(x)

    def logits_vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        """The scores and their pullback."""
        return self.vjp(x, input_grad)

    # -- what a layer costs: x and y may be zeros that take no memory, since only their shapes are read ---------------

    def output_shape(self, x: Array) -> tuple[int, ...]:
        """The shape of the output for x; a layer whose ops are expensive computes it without running them."""
        return self(x).shape

    def macs(self, y: Array) -> int:
        """Multiply-accumulates for the output y: a filter's size each time it is applied."""
        return 0

    def window_size(self) -> tuple[int, ...]:
        """(kh, kw) of the layer's window; () if it has none."""
        return ()

    def keeps(self, x: Array, y: Array) -> Array | None:
        """Which of its input x and output y the pullback holds, if any."""
        return None

    def bytes_kept(self, x: Array, y: Array) -> int:
        """Bytes of what the pullback holds besides ``keeps(x, y)``, for images in float32."""
        return 0

    def __repr__(self) -> str:
        return repr.line(self)

    def _repr_html_(self) -> str:
        """A tree that notebooks show."""
        return repr.tree_html(self)

    # -- structure -------------------------------------------------------------------------------

    def children(self) -> dict[str, "Module"]:
        """The modules directly inside, by the names of their attributes."""
        return {name: part for name, part in vars(self).items() if isinstance(part, Module)}

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """(dotted name, module) for this module, named "", and everything inside it."""
        yield prefix, self
        for name, child in self.children().items():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator["Module"]:
        """This module and everything inside it."""
        return (module for _, module in self.named_modules())

    def named_arrays(self, prefix: str = "") -> Iterator[tuple[str, Parameter | Buffer]]:
        """(state-dict key, parameter or buffer) for each of them, in PyTorch's order of keys."""
        held = vars(self).items()
        yield from ((prefix + name, array) for name, array in held if isinstance(array, Parameter))
        yield from ((prefix + name, array) for name, array in held if isinstance(array, Buffer))
        for name, child in self.children().items():
            yield from child.named_arrays(f"{prefix}{name}.")

    def named_parameters(self) -> Collection[tuple[str, Parameter]]:
        """(key, parameter) for every one, once: a parameter used in several places has the key of the first."""
        found: dict[int, tuple[str, Parameter]] = {}
        for name, array in self.named_arrays():
            if isinstance(array, Parameter):
                found.setdefault(id(array), (name, array))
        return found.values()

    def parameters(self) -> list[Parameter]:
        """Every parameter, once."""
        return [parameter for _, parameter in self.named_parameters()]

    @property
    def trainable(self) -> bool:
        """Whether any parameter inside is trainable."""
        own = (part.trainable for part in vars(self).values() if isinstance(part, Parameter))
        return any(own) or any(child.trainable for child in self.children().values())

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the first parameter; float32 where there is none."""
        first = self._first_array()
        return np.dtype(np.float32) if first is None else first.dtype

    @property
    def namespace(self) -> ModuleType:
        """The module, numpy or cupy, whose arrays the parameters are: where they live."""
        return array_namespace(self._first_array())

    def _first_array(self) -> Array | None:
        return next((array.value for _, array in self.named_arrays() if isinstance(array, Parameter)), None)

    # -- state -----------------------------------------------------------------------------------

    def train(self: Model, mode: bool = True) -> Model:
        """Put this module and everything inside it into training mode, or with False into eval mode."""
        if not isinstance(mode, bool):
            raise ValueError(f"train() takes True or False, not {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Model) -> Model:
        """Put this module and everything inside it into eval mode."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Set every gradient to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def map_arrays(self: Model, f: Callable[[Array], Array]) -> Model:
        """A new module with ``f(array)`` in the place of every array; gradients are left behind."""
        arrays = {id(array.value): array.value for _, array in self.named_arrays()}
        gradients = {id(parameter.grad): None for parameter in self.parameters()}
        new = deepcopy(self, gradients | arrays)  # deepcopy takes what it finds there instead of copying
        for array in {id(array): array for _, array in new.named_arrays()}.values():
            array.value = f(array.value)
        return new

    def mapped(self: Model, f: Callable[[Array], Array]) -> Model:
        """The old name of :meth:`map_arrays`."""
        warnings.warn("Module.mapped() is now map_arrays(), or copy()", DeprecationWarning, stacklevel=2)
        return self.map_arrays(f)

    def copy(self: Model) -> Model:
        """A new module that shares this one's arrays.

        Assigning values, or changing mode or structure, affects only one of the two: no code of this package writes
        into an array.
        """
        return self.map_arrays(lambda array: array)

    def astype(self: Model, dtype: DTypeLike) -> Model:
        """A new module whose floating-point arrays are ``dtype``: float16, 32 or 64."""
        if dtype is None or not floating(np.dtype(dtype)):
            raise TypeError(f"a model's arrays are floating-point numbers, not {dtype!r}")
        return self.map_arrays(lambda array: array.astype(dtype) if floating(array.dtype) else array)

    def state_dict(self) -> dict[str, Array]:
        """Every array by its key: torchvision's keys, in torchvision's order."""
        return {name: array.value for name, array in self.named_arrays()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Mismatch:
        """Copy the arrays of ``state`` in, cast to this module's dtypes; all of them, or none on an error.

        Every missing, unexpected and misshapen key is named in one ValueError; ``strict=False``
        ignores the first two kinds.  ``num_batches_tracked`` may always be missing.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict takes a mapping key → array, not {type(state).__name__}")
        ours = dict(self.named_arrays())
        given = {key: read_array(state[key], key) for key in ours if key in state}
        missing = [key for key in ours if key not in state and not key.endswith("num_batches_tracked")]
        unexpected = [key for key in state if key not in ours]
        problems = [f"missing     {key}" for key in missing if strict]
        problems += [f"unexpected  {key}" for key in unexpected if strict]
        problems += [
            f"shape       {key}: the model has {ours[key].value.shape}, the state {np.shape(array)}"
            for key, array in given.items()
            if np.shape(array) != ours[key].value.shape
        ]
        problems += [
            f"dtype       {key}: {array.dtype} holds no real numbers"
            for key, array in given.items()
            if not real(array.dtype)
        ]
        if problems:
            raise ValueError(f"{len(problems)} key(s) do not fit:\n  " + "\n  ".join(problems))
        olds = {key: ours[key].value for key in given}
        fresh = {key: array_namespace(old).array(given[key], old.dtype) for key, old in olds.items()}
        for key, array in fresh.items():
            ours[key].value = array
        return Mismatch(missing, unexpected)


def read_array(value: Any, key: str) -> Array:
    """NumPy's and CuPy's arrays as they are; lists and other libraries' tensors, wherever they live, as NumPy's."""
    value = as_array(value.detach().cpu() if hasattr(value, "detach") else value, key)
    try:
        return value if hasattr(value, "dtype") else np.asarray(value)
    except ValueError:
        raise TypeError(
            f"{key} is a {type(value).__name__} that NumPy cannot read: its rows differ in length"
        ) from None


def real(dtype: np.dtype) -> bool:
    """Whether such arrays hold real numbers."""
    return floating(dtype) or dtype.kind in "biu"


def layer_pullback(op_pullback: Pullback, input_grad: bool, **parameters: Parameter | None) -> Pullback:
    """dy ↦ dx for a layer: adds the gradient of each trainable parameter on the way; runs once.

    ``parameters`` are the layer's, under the op's argument names and in the op's order; gradients of the op's further
    arguments follow dx.
    """
    wanted = {name: p for name, p in parameters.items() if p is not None and p.trainable}
    skip = (parameters.keys() - wanted.keys()) | (set() if input_grad else {"x"})

    def pullback(dy: Array) -> Any:
        dx, *grads = op_pullback(dy, skip=skip)
        for name, grad in zip(parameters, grads):
            if name in wanted:
                wanted[name].accumulate(grad)
        others = grads[len(parameters) :]
        return (dx, *others) if others else dx

    return once(pullback)


def once(pullback: Pullback) -> Pullback:
    """The same pullback, which may run once: it frees what it saved; a second call raises RuntimeError."""
    held = [pullback]

    def run(dy: Array) -> Any:
        if not held:
            raise RuntimeError("a pullback runs once, then frees what it saved; call vjp again for another")
        return held.pop()(dy)

    return run
