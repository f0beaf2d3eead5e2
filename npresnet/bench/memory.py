"""Our peak memory beside that of other libraries: each one in a process of its own.

    peak above = highest resident memory during three calls - resident memory before the first

Before the first call the library is imported, the network is in memory with its weights, and another network like it
has already run and been freed, so that code and the library's own caches are loaded.  Memory is read from /proc, which
only Linux has.
"""

import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..printer import say_json
from ..tables import text_lines
from ..zoo import create_model
from . import cpu, libraries
from .report import Run, left_out_lines


@dataclass
class Peaks:
    """(peak, part of it that is transformed weights) of each library in bytes, ours first."""

    model: str
    batch: int
    mode: str
    entries: dict[str, tuple[int, int]]
    left_out: dict[str, str]

    def ratio(self, name: str) -> float:
        """A library's peak divided by ours without our transformed weights: above 1 where we need less."""
        peak, weights = self.entries["npresnet"]
        return self.entries[name][0] / (peak - weights)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts, ready for json.dumps."""
        return {**asdict(self), "ratios": {name: round(self.ratio(name), 3) for name in self.entries}}

    def __str__(self) -> str:
        rows = [("", "peak", "of it transformed weights", "ratio without")]
        rows += [
            (name, f"{peak / 2**20:.1f} MiB", f"{weights / 2**20:.1f} MiB", f"{self.ratio(name):.2f}")
            for name, (peak, weights) in self.entries.items()
        ]
        head = f"{self.model}, batch {self.batch}, {self.mode}: memory above import and weights"
        return "\n".join([head, *text_lines(rows, right=range(1, 4)), *left_out_lines(self.left_out)])


def peaks(name: str, batch: int, mode: str, against: Sequence[str], size: tuple[int, int], threads: int) -> Peaks:
    """Measure the network ``name`` here and the libraries named."""
    cpu.check_names(against, mode)
    entries, left_out = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for library in ("npresnet", *against):
            job = {
                "library": library,
                "model": name,
                "batch": batch,
                "mode": mode,
                "size": size,
                "threads": threads,
                "folder": folder,
            }
            try:
                entries[library] = _measured(job)
            except (ImportError, OSError) as error:
                left_out[library] = str(error)
    if "npresnet" not in entries:
        raise ValueError(f"memory cannot be measured here: {left_out['npresnet']}")
    return Peaks(name, batch, mode, entries, left_out)


def _measured(job):
    if job["library"] in ("onnxruntime", "openvino"):  # another library writes the file, in another process
        _child({**job, "library": "export"})
    answer = _child(job)
    return answer["peak"], answer["weights"]


def _child(job):
    done = subprocess.run([sys.executable, "-m", __name__, json.dumps(job)], capture_output=True, text=True)
    if done.returncode:
        raise ImportError(f"not available: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1] if done.stdout else "{}")


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """One library's peak and its transformed weights in bytes, measured in this process, a child of :func:`peaks`."""
    model, rng = create_model(job["model"]), np.random.default_rng(0)
    x = rng.standard_normal((job["batch"], model.spec.in_channels, *job["size"])).astype(np.float32)
    labels = rng.integers(0, model.spec.num_classes, job["batch"])
    if job["library"] == "export":
        return {"file": libraries.onnx_file(model, x, job["folder"])}
    make = _maker(job, model, x, labels)
    make()()  # loads code; this network is freed again
    gc.collect()
    run = make()
    gc.collect()
    _give_back()
    _forget_peak()
    before = _memory("VmRSS")
    for _ in range(3):
        run()
    weights = run.weight_bytes if isinstance(run, cpu.Inference) else 0
    return {"peak": _memory("VmHWM") - before, "weights": weights}


def _maker(job, model, x, labels) -> Callable[[], Run]:
    library, threads, file = job["library"], job["threads"], f"{job['folder']}/model.onnx"
    if job["mode"] == "train":
        return {
            "npresnet": lambda: cpu.training(model, x, labels, threads),
            "torch": lambda: libraries.torch_training(model, x, labels, threads, True),
        }[library]
    return {
        "npresnet": lambda: cpu.Inference(model, x, threads),
        "torch": lambda: libraries.torch_inference(model, x, threads, True),
        "onnxruntime": lambda: libraries.onnxruntime_inference(model, x, threads, file),
        "openvino": lambda: libraries.openvino_inference(model, x, threads, file),
        "ncnn": lambda: libraries.ncnn_inference(model, x, threads),
    }[library]


def _memory(key) -> int:
    """An entry of /proc/self/status in bytes."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key + ":"))


def _give_back():
    """Let our kernels and the allocator return what they keep for later, the latter where it knows how."""
    pool = sys.modules.get("npresnet.kernels.cpu.arrays")
    if pool:
        pool.release_idle()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def _forget_peak():
    """Reset VmHWM to the memory in use."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


if __name__ == "__main__":
    say_json(measure(json.loads(sys.argv[1])), indent=None)
