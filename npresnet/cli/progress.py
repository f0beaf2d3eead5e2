"""Progress on standard error: a bar on a terminal, elsewhere a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..printer import escaped, note, progress_bar

FIRST, LATER = 2.0, 1.5  # seconds until the first line, and how many times as long until each further one
Show = Callable[..., None]


@contextmanager
def progress(label: str, total: int | None = None, unit: str = "images") -> Iterator[Show]:
    """``with progress("reading", 100) as show: show(1)`` … ``show(100)``; ``unit="bytes"`` shows sizes and speed."""
    if not sys.stderr.isatty():
        yield lines(label, total, unit)
        return
    from rich import progress as bars
    from rich.markup import escape

    counter = (bars.DownloadColumn(), bars.TransferSpeedColumn()) if unit == "bytes" else (bars.MofNCompleteColumn(),)
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), *counter, bars.TimeRemainingColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task(escape(escaped(label)), total=total)
        yield lambda done, total=None: bar.update(task, completed=done, **({"total": total} if total else {}))


def lines(label: str, total: int | None, unit: str) -> Show:
    """A ``show(done, total)`` that prints a line after two seconds, and then ever more seldom."""
    began, due = time.monotonic(), FIRST

    def show(done: int, total: int | None = total) -> None:
        nonlocal due
        spent = time.monotonic() - began
        if spent >= due and done != total:
            note(f"{label}: {done:,}{f' of {total:,}' if total else ''} {unit}, {spent:.0f} s")
            due = LATER * spent

    return show
