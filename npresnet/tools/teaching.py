"""What the notebooks share: the source of the code that runs, and exercises that check themselves."""

import inspect
from html import escape
from textwrap import dedent

import numpy as np

FONT = {"style": "friendly", "prestyles": "font-family: monospace; font-size: 13px; line-height: 125%"}


class Source:
    """Source text that a notebook shows in colour; ``str()`` is the text."""

    def __init__(self, text):
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


def source(*things) -> Source:
    """The code of functions, methods and classes as it stands in the package."""
    return Source("\n\n".join(dedent(inspect.getsource(thing)).rstrip() for thing in things))


class NotYet(AssertionError):
    """An exercise is not solved; in a notebook one line says what is missing, without a traceback."""

    def _render_traceback_(self):
        return [f"Not yet: {self}"]


def check(what, yours, expected, *, rtol=1e-9, atol=1e-12) -> None:
    """Compare an exercise's answer with the right one: print that it is right, or raise :class:`NotYet`."""
    if yours is None or yours is ...:
        raise NotYet(f"{what} is still to be written")
    yours, expected = np.asarray(yours), np.asarray(expected)
    if yours.shape != expected.shape:
        raise NotYet(f"{what} has the shape {yours.shape}; it should be {expected.shape}")
    if not np.allclose(yours, expected, rtol=rtol, atol=atol):
        worst = float(np.abs(yours - expected).max())
        raise NotYet(f"{what} is off by up to {worst:.2g}")
    print(f"Right: {what}.")
