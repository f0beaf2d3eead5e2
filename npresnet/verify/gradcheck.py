"""Check gradients: of an op, of any function that returns (y, pullback), of a whole network.

    report = gradcheck(ops.conv2d, x, w, b)
    assert_gradients(model.train(), x, labels)

How: :mod:`npresnet.verify.adjoint` for a function, :mod:`npresnet.verify.network` for a network,
:mod:`npresnet.verify.derivative` for the steps and the kinks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

import numpy as np

from ..backend import Array, as_array
from ..nn import Module
from .adjoint import Adjoint, Row
from .network import NetCheck
from .report import Table, number

TOLERANCE = 1e-8


@dataclass(frozen=True)
class GradReport(Table):
    """Every check made; true where there were some, not only kinks, and none found a wrong gradient."""

    title: str
    rows: tuple[Row, ...]

    def cells(self) -> list[tuple[str, ...]]:
        header = ("layer", "kind", "argument", "analytic", "numeric", "error", "bound", "kinks", "verdict")
        return [header] + [
            (
                row.layer,
                row.kind,
                row.where,
                number(row.analytic),
                number(row.numeric),
                number(row.error),
                number(row.bound),
                str(row.kinks or ""),
                row.verdict,
            )
            for row in self.rows
        ]

    def conclusion(self) -> str:
        if not self.checked:
            return "nothing could be checked" + (": there are only kinks" if self.rows else "")
        if not self.wrong:
            return f"{len(self.rows)} checks: the gradients are right"
        culprits = dict.fromkeys(
            f"{row.layer} {row.kind} {row.where}{'' if row.finite else ' (not finite)'}".strip() for row in self.wrong
        )
        return f"{len(self.wrong)} of {len(self.rows)} checks found a wrong gradient: {'; '.join(culprits)}"


def gradcheck(
    fn: Callable[..., Any],
    *arrays: Array,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    layers: str = "*",
    show: Callable[[int], None] | None = None,
) -> GradReport:
    """Check the gradient of every argument of ``fn``; of every trainable parameter too, where it is a Module.

    ``fn`` is a Module, taken in the mode it is in, or a function that returns (y, pullback) as the ops do.  All is cast
    to float64 copies: the module, its running statistics and the arrays stay as they are.  Integer arrays are
    constants; beside a Module's input they are the labels of the loss that is then checked too.

    ``layers`` is a pattern for the names of a Module's layers, such as ``"layer1.*"``.  ``show(n)`` is called when n of
    them are checked.  An entry without a derivative,
    such as ReLU's at 0, is left out and counted.  A value or a slope that is not finite is wrong.

    Raises: TypeError where ``fn`` returns no pullback or does not stay in float64; ValueError where the pullback does
    not return one gradient for each floating-point argument, or for a ``tolerance`` outside [0, 1).

        >>> import numpy as np
        >>> report = gradcheck(lambda x: (x**2, lambda dy: 2 * x * dy), np.array([1.0, 2.0]))
        >>> bool(report), report.conclusion()
        (True, '2 checks: the gradients are right')
    """
    if not callable(fn) or isinstance(fn, type):
        raise TypeError(f"gradcheck takes a model or a function that returns (y, pullback), not {fn!r}")
    if not arrays:
        raise TypeError("gradcheck needs the arrays that the function is checked at")
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance bounds a relative error: at least 0 and below 1, not {tolerance!r}")
    if isinstance(fn, Module) and len(arrays) > 2:
        raise TypeError(f"beside a model gradcheck takes its input and the labels of a loss, not {len(arrays)} arrays")
    given = (np.asarray(as_array(a, f"array {i}")) for i, a in enumerate(arrays, 1))
    at: list[Array] = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in given]
    rng = np.random.default_rng(seed)
    if isinstance(fn, Module):
        title = getattr(getattr(fn, "spec", None), "name", type(fn).__name__)
        rows = NetCheck(fn, rng, tolerance, layers, show).run(*at)
    else:
        title = getattr(getattr(fn, "func", fn), "__name__", type(fn).__name__)  # a partial's function
        rows = Adjoint(fn, at, rng, tolerance, kind=title).rows(argument_names(fn, len(at)))
    return GradReport(f"gradients of {title}", tuple(rows))


def assert_gradients(fn: Callable[..., Any], *arrays: Array, **options: Any) -> None:
    """:func:`gradcheck` for tests: raises an AssertionError that shows what is wrong."""
    report = gradcheck(fn, *arrays, **options)
    assert report, str(GradReport(report.title, report.wrong))


def argument_names(fn: Callable[..., Any], count: int) -> list[str]:
    """The names of the first ``count`` positional arguments of ``fn``."""
    try:
        parameters = signature(fn).parameters.values()
    except (TypeError, ValueError):  # some built-in callables have no signature
        parameters = ()
    names = [p.name for p in parameters if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    return [*names, *(f"argument {i}" for i in range(len(names), count))][:count]
