"""Whether this process was launched together with others, and how it speaks to them."""

import os
from collections.abc import Mapping
from functools import cache

from .communicator import Alone, Communicator

# Where launchers say how many processes they have started: MPICH and its like, Open MPI, Slurm's srun, PMIx.
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
RANKS = ("PMIX_RANK",)  # PMIx says a process's number alone


@cache
def world() -> Communicator:
    """The communicator of all processes that were launched together; :class:`Alone` where this is one by itself.

    mpi4py is imported only where a launcher has set its variables.  Raises ImportError, with the cure, where it is
    missing then.
    """
    if not launched(os.environ):
        return Alone()
    try:
        from .mpi import MPI

        return MPI()
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py finds no MPI library
        raise ImportError(
            f"{launcher(os.environ)} has started several processes, which need MPI to train together: "
            f"pip install 'npresnet[mpi]' mpich ({error})"
        ) from None


def launched(environment: Mapping[str, str]) -> bool:
    """Whether a launcher has started this process as one of several."""
    sizes = [environment[name] for name in SIZES if name in environment]
    return any(size.isdecimal() and int(size) > 1 for size in sizes) or (not sizes and launcher(environment) != "")


def launcher(environment: Mapping[str, str]) -> str:
    """The variable that a launcher has set; "" where none has."""
    return next((name for name in (*SIZES, *RANKS) if name in environment), "")
