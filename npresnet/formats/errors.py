"""The one exception type of this package, and the one place where every other kind of failure becomes it."""

import os
from contextlib import contextmanager
from pathlib import Path

LINE = 600  # characters


class WeightsError(ValueError):
    """A file of weights is missing, damaged, hostile or does not fit; the message says which, and what to do.

    Whatever a file brings into a message, no line of it is longer than 600 characters: the middle is left out.
    """

    def __init__(self, message=""):
        super().__init__("\n".join(map(shortened, str(message).split("\n"))))


@contextmanager
def guarding():
    """Let nothing but a WeightsError leave the block, as describing() does, where the error is named further out."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(damaged(error)) from error


def damaged(error):
    return f"damaged ({type(error).__name__}: {printable(error)})"


@contextmanager
def describing(what):
    """Let nothing but a WeightsError leave the block, its message led by ``what`` (a path, a member, a step).

    A reader of untrusted bytes meets struct.error, KeyError, UnicodeDecodeError, OverflowError, MemoryError and
    more on its way; to the caller they all mean one thing, that the file is damaged.
    """
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{what}: {error}") from error.__cause__
    except FileNotFoundError as error:
        raise WeightsError(f"{what}: no such file") from error
    except OSError as error:
        raise WeightsError(f"{what}: {error.strerror or error}") from error
    except Exception as error:
        raise WeightsError(f"{what}: {damaged(error)}") from error


def shortened(line):
    return line if len(line) <= LINE else f"{line[:LINE - 203]} … {line[-200:]}"


def printable(text, width=200):
    """Text from elsewhere on one line, cut, without control characters."""
    return "".join(c if c.isprintable() else "?" for c in str(text).strip()[:width])


def shown(name, width=100):
    """A name out of a file, escaped and cut, so that it can stand in a message of one line."""
    if isinstance(name, (str, bytes)):
        name = name[:width + 1]                                  # before repr(), which may take tenfold
    text = repr(name) if isinstance(name, (str, bytes, int)) else f"a {type(name).__name__}"
    return text if len(text) <= width else text[:width] + "…"


def checked_path(path) -> Path:
    """The path of a file of weights; what cannot be one is a WeightsError."""
    if not isinstance(path, str) and not (isinstance(path, os.PathLike) and isinstance(os.fspath(path), str)):
        raise WeightsError(f"a file of weights is named by its path, not by a {type(path).__name__}")
    if path == "":
        raise WeightsError("the path is empty; name a file of weights")
    if "\0" in os.fspath(path):
        raise WeightsError(f"no file can be called {shown(os.fspath(path))}")
    return Path(path)
