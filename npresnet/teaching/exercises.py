"""What the notebooks share: the source of the code that runs, and exercises that check themselves."""

import inspect
from html import escape
from textwrap import dedent

import numpy as np

from ..printer import say

FONT = {"style": "friendly",
        "prestyles": "font-family: monospace; font-size: 12px; line-height: 125%; white-space: pre; overflow-x: auto"}


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


def source(*things, until=None) -> Source:
    """The code of functions, methods and classes as it stands in the package, or what of it comes before ``until``."""
    text = "\n\n".join(dedent(inspect.getsource(thing)).rstrip() for thing in things)
    return Source(text[:text.index(until)].rstrip() if until else text)


class Table:
    """Rows of values under a header, shown as a table."""

    def __init__(self, header, rows):
        self.lines = [[str(value) for value in line] for line in (header, *rows)]

    def __repr__(self):
        widths = [max(map(len, column)) for column in zip(*self.lines)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in self.lines)

    def _repr_html_(self):
        header, *body = [[escape(value) for value in line] for line in self.lines]
        lines = [f"<tr><td>{'</td><td>'.join(line)}</td></tr>" for line in body]
        return f"<table><tr><th>{'</th><th>'.join(header)}</th></tr>{''.join(lines)}</table>"


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
    say(f"Right: {what}.")


PHOTOS = ("astronaut", "brick", "chelsea", "coffee", "grass", "gravel", "rocket", "retina", "moon", "hubble_deep_field")


def photo_patches(count, size=16, seed=0, held_out=False):
    """A small task that needs no download: from which of ten photos is this patch?

    Square patches of scikit-image's photos at half resolution: of the upper three quarters, or, ``held_out``, of the
    lower quarter, which share no pixel.  The classes are :data:`PHOTOS`, in turn.

    Shapes: → pixels (count, size, size, 3) uint8, labels (count,) int64.
    """
    from skimage import data
    rng = np.random.default_rng((seed, held_out))
    labels = np.arange(count) % len(PHOTOS)
    images = [getattr(data, name)()[::2, ::2] for name in PHOTOS]
    images = [np.repeat(image[..., None], 3, 2) if image.ndim == 2 else image for image in images]
    pixels = np.empty((count, size, size, 3), np.uint8)
    for patch, label in zip(pixels, labels):
        image = images[label]
        border = len(image) * 3 // 4
        image = image[border:] if held_out else image[:border]
        top, left = (rng.integers(0, length - size + 1) for length in image.shape[:2])
        patch[:] = image[top:top + size, left:left + size]
    return pixels, labels
