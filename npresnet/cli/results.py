"""Where results go, one for each image, as they come: text, JSON lines, CSV, or one JSON object at the end."""

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TextIO

from ..printer import escaped, note, say_json
from .output import add_force_argument, check_output
from .progress import progress

SUFFIXES = {".txt": "text", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
Result = dict[str, Any]


HELP = {
    "json": "print one JSON object, at the end, instead of text",
    "jsonl": "print a JSON object for each image, as it comes",
    "csv": "print comma-separated values for each image, as it comes",
}


def add_format_arguments(parser: Any, formats: Sequence[str] = tuple(HELP)) -> None:
    """--json, --jsonl and --csv, of which one may be given."""
    group = parser.add_mutually_exclusive_group()
    for name in formats:
        group.add_argument(f"--{name}", action="store_true", help=HELP[name])


def add_out_argument(parser: Any, what: str) -> None:
    """--out and --force; ``what`` says what is written to the file."""
    parser.add_argument("--out", metavar="FILE", help=what)
    add_force_argument(parser)


def kind_of(args: argparse.Namespace, default: str = "text") -> str:
    """The format that a person asked for; ValueError where an option and the name of the file contradict."""
    asked = next((kind for kind in ("json", "jsonl", "csv") if getattr(args, kind, False)), None)
    if not args.out:
        return asked or default
    suffix = os.path.splitext(args.out)[1].lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{args.out}: results are written to a file called {', '.join(SUFFIXES)}")
    if asked not in (None, SUFFIXES[suffix]):
        raise ValueError(f"--{asked} and --out {args.out} are two formats: choose one")
    return SUFFIXES[suffix]


class Results:
    """Takes the result of one image after the other.

    kind     text, json, jsonl or csv
    stream   where they are written
    lines    the lines of text for a result
    rows     its rows of CSV
    columns  the header above them, or what makes it of the first result
    finish   makes one JSON object of them all
    count    how many results there are so far
    """

    def __init__(
        self,
        kind: str,
        stream: TextIO,
        lines: Callable[[Result], Iterable[str]],
        columns: Sequence[Any] | Callable[[Result], Sequence[Any]],
        rows: Callable[[Result], Iterable[Sequence[Any]]],
        finish: Callable[[list[Result]], Result] | None = None,
    ):
        self.kind, self.stream, self.lines, self.rows, self.finish = kind, stream, lines, rows, finish
        self.columns: Any = columns
        self.count = 0
        self.kept: list[Result] = []

    def add(self, result: Result) -> None:
        """Write a result, whole lines at once; a single JSON object waits for :meth:`end`."""
        self.count += 1
        if self.kind == "json":
            self.kept.append(result)
        elif self.kind == "jsonl":
            self.write(json.dumps(result) + "\n")
        elif self.kind == "csv":
            if self.columns:
                header: Any = self.columns(result) if callable(self.columns) else self.columns
                self.write(comma_separated([header]))
                self.columns = None
            self.write(comma_separated(self.rows(result)))
        else:
            self.write("".join(escaped(line) + "\n" for line in self.lines(result)))

    def write(self, text: str) -> None:
        """Write whole lines, now."""
        self.stream.write(text)
        self.stream.flush()

    def end(self, **more: Any) -> None:
        """Write the JSON object, if that is wanted."""
        if self.kind == "json" and self.finish and (whole := self.finish(self.kept)):
            say_json({**whole, **more}, to=self.stream)


def comma_separated(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV; text in them is :func:`escaped`, so that each is one line."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [escaped(cell) if isinstance(cell, str) else cell for cell in row] for row in rows
    )
    return text.getvalue()


@contextmanager
def results(args: argparse.Namespace, *how: Any, default: str = "text") -> Iterator[Results]:
    """A :class:`Results` on standard output or in --out, ended also where a person interrupts."""
    kind, interrupt = kind_of(args, default), None
    with opened(args.out, kind) if args.out else nullcontext(sys.stdout) as stream:
        written = Results(kind, stream, *how)
        try:
            yield written
        except KeyboardInterrupt as error:
            interrupt = error
        written.end(**{"interrupted": True} if interrupt else {})
    if args.out:
        note(f"results of {written.count:,} image{'s' * (written.count != 1)} written to {args.out}")
    if interrupt:
        raise interrupt


@contextmanager
def opened(path: str, kind: str) -> Iterator[TextIO]:
    """A file for results: lines are in it as soon as they are written, a single object replaces it as a whole."""
    if kind != "json":
        with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            yield file
        return
    from ..formats.atomic import atomic_write

    text = io.StringIO()
    try:
        yield text
    finally:
        with atomic_write(path) as file:
            file.write(text.getvalue().encode())


def check_results(args: argparse.Namespace, *inputs: str | None) -> None:
    """Raise, before any work, where --out cannot or must not be written."""
    kind_of(args)
    if args.out:
        check_output(args.out, *inputs, force=args.force)


@contextmanager
def shown(args: argparse.Namespace, label: str, total: int | None) -> Iterator[Callable[..., None]]:
    """:func:`progress`, unless the results themselves show it, on a terminal, as they come."""
    if not getattr(args, "json", False) and not args.out and sys.stdout.isatty():
        yield lambda done: None
        return
    with progress(label, total) as show:
        yield show
