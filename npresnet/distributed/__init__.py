"""Processes that train one network together, each on its share of every batch.

    mpiexec -n 8 npresnet train …

``world()`` is the communicator of the processes that were launched together, by mpiexec or srun: MPI for arrays in the
host's memory; a process by itself is alone.  ``simulate(n, function)`` runs ranks as threads, in one process.
"""

from .communicator import Alone, Communicator, Pending
from .faults import ends_together
from .nccl import on_gpus
from .simulated import simulate
from .world import threads_of_rank, world

__all__ = ["Alone", "Communicator", "Pending", "ends_together", "on_gpus", "simulate", "threads_of_rank", "world"]
