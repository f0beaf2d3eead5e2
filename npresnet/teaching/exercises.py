"""What the notebooks share: source code, tables, progress, and exercises that check themselves."""

import inspect
from collections.abc import Iterable, Sequence
from html import escape
from textwrap import dedent
from typing import Any

import numpy as np

from ..backend import Array
from ..printer import say
from ..tables import html_table, text_lines

FONT: dict[str, Any] = {
    "style": "friendly",
    "prestyles": "font-family: monospace; font-size: 12px; line-height: 125%; white-space: pre; overflow-x: auto",
}


class Source:
    """Source code that a notebook shows in colour; ``str()`` is its text."""

    def __init__(self, text: str):
        self.text = text

    def __str__(self):
        return self.text

    def __repr__(self):
        return self.text

    def _repr_html_(self):
        try:
            from pygments import formatters, highlight, lexers  # comes with IPython
        except ImportError:
            return f"<pre>{escape(self.text)}</pre>"
        return highlight(self.text, lexers.PythonLexer(), formatters.HtmlFormatter(noclasses=True, **FONT))


def source(*things: Any, until: str | None = None) -> Source:
    """The source code of functions, methods and classes, up to the text ``until``."""
    text = "\n\n".join(dedent(inspect.getsource(thing)).rstrip() for thing in things)
    return Source(text[: text.index(until)].rstrip() if until else text)


class Table:
    """Rows of values under a header, shown as a table."""

    def __init__(self, header: Sequence[object], rows: Iterable[Sequence[object]]):
        self.lines = [[str(value) for value in line] for line in (header, *rows)]

    def __repr__(self):
        return "\n".join(text_lines(self.lines))

    def _repr_html_(self):
        return html_table(self.lines)


class Progress:
    """A line that a notebook shows while something long runs: at which of the ``steps`` it is.

    Without IPython nothing is shown.
    """

    def __init__(self, steps: int):
        self.steps, self.step = steps, 0
        try:
            from IPython.display import display
        except ImportError:
            self.line = None
        else:
            self.line = display(Line("…"), display_id=True)

    def __call__(self, what: str) -> None:
        """Step ``what`` begins."""
        self.step += 1
        self.show(f"{self.step} of {self.steps}: {what} …")

    def done(self) -> None:
        """All steps are done."""
        self.show(f"{self.step} of {self.steps} done")

    def show(self, text: str) -> None:
        if self.line is not None:
            self.line.update(Line(text))


class Line(str):
    """A text that a notebook shows without quotation marks."""

    __repr__ = str.__str__


class NotYet(AssertionError):
    """An exercise is not solved yet; a notebook shows one line that says what is missing, without a traceback."""

    def _render_traceback_(self):
        return [f"Not yet: {self}"]


def check(what: str, yours: Any, expected: Any, *, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    """Compare an exercise's answer with the right one: print that it is right, or raise :class:`NotYet`.

    The message says in which way the answer is off, where that can be told from the numbers (see :func:`diagnosis`).
    """
    if yours is None or yours is ...:
        raise NotYet(f"{what} is still to be written")
    try:
        yours, expected = np.asarray(yours), np.asarray(expected)
    except ValueError:
        raise NotYet(f"{what} is no array: its rows differ in length") from None
    if yours.dtype.kind not in "biufc":
        raise NotYet(f"{what} should be numbers; yours is of type {yours.dtype}")
    if yours.shape != expected.shape:
        transposed = " (transposed?)" if yours.ndim > 1 and yours.shape == expected.shape[::-1] else ""
        raise NotYet(f"{what} has the shape {yours.shape}; it should be {expected.shape}{transposed}")
    if not np.allclose(yours, expected, rtol=rtol, atol=atol):
        raise NotYet(f"{what} is {diagnosis(yours, expected, rtol, atol)}")
    say(f"Right: {what}.")


def diagnosis(yours: Array, expected: Array, rtol: float, atol: float) -> str:
    """How an answer of the right shape is off: by a factor, a constant, transposed, not finite, or in which places."""

    def same(answer: Any) -> bool:
        return bool(np.allclose(answer, expected, rtol=max(rtol, 1e-6), atol=atol))

    off = np.abs(yours.astype(np.float64) - expected)
    if not np.isfinite(off).all():
        return f"not finite in {(~np.isfinite(off)).sum()} of {off.size} places: off by up to nan"
    size = f"off by up to {float(off.max()):.2g}"
    if not yours.any():
        return f"{size}: yours is 0 everywhere"
    factor = float((yours * expected).sum() / (yours * yours).sum())
    if same(factor * yours):
        sign = abs(factor + 1) < 1e-6
        return f"{size}: the sign is reversed" if sign else f"{size}: right up to a factor; times {factor:.6g} it fits"
    if same(yours + (expected - yours).mean()):
        return f"{size}: right up to a constant; {(expected - yours).mean():+.6g} is missing"
    if yours.ndim > 1 and yours.shape == yours.shape[::-1] and same(yours.T):
        return f"{size}: it is the transpose of what it should be"
    wrong = ~np.isclose(yours, expected, rtol=rtol, atol=atol)
    place = tuple(map(int, np.unravel_index(off.argmax(), off.shape)))
    where = f" at {place}: {yours[place]:.6g}, not {expected[place]:.6g}" if off.ndim else ""
    return f"{size}{where}; {wrong.sum()} of {off.size} numbers are wrong"


def verdicts(what: str, yours: Any, expected: Sequence[bool], cases: Sequence[str]) -> None:
    """Check answers of yes or no, one for each of ``cases``; the first wrong one is named."""
    if yours is None or yours is ...:
        raise NotYet(f"{what} is still to be written")
    if len(yours) != len(expected):
        raise NotYet(f"{what}: {len(yours)} answers for {len(expected)} cases")
    for answer, right, case in zip(yours, expected, cases):
        if bool(answer) != right:
            raise NotYet(f"{what}: {case} should be {'accepted' if right else 'refused'}")
    say(f"Right: {what}.")
