"""WeightsError, the one exception type for files of weights, and two context managers that raise it for all others."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_LINE = 600  # characters


class WeightsError(ValueError):
    """A file of weights is missing, damaged, hostile or does not fit; the message says which, and what to do.

    Whatever text of a file stands in a message, no line of it is longer than 600 characters: the middle is left out.
    """

    def __init__(self, message: object = ""):
        super().__init__("\n".join(map(shortened, str(message).split("\n"))))


@contextmanager
def only_weights_errors() -> Iterator[None]:
    """Raise every exception of the block as a WeightsError, without a context of its own."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(damaged(error)) from error


@contextmanager
def error_context(what: object) -> Iterator[None]:
    """Raise every exception of the block as a WeightsError that begins with ``what`` (a path, a member, a step).

    A reader of untrusted bytes runs into struct.error, KeyError, UnicodeDecodeError, OverflowError, MemoryError and
    more; to the caller they all mean one thing, that the file is damaged.
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


def damaged(error: BaseException) -> str:
    return f"damaged ({type(error).__name__}: {printable(error)})"


def shortened(line: str) -> str:
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 203]} … {line[-200:]}"


def printable(text: object, width: int = 200) -> str:
    """Text from elsewhere on one line, cut, without control characters."""
    return "".join(c if c.isprintable() else "?" for c in str(text).strip()[:width])


def quoted(name: object, width: int = 100) -> str:
    """A name out of a file in quotes, escaped and cut, so that it can stand in a message of one line."""
    if isinstance(name, (str, bytes)):
        name = name[: width + 1]  # before repr(), which may take tenfold
    text = repr(name) if isinstance(name, (str, bytes, int)) else f"a {type(name).__name__}"
    return text if len(text) <= width else text[:width] + "…"


def checked_path(path: object) -> Path:
    """The path of a file of weights; what cannot be one is a WeightsError."""
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise WeightsError(f"a file of weights is named by its path, not by a {type(path).__name__}")
    if path == "":
        raise WeightsError("the path is empty; name a file of weights")
    if "\0" in os.fspath(path):
        raise WeightsError(f"no file can be called {quoted(os.fspath(path))}")
    return Path(path)
