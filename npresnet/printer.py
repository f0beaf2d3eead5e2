"""The one way by which text leaves for a terminal: a line stays a line, whatever names and messages it holds.

A file may hold any text for a class, a key or a member.  Control characters would move the cursor or colour what
follows, marks of direction would turn it round, line breaks would add lines of the file's own.
"""

import json
import sys
from contextlib import contextmanager


def escaped(text) -> str:
    r"""Text in which every character that is not printable is written as Python does: "\x1b", "\u202e", "\n"."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def say(*lines, to=None):
    """Print each of ``lines`` as one line, :func:`escaped`, to standard output or to the stream ``to``."""
    for line in lines:
        print(escaped(line), file=to or sys.stdout)


def note(*lines):
    """:func:`say` it on standard error: what a person wants to know and no program reads."""
    say(*lines, to=sys.stderr)


def say_json(value, indent: int | None = 2, to=None):
    """Print a value as JSON in ASCII, whose own escapes a program undoes; on one line where ``indent`` is None."""
    print(json.dumps(value, indent=indent), file=to or sys.stdout)


def say_report(report, as_json):
    """Print what has ``to_dict()`` for programs and ``str()`` for people."""
    if as_json:
        say_json(report.to_dict())
    else:
        say(*str(report).split("\n"))


def draw(table):
    """Print a table of rich's, whose cells are :func:`escaped`."""
    console().print(table)


@contextmanager
def progress_bar(*columns):
    """rich's progress bar on standard error; whenever a signal comes, the cursor is seen afterwards."""
    from rich.progress import Progress

    screen = console(stderr=True)
    try:
        with Progress(*columns, console=screen, transient=True) as bar:
            yield bar
    finally:
        screen.show_cursor(True)  # an interrupt in the bar's first moment leaves it hidden


def console(stderr=False):
    """A terminal as rich draws on it."""
    from rich.console import Console

    return Console(stderr=stderr)
