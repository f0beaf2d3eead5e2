"""Our speed beside that of other libraries: the same network, weights, input and threads, in one process.

The outputs must agree before anything is timed.  Then the contestants take turns, each with one untimed call before its
timed ones, after a rest in which the threads of the one before fall asleep, so that drift hits all alike; medians are
compared.
"""

import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from time import perf_counter, sleep

import numpy as np

from . import libraries

AGREE = 1e-3                    # of the largest output: the rivals' rounding, not a difference of networks
REST = 0.15                     # seconds before a turn: the last one's threads spin on for a while, looking for work
RIVALS = ("torch", "onnxruntime", "openvino", "ncnn")


@dataclass
class Entry:
    """One contestant's times in milliseconds."""

    name: str
    times: list = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(self.times)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles."""
        low, _, high = quantiles(self.times, n=4)
        return low, high


@dataclass
class Report:
    """What was measured, on what, and who was left out and why."""

    model: str
    batch: int
    mode: str
    threads: int
    machine: str
    entries: list
    left_out: dict

    def ratio(self, entry) -> float:
        """A rival's time in ours: above 1 where we are faster."""
        return entry.median / self.entries[0].median

    def to_dict(self) -> dict:
        rows = [{"name": e.name, "median_ms": round(e.median, 3), "quartiles_ms": [round(q, 3) for q in e.spread],
                 "best_ms": round(min(e.times), 3), "ratio": round(self.ratio(e), 3)} for e in self.entries]
        return {**asdict(self), "entries": rows}

    def __str__(self):
        head = f"{self.model}, batch {self.batch}, {self.mode}, {self.threads} thread(s); {self.machine}"
        lines = [head, f"{'':24}{'median':>10}{'quartiles':>20}{'best':>10}{'ratio':>8}"]
        for e in self.entries:
            low, high = e.spread
            lines.append(f"{e.name:24}{e.median:>7.2f} ms{low:>11.2f}-{high:<8.2f}{min(e.times):>7.2f} ms"
                         f"{self.ratio(e):>8.2f}")
        return "\n".join(lines + [f"left out: {name} ({why})" for name, why in self.left_out.items()])


def bench(model, batch=8, mode="infer", against=RIVALS[:2], size=224, threads=None, rounds=9, calls=2) -> Report:
    """Time ``model`` against the libraries named: ``rounds`` turns of ``calls`` timed calls each."""
    check_names(against, mode)
    threads = threads or cores()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, model.spec.in_channels, size, size)).astype(np.float32)
    labels = rng.integers(0, model.spec.num_classes, batch)
    ours = inference(model, x, threads) if mode == "infer" else training(model, x, labels, threads)
    others, left_out = contestants(model, x, labels, mode, against, threads)
    runs = {"npresnet": ours, **others}
    check(runs)
    entries = [Entry(name) for name in runs]
    for _ in range(rounds):
        for entry in entries:
            sleep(REST)
            entry.times += timed(runs[entry.name], calls)
    return Report(model.spec.name, batch, mode, threads, machine(), entries, left_out)


def check_names(against, mode):
    """Raise unless these libraries and this mode exist."""
    unknown = [name for name in against if name not in RIVALS]
    if unknown or mode not in ("infer", "train"):
        raise ValueError(f"cannot compare with {', '.join(unknown)}; known: {', '.join(RIVALS)}" if unknown else
                         f"mode {mode!r}: use 'infer' or 'train'")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def inference(model, x, threads) -> Callable:
    from ..engine import optimize
    engine = optimize(model, threads=threads)

    def run():
        return engine(x)

    run.engine = engine
    return run


def training(model, x, labels, threads) -> Callable:
    """One step of SGD with momentum on a copy of the model; returns the loss."""
    from ..ops import softmax_cross_entropy
    from ..training.optim import SGD
    twin = model.map_arrays(np.array).train()
    sgd = SGD(twin, momentum=0.9, weight_decay=1e-4)

    def run():
        twin.zero_grad()
        logits, pullback = twin.vjp(x, input_grad=False)
        loss, loss_pullback = softmax_cross_entropy(logits, labels)
        pullback(loss_pullback())
        sgd.step(1e-3)
        return np.array([loss])

    return run


def contestants(model, x, labels, mode, against, threads):
    """name -> a call that runs it, and name -> why it is not there."""
    makers = {"onnxruntime": ("onnxruntime", lambda: libraries.onnxruntime_inference(model, x, threads)),
              "openvino": ("openvino", lambda: libraries.openvino_inference(model, x, threads)),
              "ncnn": ("ncnn", lambda: libraries.ncnn_inference(model, x, threads))}
    for last, layout in ((False, "contiguous"), (True, "channels last")):
        def make(last=last):
            return libraries.torch_inference(model, x, threads, last) if mode == "infer" else \
                libraries.torch_training(model, x, labels, threads, last)
        makers[f"torch, {layout}"] = ("torch", make)
    runs, left_out = {}, {}
    for name, (library, make) in makers.items():
        if library not in against:
            continue
        if mode == "train" and library != "torch":
            left_out[name] = "it does not train"
            continue
        try:
            runs[name] = make()
        except ImportError as error:
            left_out[name] = f"not available: {error}"
    return runs, left_out


def check(runs):
    """Raise unless every contestant's first answer is ours."""
    wanted = runs["npresnet"]()
    for name, run in runs.items():
        error = abs(run() - wanted).max() / abs(wanted).max() if name != "npresnet" else 0
        if not error < AGREE:
            raise ValueError(f"{name} gives other outputs (by {error:.1e} of the largest): nothing was timed")


def timed(run, calls) -> list:
    """Milliseconds of each of ``calls`` calls, after one that is not counted."""
    run()
    times = []
    for _ in range(calls):
        start = perf_counter()
        run()
        times.append(1e3 * (perf_counter() - start))
    return times


def machine() -> str:
    """The processor by name, where the system tells it."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
