"""Our speed beside that of other libraries: the same network, weights, input and threads, in one process.

The outputs must agree before anything is timed.  Then the libraries take turns, each with one untimed call before its
timed ones, after a rest in which the threads of the one before fall asleep, so that drift hits all alike; medians are
compared.
"""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter, sleep

import numpy as np

from ..backend import Array
from ..models.classifier import Classifier
from ..nn import Module
from . import libraries
from .report import Entry, Report, Run, check
from .roofline import roofline

REST = 0.15  # seconds before a turn: the last one's threads spin on for a while, looking for work
LIBRARIES = ("torch", "onnxruntime", "openvino", "ncnn")


def bench(
    model: Classifier,
    batch: int = 8,
    mode: str = "infer",
    against: Sequence[str] = LIBRARIES[:2],
    size: tuple[int, int] = (224, 224),
    threads: int | None = None,
    rounds: int = 9,
    calls: int = 2,
    show: Callable[[int, int], None] | None = None,
) -> Report:
    """Time ``model`` against the libraries named: ``rounds`` turns of ``calls`` timed calls each.

    ``mode`` is "infer", or "train" for steps of SGD; ``threads`` None means all cores.
    ``show(n, of)`` is called after each of the turns.
    """
    check_names(against, mode)
    threads = threads or cores()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, model.spec.in_channels, *size)).astype(np.float32)
    labels = rng.integers(0, model.spec.num_classes, batch)
    ours = Inference(model, x, threads) if mode == "infer" else training(model, x, labels, threads)
    others, left_out = other_runs(model, x, labels, mode, against, threads)
    runs = {"npresnet": ours, **others}
    check(runs)
    entries = take_turns(runs, rounds, calls, show)
    roof = roofline(model, x.shape, mode, threads)
    return Report(model.spec.name, batch, mode, threads, machine(), entries, left_out, roof)


def take_turns(
    runs: Mapping[str, Run], rounds: int, calls: int, show: Callable[[int, int], None] | None = None
) -> list[Entry]:
    """The times of each run in so many turns, each after a rest."""
    entries = [Entry(name) for name in runs]
    for turn in range(rounds * len(entries)):
        entry = entries[turn % len(entries)]
        sleep(REST)
        entry.times += timed(runs[entry.name], calls)
        if show:
            show(turn + 1, rounds * len(entries))
    return entries


def check_names(against: Sequence[str], mode: str) -> None:
    """Raise ValueError unless these libraries and this mode exist."""
    unknown = [name for name in against if name not in LIBRARIES]
    if unknown or mode not in ("infer", "train"):
        raise ValueError(
            f"cannot compare with {', '.join(unknown)}; known: {', '.join(LIBRARIES)}"
            if unknown
            else f"mode {mode!r}: use 'infer' or 'train'"
        )


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Inference:
    """Our engine on the images x: each call computes their outputs."""

    def __init__(self, model: Module, x: Array, threads: int):
        from ..engine import optimize

        self.engine, self.x = optimize(model, threads=threads), x

    def __call__(self) -> Array:
        return self.engine(self.x)

    @property
    def weight_bytes(self) -> int:
        """Memory of the engine's transformed weights."""
        return getattr(self.engine, "weight_bytes", 0)


def training(model: Module, x: Array, labels: Array, threads: int) -> Run:
    """One step of SGD with momentum on a copy of the model; returns the loss."""
    from ..backend import use
    from ..ops import softmax_cross_entropy
    from ..training.optim import SGD
    from ..training.recorded import RecordedModel

    copy = model.map_arrays(np.array).train()
    sgd, recorded = SGD(copy, momentum=0.9, weight_decay=1e-4), RecordedModel(copy)

    def run():
        with use("numba", threads=threads):
            copy.zero_grad()
            logits, pullback = recorded.logits_vjp(x)
            loss, loss_pullback = softmax_cross_entropy(logits, labels)
            pullback(loss_pullback())
            sgd.step(1e-3)
        return np.array([loss])

    return run


def other_runs(
    model: Module, x: Array, labels: Array, mode: str, against: Sequence[str], threads: int
) -> tuple[dict[str, Run], dict[str, str]]:
    """name -> a run of the network in another library, and name -> why there is none."""
    makers: dict[str, tuple[str, Callable[[], Run]]] = {
        "onnxruntime": ("onnxruntime", lambda: libraries.onnxruntime_inference(model, x, threads)),
        "openvino": ("openvino", lambda: libraries.openvino_inference(model, x, threads)),
        "ncnn": ("ncnn", lambda: libraries.ncnn_inference(model, x, threads)),
    }
    for last, layout in ((False, "contiguous"), (True, "channels last")):
        makers[f"torch, {layout}"] = "torch", partial(in_torch, model, x, labels, mode, threads, last)
    wanted = {name: (library, make) for name, (library, make) in makers.items() if library in against}
    trains = {name: make for name, (library, make) in wanted.items() if mode == "infer" or library == "torch"}
    runs, left_out = libraries.import_or_leave_out(trains)
    return runs, {**{name: "it does not train" for name in wanted if name not in trains}, **left_out}


def in_torch(model: Module, x: Array, labels: Array, mode: str, threads: int, channels_last: bool) -> Run:
    """The network in PyTorch, in one of its two layouts."""
    if mode == "infer":
        return libraries.torch_inference(model, x, threads, channels_last)
    return libraries.torch_training(model, x, labels, threads, channels_last)


def timed(run: Run, calls: int) -> list[float]:
    """Milliseconds of each of ``calls`` calls, after one that is not counted."""
    run()
    times = []
    for _ in range(calls):
        start = perf_counter()
        run()
        times.append(1e3 * (perf_counter() - start))
    return times


def machine() -> str:
    """The processor's name, where the system says it."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
