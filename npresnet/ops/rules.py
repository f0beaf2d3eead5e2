"""Checks of an op's arguments before it computes: one rule for each name.

A name means the same in every op, so that the rules stand here and not between the equations.  Shapes, which depend
on each other, are checked where the equation uses them.  Layers check their numbers by the same rules when they are
made.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any, Concatenate

from ..backend import Array, Kernel
from ..backend.dispatch import Arguments, Result
from .check import LARGEST, array, class_numbers, flag, float_dtype, integer, number, padding, pair, shown


def one_of(value: Any, name: str, options: Sequence[str]) -> str:
    """``value`` if it is one of these texts."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be {', '.join(map(repr, options[:-1]))} or {options[-1]!r}, not {shown(value)}")
    return value


def fill(value: Any, name: str) -> float:
    """A :func:`number`, or ∞ or −∞."""
    return float(value) if isinstance(value, float) and abs(value) == inf else number(value, name)


def optional(rule: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """The rule, and None."""
    return lambda value, name: None if value is None else rule(value, name)


ONE, COUNT = partial(integer, least=1), partial(integer, least=0)
RULES: dict[str, Callable[[Any, str], Any]] = {
    "kernel": pair, "stride": pair, "output_size": pair, "dilation": pair, "padding": padding, "groups": ONE,
    "tile": ONE,
    "before": COUNT, "after": COUNT,
    "channels": COUNT, "filters": ONE, "inputs": COUNT, "outputs": ONE,                         # of a layer
    "ceil_mode": flag, "count_include_pad": flag, "nesterov": flag, "bias": flag, "unbiased": flag,
    "affine": flag, "track_running_stats": flag,
    "eps": partial(number, least=0), "negative_slope": partial(number, least=0),
    "momentum": number, "decay": number, "correction": number, "lr": number, "value": fill,
    "label_smoothing": partial(number, least=0, most=1), "labels": class_numbers,
    "ignore_index": optional(partial(integer, least=-LARGEST)),
    "reduction": partial(one_of, options=("mean", "sum", "none")), "dtype": float_dtype,
    **dict.fromkeys(("gamma", "beta", "weight", "b"), optional(array)),
    **dict.fromkeys(("x", "a", "s", "w", "z", "g", "mean", "var", "running_mean", "running_var",
                     "logits"), array),
}


class Op(Kernel[Arguments, Result]):
    """A :class:`Kernel` that checks its arguments first, whichever backend then runs it; used as a decorator."""

    def __call__(self, x: Array, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        given = (*map(checked, self.positional, (x, *args)), *args[len(self.positional) - 1:])
        run: Callable[..., Result] = super().__call__
        return run(*given, **{name: checked(name, value) for name, value in kwargs.items()})


def op(function: Callable[Concatenate[Array, Arguments], Result]) -> Op[Arguments, Result]:
    """Mark a function of arrays as an op, used as a decorator: of this package, or of one's own.

    Its arguments are checked by their names (see :data:`RULES`), its pullback refuses a dy of another shape or dtype,
    and takes ``skip``: a set of names of arguments whose gradients nobody wants, which it may leave out as None.
    Kernels may be registered for it (:meth:`Kernel.register`); without one it is computed as it is written.
    """
    return Op(function)


def checked(name: str, value: Any) -> Any:
    """The value after the check for its name, numbers as Python's; a name without a rule accepts any value.

    NumPy's scalars have a precision: a float64 scalar with float32 arrays would make the result float64.
    """
    rule = RULES.get(name)
    return rule(value, name) if rule else value


def arguments(**named: Any) -> None:
    """Check each value by the rule for its name."""
    for name, value in named.items():
        checked(name, value)
