"""Commands that several processes run together, launched by mpiexec or srun."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from itertools import chain
from typing import Any

from ..printer import note, say
from . import EXPECTED, INTERRUPTED, one_line


@contextmanager
def over_ranks() -> Iterator[Any]:
    """The communicator of the processes that run this command together; alone it is as if it were not there.

    Rank 0 alone prints; an error of any rank is printed, with its number, and ends all of them.
    """
    from ..distributed import ends_together, threads_of_rank, world

    ranks = world()
    if ranks.size == 1:
        yield ranks
        return

    def report(error: BaseException) -> int:
        print_error(error, ranks.rank)
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else 2 if isinstance(error, EXPECTED) else 1

    with ends_together(ranks, report), ExitStack() as stack:
        threads = threads_of_rank(ranks)
        stack.enter_context(limited(threads))
        if ranks.rank:
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        note(f"{ranks.size} ranks work together, of {threads} thread{'s' * (threads > 1)} each")
        yield ranks


class Kept(list[Any]):
    """The results of a rank, for rank 0."""

    add = list[Any].append


@contextmanager
def ordered(ranks: Any, results: Any) -> Iterator[Any]:
    """What takes the results of this rank; those of all ranks go to ``results``, in the ranks' order, at the end.

    Alone it is ``results`` itself, which writes them as they come.
    """
    if ranks.size == 1:
        with results as written:
            yield written
        return
    kept = Kept()
    yield kept
    parts = ranks.all_gather(kept)
    if ranks.rank == 0:
        with results as written:
            for result in chain.from_iterable(parts):  # none where they are not wanted
                written.add(result)


def print_error(error: BaseException, rank: int) -> None:
    """An error of this rank in one line; one that nobody expects with all that led to it."""
    if isinstance(error, KeyboardInterrupt):
        text = "interrupted"
    elif isinstance(error, EXPECTED):
        text = one_line(error)
    else:
        traceback.print_exception(error, file=sys.__stderr__)
        text = type(error).__name__
    say(f"npresnet: rank {rank}: {text}", to=sys.__stderr__)


def limited(threads: int) -> AbstractContextManager[None]:
    """A context in which kernels use so many threads, unless the environment says how many."""
    from ..backend import default_backend, use

    if "NUMBA_NUM_THREADS" in os.environ or default_backend() != "numba":
        return nullcontext()
    return use("numba", threads)
