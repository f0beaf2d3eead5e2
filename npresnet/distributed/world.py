"""Whether this process was launched together with others, and how it speaks to them."""

import os
import platform
from collections.abc import Mapping
from functools import cache

from .communicator import Alone, Communicator

# Where launchers say how many processes they have started: MPICH and its like, Open MPI, Slurm's srun, PMIx.
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
RANKS = ("PMIX_RANK",)  # PMIx says a process's number alone
APART = "NPRESNET_APART"  # set to 1 where every process does something of its own, as in a job of many small runs


@cache
def world() -> Communicator:
    """The communicator of all processes that were launched together; :class:`Alone` where this is one by itself.

    mpi4py is imported only where a launcher has set its variables.  Raises ImportError, with the cure, where it is
    missing then, or belongs to another MPI than the launcher.
    """
    if not launched(os.environ):
        return Alone()
    try:
        from .mpi import MPI

        found = MPI()
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py finds no MPI library
        raise ImportError(
            "a launcher has started several processes, which need MPI to train together: "
            f"pip install 'npresnet[mpi]' mpich ({error})"
        ) from None
    if found.size == 1 and launcher(os.environ) in RANKS:
        return Alone()
    if found.size == 1:
        raise ImportError(
            "mpi4py sees one process where a launcher has started several: mpiexec is of another MPI than the library "
            "that mpi4py has found; use the one beside it (pip install mpich brings both)"
        )
    return found


def neighbours(ranks: Communicator) -> list[int]:
    """The ranks on this machine."""
    names = ranks.all_gather(platform.node())
    return [rank for rank, name in enumerate(names) if name == names[ranks.rank]]


def threads_of_rank(ranks: Communicator) -> int:
    """How many threads this rank may use, where those that run on the same cores share them equally."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    here = (platform.node(), cores)
    return max(1, len(cores) // ranks.all_gather(here).count(here))


def launched(environment: Mapping[str, str]) -> bool:
    """Whether a launcher has started this process as one of several that work together."""
    if environment.get(APART, "0") not in ("", "0"):
        return False
    sizes = [environment[name] for name in SIZES if name in environment]
    return any(size.isdecimal() and int(size) > 1 for size in sizes) or (not sizes and launcher(environment) != "")


def launcher(environment: Mapping[str, str]) -> str:
    """The variable that a launcher has set; "" where none has."""
    return next((name for name in (*SIZES, *RANKS) if name in environment), "")
