"""Checks that a pullback is the transpose of the derivative.

For random u and v, ⟨u, J v⟩ comes from finite differences along v in one argument, and ⟨Jᵀu, v⟩ from the pullback:

    error = |⟨u, J v⟩ − ⟨Jᵀu, v⟩| / (‖u‖ ‖J v‖)

One pair touches every entry of J for the price of five evaluations, whatever J's size.  u is partly random and partly
along J v, so that a wrong factor shows at its full size.  Where J is small its columns are checked one by one as well.
Entries without a derivative are left out; so that nothing hides among them, a function must first give the same result
twice, and most of its entries must have one.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np

from ..backend import Array, Pullback
from .derivative import Slope, derivative

SMALL = 2**14  # J is checked column by column where it has at most so many entries
SUSPECTS = 16  # columns checked, where a larger J is wrong, to name an entry
SAME = 1e-12  # how far two calls may differ, in units of the largest value
MOST = 0.5  # the part of the entries that may have no derivative


@dataclass(frozen=True)
class Row:
    """One comparison of a pullback with the derivative."""

    layer: str  # its dotted name in the model, or ""
    kind: str  # the layer's class, or the function's name
    argument: str  # the argument that was moved
    index: tuple[int, ...] | None  # its entry; None along a direction
    analytic: float | None  # from the pullback
    numeric: float | None  # the same number by finite differences, or by the theorem
    error: float | None  # how far they are apart, relative to their size
    bound: float  # how large the error may be
    kinks: int  # entries left out because they have no derivative
    verdict: str  # "ok", "WRONG", or "kink" where nothing has a derivative

    @property
    def where(self) -> str:
        return self.argument + ("" if self.index is None else f"[{', '.join(map(str, self.index))}]")

    @property
    def finite(self) -> bool:
        return all(value is None or isfinite(value) for value in (self.analytic, self.numeric))


@dataclass(frozen=True)
class Adjoint:
    """The checks of one function (*arrays) ↦ (y, pullback) of float64 arrays; arrays of integers are constants."""

    fn: Callable[..., Any]
    arrays: Sequence[Array]
    rng: np.random.Generator
    tolerance: float
    layer: str = ""
    kind: str = ""

    def rows(self, names: Sequence[str]) -> list[Row]:
        """A row for each argument; where J is small or wrong, one more for its worst entry and its first kink."""
        change = self.change()
        if not change <= SAME:
            return [self.row("(two calls give different results)", None, None, None, change, 0, "WRONG")]
        rows = []
        for i, (name, a) in enumerate(zip(names, self.arrays)):
            if a.dtype.kind == "f" and a.size:
                row, columns = self.direction(name, [i])
                if row.verdict == "ok" and row.kinks > MOST * columns:
                    row = replace(row, argument=f"{name} (most entries have no derivative)", verdict="WRONG")
                small = 0 < a.size * columns <= SMALL
                rows.append(row)
                if small or row.verdict == "WRONG":
                    entries = range(a.size) if small else self.rng.integers(0, a.size, SUSPECTS)
                    rows += self.entries(name, i, entries)
        return rows

    def direction(self, name: str, moving: Collection[int], **steps: Any) -> tuple[Row, int]:
        """⟨u, J v⟩ = ⟨Jᵀu, v⟩ for a random v of the arguments whose numbers are ``moving``; and the size of y."""
        v = {i: size(self.arrays[i]) * self.rng.standard_normal(self.arrays[i].shape) for i in moving}
        y, pullback = self.evaluated()
        slope = derivative(lambda t: self.value_at(v, t), y, **steps)
        if slope.kinks.all():
            return self.row(name, None, None, None, None, int(slope.kinks.sum()), "kink"), y.size
        u = unit(self.rng.standard_normal(y.shape) * ~slope.kinks) + 2 * unit(slope.value)  # never 0
        gradients = pullback(u)
        analytic = float(sum(np.vdot(gradients[i], v[i]) for i in moving))
        return self.compare(name, None, analytic, float(np.vdot(u, slope.value)), u, slope), y.size

    def change(self) -> float:
        """By how much the value or a gradient differs between two calls, in units of its largest."""
        y, pullback = self.evaluated()
        u = self.rng.standard_normal(y.shape)
        first = [y, *pullback(u)]
        again, pullback = self.evaluated()
        if y.shape != again.shape:
            return np.inf
        return max(difference(a, b) for a, b in zip(first, [again, *pullback(u)]) if a is not None)

    def entries(self, name: str, i: int, entries: Iterable[int]) -> list[Row]:
        """⟨u, J e⟩ = (Jᵀu)[e] for one entry e of argument i after the other: the worst, and the first kink."""
        a, (y, pullback) = self.arrays[i], self.evaluated()
        u = self.rng.standard_normal(y.shape)
        gradient, rows, kinks = pullback(u)[i], [], []
        for entry in entries:
            index = tuple(map(int, np.unravel_index(entry, a.shape)))
            e = np.zeros(a.shape)
            e[index] = size(a)
            slope = derivative(lambda t, e=e: self.value_at({i: e}, t), y)
            if slope.kinks.any():
                kinks.append(index)
            else:
                analytic, numeric = float(gradient[index]) * size(a), float(np.vdot(u, slope.value))
                rows.append(self.compare(name, index, analytic, numeric, u, slope))
        worst = sorted(rows, key=lambda row: -np.nan_to_num(row.error, nan=np.inf))[:1]
        return worst + [self.row(name, index, None, None, None, len(kinks), "kink") for index in kinks[:1]]

    def compare(
        self, name: str, index: tuple[int, ...] | None, analytic: float, numeric: float, u: Array, slope: Slope
    ) -> Row:
        """The row of one comparison.  What rounding makes of a derivative near 0 counts as 0."""
        floor = slope.noise * slope.value.size**0.5 / self.tolerance
        scale = np.linalg.norm(u) * max(np.linalg.norm(slope.value), floor)
        gap = abs(analytic - numeric)
        error = float(gap / scale) if scale else float(np.inf if gap else 0)
        verdict = "ok" if error <= self.tolerance else "WRONG"
        return self.row(name, index, analytic, numeric, error, int(slope.kinks.sum()), verdict)

    def row(
        self,
        name: str,
        index: tuple[int, ...] | None,
        analytic: float | None,
        numeric: float | None,
        error: float | None,
        kinks: int,
        verdict: str,
    ) -> Row:
        return Row(self.layer, self.kind, name, index, analytic, numeric, error, self.tolerance, kinks, verdict)

    def value_at(self, v: dict[int, Array], t: float) -> Array:
        """y with t v added to the arguments that v names."""
        return self.value(self.fn(*(a + t * v[i] if i in v else a for i, a in enumerate(self.arrays)))[0])

    def evaluated(self) -> tuple[Array, Pullback]:
        """y, and u ↦ Jᵀu for each argument, None for constants."""
        result = self.fn(*self.arrays)
        if not (isinstance(result, tuple | list) and len(result) > 1 and callable(result[1])):
            raise TypeError(f"{self.kind} must return (y, pullback): its value and a function from dy to the gradients")
        y, pullback = result[:2]
        return self.value(y), lambda u: self.gradients(pullback(u))

    def value(self, y: Any) -> Array:
        """y as an array, which must be float64."""
        y = np.asarray(y)
        if y.dtype != np.float64:
            raise TypeError(f"a gradient check needs float64 throughout, but {self.kind} returns {y.dtype}")
        return y

    def gradients(self, returned: Any) -> list[Array | None]:
        """A gradient for each argument out of what a pullback returned: None for arrays of integers."""
        returned = list(returned) if isinstance(returned, tuple | list) else [returned]
        while returned and returned[-1] is None:  # an optional argument that was not given
            returned.pop()
        shapes = [a.shape for a in self.arrays if a.dtype.kind == "f"]
        found = [None if da is None else np.shape(da) for da in returned]
        if found != shapes:
            raise ValueError(
                f"{self.kind}'s pullback must return one gradient for each floating-point argument, of "
                f"shapes {shapes}, not {found}; bind constants with functools.partial or a lambda"
            )
        results = iter(returned)
        return [next(results) if a.dtype.kind == "f" else None for a in self.arrays]


def difference(a: Any, b: Any) -> float:
    """The largest |a − b| in units of the largest |a|, where both are finite; ∞ where one is and the other is not."""
    a, b = np.asarray(a), np.asarray(b)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return np.inf
    gap, scale = (np.abs(np.where(np.isfinite(a), c, 0)).max(initial=0) for c in (a - b, a))
    return float(gap / (scale or 1))


def size(a: Array) -> float:
    """The root mean square of an array, 1 where it is all zero: the unit of its steps."""
    return float(np.sqrt((a**2).mean())) or 1.0 if a.size else 1.0


def unit(a: Array) -> Array:
    """The array at length 1; zeros stay."""
    return a / (np.linalg.norm(a) or 1)
