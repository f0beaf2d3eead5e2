"""Ranks with a GPU each, on pretended GPUs: the host's numbers, and every call of NCCL as it should be."""

from functools import partial
from unittest import mock

import numpy as np
import pytest

from npresnet import ops, to_device, use
from npresnet.data.gpu_batches import GpuBatches, batches_for
from npresnet.data.share import Share
from npresnet.distributed import simulate
from npresnet.distributed.nccl import NCCL
from npresnet.distributed.simulated import Meeting
from npresnet.training import Recipe, Trainer

from ..support import fake_cupy, fake_nccl
from ..support.drawn import drawn_source, small_model

RECIPE = Recipe(epochs=1, batch_size=14, lr=0.05, held_out=0.0, augment="none")


def over_gpus(size, function):
    """(the results of ``function(NCCL of each rank)``, each rank's calls of NCCL)"""
    with use("numpy"), fake_nccl.installed(Meeting(size)) as world:
        return simulate(size, lambda host: function(NCCL(host))), world.calls


def test_sums_and_rows_of_arrays_on_gpus():
    def run(ranks):
        cupy = fake_cupy.MODULE
        x = cupy.asarray(np.arange(6.0).reshape(2, 3) * (1 + ranks.rank))
        total, rows = ranks.all_reduce(x), ranks.gather(x.T)
        pending = ranks.start_all_reduce(x)
        pending.wait()
        assert isinstance(total, cupy.ndarray) and isinstance(rows, cupy.ndarray)
        return total.get(), rows.get(), x.get()

    found, calls = over_gpus(2, run)
    whole = np.arange(6.0).reshape(2, 3)
    for total, rows, summed in found:
        np.testing.assert_array_equal(total, 3 * whole)
        np.testing.assert_array_equal(summed, 3 * whole)
        np.testing.assert_array_equal(rows, [whole.T, 2 * whole.T])
    double = fake_nccl.NUMBERS["NCCL_FLOAT64"]
    same, own = False, True  # the current stream's number is 0 here
    wanted = [("allReduce", 6, double, same), ("allGather", 6, double, same), ("allReduce", 6, double, own)]
    assert list(calls.values()) == [wanted, wanted]


def test_a_started_sum_begins_after_the_kernels_before_and_is_waited_for_by_those_behind():
    def run(ranks):
        stream, current = ranks.stream, fake_cupy.MODULE.cuda.get_current_stream()
        before = len(current.met)
        pending = ranks.start_all_reduce(fake_cupy.MODULE.asarray(np.ones(3)))
        assert [word for word, _ in stream.met] == ["wait", "record"]
        pending.wait()
        return [word for word, _ in current.met[before:]]

    (words,), _ = over_gpus(1, run)
    assert words == ["record", "wait"]


def test_arrays_of_the_host_never_meet_nccl():
    found, calls = over_gpus(2, lambda ranks: ranks.all_reduce(np.ones(2)) + ranks.gather(np.ones(2)).sum())
    assert all(array.tolist() == [6, 6] for array in found)
    assert not any(calls.values())


def test_batch_norm_over_gpus_is_the_hosts():
    xs = np.random.default_rng(0).standard_normal((2, 3, 4, 2, 2))

    def run(ranks, door=np.asarray):
        y, pullback, _ = ops.sync_batch_norm_train(door(xs[ranks.rank]), eps=1e-5, ranks=ranks)
        return y, pullback(door(xs[ranks.rank] ** 2))[0]

    with use("numpy"):
        wanted = simulate(2, run)
    found, calls = over_gpus(2, partial(run, door=lambda x: fake_cupy.MODULE.asarray(x)))
    for arrays, others in zip(found, wanted):
        for array, other in zip(arrays, others):
            np.testing.assert_array_equal(array.get(), other)
    assert [name for name, *_ in calls[0]] == ["allGather", "allReduce"]


@pytest.mark.parametrize("sync", [True, False])
def test_training_over_gpus_is_the_hosts(sync):
    def run(ranks, device=None):
        model = small_model().astype(np.float64)
        model = to_device(model, device) if device else model
        recipe = Recipe(**{**vars(RECIPE), "sync_batch_norm": sync})
        trainer = Trainer(model, recipe, drawn_source(40), communicator=ranks)
        trainer.fit()
        return to_device(trainer.model, "cpu").state_dict()

    with use("numpy"):
        wanted = simulate(2, run)
    with mock.patch("npresnet.data.gpu_batches.LARGEST", 0):  # threads would capture graphs at once
        found, calls = over_gpus(2, partial(run, device="cuda"))
    for key, value in wanted[0].items():
        np.testing.assert_allclose(found[0][key], value, rtol=1e-12, atol=1e-14, err_msg=key)
        np.testing.assert_array_equal(found[0][key], found[1][key])
    assert calls[0] == calls[1] and all(kind == fake_nccl.NUMBERS["NCCL_FLOAT64"] for _, _, kind, _ in calls[0])
    assert sum(own for *_, own in calls[0]) == 3  # steps, each with one bucket of gradients on the sums' own stream


@pytest.mark.parametrize("parts", [1, 3])
def test_batches_made_on_a_gpu_have_the_hosts_shares(parts):
    with use("numpy"), fake_cupy.installed():
        model = small_model()
        for rank in range(3):
            how = {"augment": "crop-flip", "seed": 2, "share": Share(rank, 3, parts)}
            ours = list(batches_for(model, drawn_source(40), 14, **how).epoch(1))
            theirs = batches_for(to_device(model, "cuda"), drawn_source(40), 14, **how)
            assert isinstance(theirs, GpuBatches)
            for batch, other in zip(ours, theirs.epoch(1), strict=True):
                np.testing.assert_array_equal(other.x.get(), batch.x)
                np.testing.assert_array_equal(other.labels.get(), batch.labels)
