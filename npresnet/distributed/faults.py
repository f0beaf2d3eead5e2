"""What ends one rank ends all: a rank that has failed would leave the others waiting for it for ever."""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .communicator import Communicator

BEAT, SILENCE = 1.0, 8.0  # seconds between two signs of life, and those after which a rank counts as lost
LOST = (
    "rank {} has given no sign of life for {:.0f} seconds: it is stopped, or its machine is lost; resume "
    "from the last checkpoint"
)
FIRST_WORD = 1.0  # seconds for which others let rank 0 speak, where all have failed alike, or those where it began


def print_error(error: BaseException) -> int:
    """Print an error and all that led to it; 1."""
    traceback.print_exception(error, file=sys.__stderr__)
    return 1


@contextmanager
def ends_together(ranks: Communicator, report: Callable[[BaseException], int] = print_error) -> Iterator[None]:
    """A block that all ranks leave together, or whose first error ends them all.

    ``report(error)`` prints what has failed and returns the exit status.  A rank that is stopped, or whose machine is
    gone, ends the others after :data:`SILENCE` seconds.
    """
    if ranks.size == 1:
        yield
        return
    try:
        with heard(ranks, report):
            yield
            ranks.barrier()  # until here, whoever is silent is lost
    except BaseException as error:
        time.sleep(2 * FIRST_WORD if getattr(error, "elsewhere", False) else FIRST_WORD * (ranks.rank > 0))
        ranks.abort(report(error))


@contextmanager
def heard(ranks: Communicator, report: Callable[[BaseException], int]) -> Iterator[None]:
    """In a thread, give the next rank a sign of life every :data:`BEAT`, and expect one of the rank before."""
    life, ended = ranks.signs_of_life(), threading.Event()
    before = (ranks.rank - 1) % ranks.size

    def watch() -> None:
        last = then = time.monotonic()
        while not ended.wait(BEAT):
            now = time.monotonic()
            if life() or now - then > 3 * BEAT:  # or the machine itself has slept
                last = now
            then = now
            if now - last > SILENCE and not ended.is_set():
                ranks.abort(report(ConnectionError(LOST.format(before, SILENCE))))

    thread = threading.Thread(target=watch, name="npresnet ranks", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(2 * BEAT)
