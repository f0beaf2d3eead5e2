"""The model of scaling, and the report of steps over ranks."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from npresnet.bench.ranks import bench_ranks
from npresnet.bench.scaling import SIZES, Scaling
from npresnet.distributed import simulate
from npresnet.zoo import create_model

from ..distributed.launch import launch, needs_mpi

PLAIN = Scaling(compute=1.0, latency=1e-5, bandwidth=1e9, gradients=10**8, buckets=25)


def test_a_sum_that_lasts_less_than_the_pullback_costs_nothing():
    assert PLAIN.summed(2) == pytest.approx(2 * 25 * 1e-5 + 0.1)
    assert PLAIN.step(2) == 1.0 and PLAIN.efficiency(2) == 1.0


def test_what_is_not_hidden_is_added():
    slow = replace(PLAIN, bandwidth=1e8)
    assert slow.step(2) == pytest.approx(1 + 1.0 + 2 * 25 * 1e-5 - 0.5)
    assert replace(slow, hidden=0.0).step(2) == pytest.approx(2 + 2 * 25 * 1e-5)


def test_exchanges_of_batch_norms_are_never_hidden():
    norms = replace(PLAIN, exchanges=40, moments=24_000, sums=16_000)
    assert norms.exchanged(4) == pytest.approx(40 * 1e-5 * 2 + (3 * 24_000 + 1.5 * 16_000) / 1e9)
    assert norms.step(4) == pytest.approx(1 + norms.exchanged(4))


def test_more_ranks_are_never_more_efficient():
    for scaling in (PLAIN, replace(PLAIN, bandwidth=1e8, exchanges=40, moments=10**5, sums=10**5)):
        found = [scaling.efficiency(n) for n in SIZES]
        assert all(0 < later <= earlier for earlier, later in pairwise(found))


def test_the_report_of_simulated_ranks():
    model = create_model("resnet20", num_classes=10)
    one, other = simulate(2, lambda ranks: bench_ranks(model, 4, (32, 32), ranks, rounds=2))
    assert one.ranks == 2 and one.calls == other.calls > 40
    assert one.gradients == 4 * sum(parameter.value.size for parameter in model.parameters())
    assert one.gradients < one.sent < 1.1 * one.gradients
    assert one.alone_ms > 0 and one.step_ms > one.waited_ms
    assert list(one.efficiency) == list(SIZES) and "2 ranks" in str(one)
    json.dumps(one.to_dict())


@needs_mpi
@pytest.mark.slow
def test_bench_under_mpiexec():
    done = launch(2, "npresnet", *"bench --model resnet20 --batch 32 --mode train --rounds 3 --json".split())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ranks"] == 2
    refused = launch(2, "npresnet", "bench", "--model", "resnet20")
    assert refused.returncode != 0 and "--mode train" in refused.stderr
