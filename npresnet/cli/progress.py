"""A progress bar on standard error, where that is a terminal, and silence elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..printer import console, escaped


@contextmanager
def progress(label: str, total: int | None = None, unit: str = "images") -> Iterator[Callable[..., None]]:
    """``with progress("reading", 100) as show: show(1)`` … ``show(100)``; ``unit="bytes"`` shows sizes and speed."""
    if not sys.stderr.isatty():
        yield lambda done, total=None: None
        return
    from rich import progress as bars
    from rich.markup import escape

    counter = (bars.DownloadColumn(), bars.TransferSpeedColumn()) if unit == "bytes" else (bars.MofNCompleteColumn(),)
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), *counter, bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(escaped(label)), total=total)
        yield lambda done, total=None: bar.update(task, completed=done, **({"total": total} if total else {}))
