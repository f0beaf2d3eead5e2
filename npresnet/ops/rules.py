"""What every op is held to before it computes: one rule for each static argument, by its name.

The same name means the same in every op, so that the rules stand here and not between the equations.  Shapes, which
depend on each other, are checked where the equation uses them; a window's numbers by :meth:`Window.of`, too, and a
layer's when it is made.
"""

from functools import partial

from ..backend import Array, Kernel
from ..backend.dispatch import Arguments, Result
from .check import array, class_numbers, flag, float_dtype, integer, number, padding, pair

ONE, COUNT = partial(integer, least=1), partial(integer, least=0)
RULES = {
    "kernel": pair, "stride": pair, "dilation": pair, "padding": padding, "groups": ONE, "tile": ONE,
    "before": COUNT, "after": COUNT,
    "channels": COUNT, "filters": ONE, "inputs": COUNT, "outputs": ONE,                         # of a layer
    "ceil_mode": flag, "count_include_pad": flag, "nesterov": flag, "bias": flag, "unbiased": flag,
    "eps": partial(number, least=0), "momentum": number, "decay": number, "correction": number, "lr": number,
    "label_smoothing": partial(number, least=0, most=1), "labels": class_numbers, "dtype": float_dtype,
    **dict.fromkeys(("x", "a", "s", "w", "z", "g", "gamma", "beta", "mean", "var", "running_mean", "running_var",
                     "logits"), array),
}


class Op(Kernel[Arguments, Result]):
    """A function of arrays whose static arguments are checked, whichever backend then runs it."""

    def __call__(self, x: Array, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        given = (*map(checked, self.positional, (x, *args)), *args[len(self.positional) - 1:])
        return super().__call__(*given, **{name: checked(name, value) for name, value in kwargs.items()})


op = Op


def checked(name, value):
    """The value as the rule for its name gives it, a number as Python's; values whose name has no rule pass.

    NumPy's own numbers have a precision: a float64 among float32 arrays would make the result float64.
    """
    rule = RULES.get(name)
    return rule(value, name) if rule else value


def arguments(**named):
    """Check each value by the rule for its name."""
    for name, value in named.items():
        checked(name, value)
