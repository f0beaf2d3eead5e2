"""Whether a process is one of several, and what is said where MPI is missing."""

import copy
import pickle

import numpy as np
import pytest

from npresnet.distributed import Alone, Communicator, simulate, threads_of_rank, world
from npresnet.distributed.world import launched

from .launch import launch, needs_mpi


@pytest.mark.parametrize(
    "variables, together",
    [
        ({}, False),
        ({"PMI_SIZE": "2", "PMI_RANK": "0"}, True),
        ({"PMI_SIZE": "1"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "4", "PMIX_RANK": "3"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "1", "PMIX_RANK": "0"}, False),
        ({"SLURM_STEP_NUM_TASKS": "8"}, True),
        ({"SLURM_NTASKS": "8"}, False),  # in a job of several tasks, but not launched by srun
        ({"PMIX_RANK": "0"}, True),
        ({"PMI_SIZE": "many"}, False),
        ({"PMI_SIZE": "2", "NPRESNET_APART": "1"}, False),
        ({"PMI_SIZE": "2", "NPRESNET_APART": "0"}, True),
    ],
)
def test_launchers_are_known_by_their_variables(variables, together):
    assert launched(variables) is together


def test_a_process_by_itself_is_alone():
    assert type(world()) is Alone and (world().rank, world().size) == (0, 1)


def test_alone_every_sum_is_its_only_summand():
    x = np.arange(3.0)
    total, rows = Alone().all_reduce(x), Alone().gather(x)
    assert total is not x and total.tolist() == [0, 1, 2] and rows.tolist() == [[0, 1, 2]]
    pending = Alone().start_all_reduce(x)
    pending.wait()
    assert pending.progress() and x.tolist() == [0, 1, 2]
    assert Alone().all_gather("a") == ["a"] and Alone().broadcast(lambda: 5) == 5


def test_simulated_ranks_exchange_arrays_and_objects():
    def run(ranks):
        x = np.full(2, 10.0**ranks.rank)
        total, rows = ranks.all_reduce(x), ranks.gather(x)
        ranks.start_all_reduce(x).wait()
        return (
            total.tolist(),
            rows[:, 0].tolist(),
            x.tolist(),
            ranks.all_gather(ranks.rank),
            ranks.broadcast(lambda: ranks.rank),
        )

    assert simulate(3, run) == [([111.0, 111.0], [1.0, 10.0, 100.0], [111.0, 111.0], [0, 1, 2], 0)] * 3


def test_an_error_of_one_simulated_rank_ends_all_and_is_raised():
    def run(ranks):
        if ranks.rank == 1:
            raise ZeroDivisionError("of rank 1")
        ranks.barrier()

    with pytest.raises(ZeroDivisionError, match="of rank 1"):
        simulate(3, run)


def test_a_communicator_is_never_copied_and_is_alone_in_a_file():
    def run(ranks):
        assert copy.deepcopy([ranks])[0] is ranks
        return pickle.loads(pickle.dumps(ranks))

    assert all(type(found) is Communicator and found.size == 1 for found in simulate(2, run))


def test_ranks_on_the_same_cores_share_them():
    assert len(set(simulate(2, threads_of_rank))) == 1
    assert simulate(64, threads_of_rank)[0] == max(1, threads_of_rank(Alone()) // 64)


def test_where_mpi4py_is_missing_the_cure_is_said(monkeypatch):
    import sys

    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    world.cache_clear()
    try:
        with pytest.raises(ImportError, match=r"pip install 'npresnet\[mpi\]' mpich"):
            world()
    finally:
        world.cache_clear()


@needs_mpi
def test_processes_exchange_arrays_and_objects():
    code = "tests.distributed.exchange"
    done = launch(3, code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["rank 0 of 3"]
