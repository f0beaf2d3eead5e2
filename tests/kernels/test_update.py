"""Law 5 for the updates of a training step."""

import pytest

pytest.importorskip("numba")

from npresnet import ops
from npresnet.kernels.cpu.update import momentum_step_numba, moving_statistics_numba, supports, supports_statistics

from .images import close, random


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("shape", [(5, 7), (70, 4, 9, 9)])
def test_momentum_step(shape, nesterov):
    w, g, v = (random(*shape, seed=seed) for seed in range(3))
    static = {"momentum": 0.9, "nesterov": nesterov, "decay": 1e-2}
    for before in (v, None):
        supported = supports(w, g, before, 0.1, **static)
        assert supported == (w.size > 4096 and before is v)
        step = momentum_step_numba if supported else ops.momentum_step
        found = step(w, g, before, 0.1, **static)
        for got, wanted in zip(found, ops.momentum_step.reference(w, g, before, 0.1, **static), strict=True):
            close(got, wanted, 3e-7)


@pytest.mark.parametrize("channels", [1, 7, 64])
@pytest.mark.parametrize("momentum, correction", [(0.1, 1.0), (1.0, 8 / 7), (0.0, 2.0)])
def test_moving_statistics(channels, momentum, correction):
    arrays, static = (
        [random(channels, seed=seed) for seed in range(4)],
        {"momentum": momentum, "correction": correction},
    )
    assert supports_statistics(*arrays, **static)
    wanted = ops.moving_statistics.reference(*arrays, **static)
    for got, due in zip(moving_statistics_numba(*arrays, **static), wanted, strict=True):
        close(got, due, 3e-7)
