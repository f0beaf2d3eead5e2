"""What the notebooks share: source code, tables, exercises that check themselves, and a small dataset."""

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


class NotYet(AssertionError):
    """An exercise is not solved yet; a notebook shows one line that says what is missing, without a traceback."""

    def _render_traceback_(self):
        return [f"Not yet: {self}"]


def check(what: str, yours: Any, expected: Any, *, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    """Compare an exercise's answer with the right one: print that it is right, or raise :class:`NotYet`."""
    if yours is None or yours is ...:
        raise NotYet(f"{what} is still to be written")
    yours, expected = np.asarray(yours), np.asarray(expected)
    if yours.shape != expected.shape:
        raise NotYet(f"{what} has the shape {yours.shape}; it should be {expected.shape}")
    if not np.allclose(yours, expected, rtol=rtol, atol=atol):
        worst = float(np.abs(yours - expected).max())
        raise NotYet(f"{what} is off by up to {worst:.2g}")
    say(f"Right: {what}.")


PHOTOS = ("astronaut", "brick", "chelsea", "coffee", "grass", "gravel", "rocket", "retina", "moon", "hubble_deep_field")


def photo_patches(count: int, size: int = 16, seed: int = 0, held_out: bool = False) -> tuple[Array, Array]:
    """A small dataset that needs no download: patches of ten photos, whose class is the photo.

    The patches are squares of scikit-image's photos at half resolution: of the upper three quarters, or with
    ``held_out`` of the lower quarter, so that the two share no pixel.  The classes are :data:`PHOTOS`, in turn.

    Shapes: → pixels (count, size, size, 3) uint8, labels (count,) int64.
    """
    from skimage import data

    rng = np.random.default_rng((seed, held_out))
    labels = np.arange(count) % len(PHOTOS)
    photos = [getattr(data, name)()[::2, ::2] for name in PHOTOS]
    photos = [np.repeat(photo[..., None], 3, 2) if photo.ndim == 2 else photo for photo in photos]
    pixels = np.empty((count, size, size, 3), np.uint8)
    for patch, label in zip(pixels, labels):
        photo = photos[label]
        border = len(photo) * 3 // 4
        photo = photo[border:] if held_out else photo[:border]
        top, left = (rng.integers(0, length - size + 1) for length in photo.shape[:2])
        patch[:] = photo[top : top + size, left : left + size]
    return pixels, labels
