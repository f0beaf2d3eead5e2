"""A training step over ranks: its time, what of it is a wait for other ranks, what is sent, how it will scale."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import ceil, log2
from statistics import median
from typing import Any

import numpy as np

from ..data import Preprocessing
from ..data.dataset import Dataset
from ..distributed import Alone, Communicator
from ..distributed.measured import Measured
from ..models.classifier import Classifier
from ..nn import BatchNorm2d
from ..tables import text_lines
from ..training import Recipe, Trainer
from ..training.gradient_sums import GradientSums
from .scaling import SIZES, Scaling

WARM = 3  # steps before those that count: the second is recorded, the third runs the recording
PROBE = 2**22  # bytes of the array whose sum tells the bandwidth


@dataclass
class RankReport:
    """The medians of rank 0, in milliseconds and bytes for each step."""

    model: str
    batch: int  # images of all ranks
    ranks: int
    alone_ms: float  # a rank's own images, all ranks at work, none speaking
    step_ms: float
    waited_ms: float  # for other ranks: what is not hidden behind kernels
    exposed_ms: float  # of it, for the gradients' sums
    sums_ms: float  # these sums by themselves
    calls: int  # of the communicator
    sent: float  # bytes
    gradients: int  # bytes
    latency_us: float
    bandwidth_mb: float  # a second
    predicted_ms: float  # by the model of scaling
    efficiency: dict[int, float]  # by that model, by the number of ranks

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and dicts."""
        return asdict(self)

    def __str__(self) -> str:
        hidden = 1 - self.exposed_ms / self.sums_ms if self.sums_ms else 0.0
        rows = [
            ("a rank's own images, alone", f"{self.alone_ms:.1f} ms"),
            ("a step of all ranks", f"{self.step_ms:.1f} ms, {1e3 * self.batch / self.step_ms:.0f} images/s"),
            ("of it, waiting for other ranks", f"{self.waited_ms:.1f} ms in {self.calls} calls"),
            ("the gradients' sums by themselves", f"{self.sums_ms:.1f} ms, of which {100 * hidden:.0f} % are hidden"),
            ("sent by a rank", f"{self.sent / 1e6:.2f} MB, for gradients of {self.gradients / 1e6:.2f} MB"),
            ("latency, bandwidth", f"{self.latency_us:.0f} µs, {self.bandwidth_mb:.0f} MB/s"),
            ("the model of scaling says", f"{self.predicted_ms:.1f} ms"),
        ]
        table = [("ranks", *map(str, self.efficiency)), ("efficiency", *(f"{e:.2f}" for e in self.efficiency.values()))]
        head = f"{self.model}, batch {self.batch}, train, {self.ranks} ranks"
        last = "with as many images on each rank, by that model:"
        return "\n".join([head, *text_lines(rows), last, *text_lines(table, right=range(1, len(table[0])))])


def bench_ranks(
    model: Classifier, batch: int, size: tuple[int, int], ranks: Communicator, rounds: int = 9
) -> RankReport:
    """Time steps of SGD on batches that ``ranks`` share; each rank returns what it has seen."""
    measured, exposed = Measured(ranks), []
    trainer = trainer_of(model, batch, size, measured)
    gradients = trainer.update.gradients  # pyright: ignore[reportAttributeAccessIssue]
    finish = gradients.finish

    def timed_finish() -> None:
        before = measured.waited
        finish()
        exposed.append(measured.waited - before)

    gradients.finish = timed_finish
    steps = times_of(trainer, measured.reset, rounds)
    waited, sent, calls = measured.waited / rounds, measured.sent / rounds, measured.calls // rounds
    own = trainer_of(model, max(1, batch // ranks.size), size, Alone())
    scaling = scaling_of(trainer, gradients, median(times_of(own, ranks.barrier, rounds)), ranks)
    sums = fastest(ranks, lambda: [ranks.start_all_reduce(bucket.flat).wait() for bucket in gradients.buckets])
    return RankReport(
        model=model.spec.name,
        batch=batch,
        ranks=ranks.size,
        alone_ms=1e3 * scaling.compute,
        step_ms=1e3 * median(steps),
        waited_ms=1e3 * waited,
        exposed_ms=1e3 * median(exposed[WARM:]),
        sums_ms=1e3 * sums,
        calls=calls,
        sent=sent,
        gradients=gradients.bytes,
        latency_us=1e6 * scaling.latency,
        bandwidth_mb=scaling.bandwidth / 1e6,
        predicted_ms=1e3 * scaling.step(ranks.size),
        efficiency={n: round(scaling.efficiency(n), 3) for n in SIZES},
    )


def scaling_of(trainer: Trainer, gradients: GradientSums, compute: float, ranks: Communicator) -> Scaling:
    """The model of scaling, its latency and bandwidth those of a number's sum and of a large array's."""
    norms = [module for module in trainer.model.modules() if isinstance(module, BatchNorm2d) and module.weight]
    channels = [norm.weight.value.size for norm in norms if norm.weight]
    probe = np.zeros(PROBE // 4, np.float32)
    latency = fastest(ranks, lambda: ranks.all_reduce(np.zeros(1))) / ceil(log2(ranks.size))
    large = fastest(ranks, lambda: ranks.start_all_reduce(probe).wait())
    return Scaling(
        compute=compute,
        latency=latency,
        bandwidth=2 * (ranks.size - 1) / ranks.size * PROBE / max(large - 2 * latency, 1e-9),
        gradients=gradients.bytes,
        buckets=len(gradients.buckets),
        exchanges=2 * len(channels),
        moments=3 * 8 * sum(channels),
        sums=2 * 8 * sum(channels),
    )


def trainer_of(model: Classifier, batch: int, size: tuple[int, int], ranks: Communicator) -> Trainer:
    """A run on random images of which each epoch is one batch."""
    rng, copy = np.random.default_rng(0), model.map_arrays(np.array)
    classes = model.spec.num_classes
    pixels = rng.integers(0, 256, (batch, *size, 3)).astype(np.uint8)
    dataset = Dataset(np.arange(batch) % classes, [str(k) for k in range(classes)], pixels=pixels)
    copy.preprocessing = Preprocessing(size[0], size[0])
    trainer = Trainer(copy, Recipe(epochs=1, batch_size=batch, lr=1e-3, augment="none"), dataset, communicator=ranks)
    trainer.model.train()
    return trainer


def times_of(trainer: Trainer, begin: Callable[[], Any], rounds: int) -> list[float]:
    """Seconds of so many steps on one batch; ``begin()`` is called before those that count."""
    (batch,) = trainer.batches.epoch(0)
    for _ in range(WARM):
        trainer.update(batch)
    begin()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        trainer.update(batch)
        times.append(time.perf_counter() - start)
    return times


def fastest(ranks: Communicator, work: Callable[[], Any], turns: int = 20) -> float:
    """The fewest seconds that ``work()`` takes of rank 0, which all ranks believe."""
    times = []
    for _ in range(turns):
        ranks.barrier()
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return ranks.broadcast(lambda: min(times))
