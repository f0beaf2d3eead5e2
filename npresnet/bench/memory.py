"""Our peak memory beside that of other libraries: each contestant in a process of its own.

    peak above = highest resident memory during three calls - resident memory before the first

Before the first call the library is imported, the network stands with its weights, and another network like it has
already run and gone, so that code is loaded and what the library keeps for itself is there.  Memory is read from
/proc, which only Linux has.
"""

import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass

import numpy as np

from ..printer import say_json
from ..zoo import create_model
from . import cpu, libraries


@dataclass
class Peaks:
    """(peak, part of it that is transformed weights) of each contestant in bytes, ours first."""

    model: str
    batch: int
    mode: str
    entries: dict
    left_out: dict

    def ratio(self, name) -> float:
        """A rival's peak in ours without our transformed weights: above 1 where we need less."""
        peak, weights = self.entries["npresnet"]
        return self.entries[name][0] / (peak - weights)

    def to_dict(self) -> dict:
        return {**asdict(self), "ratios": {name: round(self.ratio(name), 3) for name in self.entries}}

    def __str__(self):
        lines = [f"{self.model}, batch {self.batch}, {self.mode}: memory above import and weights",
                 f"{'':24}{'peak':>12}{'of it transformed weights':>30}{'ratio without':>16}"]
        for name, (peak, weights) in self.entries.items():
            lines.append(f"{name:24}{peak / 2**20:>8.1f} MiB{weights / 2**20:>26.1f} MiB{self.ratio(name):>16.2f}")
        return "\n".join(lines + [f"left out: {name} ({why})" for name, why in self.left_out.items()])


def peaks(name, batch, mode, against, size, threads) -> Peaks:
    """Measure ``name`` and the libraries named."""
    cpu.check_names(against, mode)
    entries, left_out = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for library in ("npresnet", *against):
            job = {"library": library, "model": name, "batch": batch, "mode": mode, "size": size, "threads": threads,
                   "folder": folder}
            try:
                entries[library] = _measured(job)
            except (ImportError, OSError) as error:
                left_out[library] = str(error)
    if "npresnet" not in entries:
        raise ValueError(f"memory cannot be measured here: {left_out['npresnet']}")
    return Peaks(name, batch, mode, entries, left_out)


def _measured(job):
    if job["library"] in ("onnxruntime", "openvino"):            # another library writes the file, in another process
        _child({**job, "library": "export"})
    answer = _child(job)
    return answer["peak"], answer["weights"]


def _child(job):
    done = subprocess.run([sys.executable, "-m", __name__, json.dumps(job)], capture_output=True, text=True)
    if done.returncode:
        raise ImportError(f"not available: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1] if done.stdout else "{}")


def measure(job) -> dict:
    """What a child process does: one contestant's peak, in bytes."""
    model, rng = create_model(job["model"]), np.random.default_rng(0)
    x = rng.standard_normal((job["batch"], model.spec.in_channels, job["size"], job["size"])).astype(np.float32)
    labels = rng.integers(0, model.spec.num_classes, job["batch"])
    if job["library"] == "export":
        return {"file": libraries.onnx_file(model, x, job["folder"])}
    make = _maker(job, model, x, labels)
    make()()                                                     # code is loaded, and this network goes again
    gc.collect()
    run = make()
    gc.collect()
    _give_back()
    _forget_peak()
    before = _memory("VmRSS")
    for _ in range(3):
        run()
    return {"peak": _memory("VmHWM") - before, "weights": run.engine.weight_bytes if hasattr(run, "engine") else 0}


def _maker(job, model, x, labels):
    library, threads, file = job["library"], job["threads"], f"{job['folder']}/model.onnx"
    if job["mode"] == "train":
        return {"npresnet": lambda: cpu.training(model, x, labels, threads),
                "torch": lambda: libraries.torch_training(model, x, labels, threads, True)}[library]
    return {"npresnet": lambda: cpu.inference(model, x, threads),
            "torch": lambda: libraries.torch_inference(model, x, threads, True),
            "onnxruntime": lambda: libraries.onnxruntime_inference(model, x, threads, file),
            "openvino": lambda: libraries.openvino_inference(model, x, threads, file),
            "ncnn": lambda: libraries.ncnn_inference(model, x, threads)}[library]


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
    """Let VmHWM begin anew."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


if __name__ == "__main__":
    say_json(measure(json.loads(sys.argv[1])), indent=None)
