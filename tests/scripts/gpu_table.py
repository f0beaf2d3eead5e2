"""The speeds on a GPU, as one table:  python -m tests.scripts.gpu_table FILE.json

Each row is npresnet beside the installed PyTorch, in one process; the ratio is PyTorch's time in ours.  The file is
written after every row, and a row that fails says how, so that what has been measured is not lost.
"""

import json
import sys
import traceback
from datetime import datetime, timezone

import numpy as np

from npresnet import create_model, to_device
from npresnet.bench.gpu import bench_gpu, engine_of, in_torch, training_step

ROWS = [  # network, batch, mode, precision, side, goal
    ("resnet50", 64, "infer", "float32", 224, 1.0),
    ("resnet50", 64, "infer", "tf32", 224, 1.0),
    ("resnet50", 64, "infer", "float16", 224, 0.8),
    ("resnet18", 1, "infer", "float32", 224, 2.0),
    ("resnet50", 64, "train", "tf32", 224, 0.8),
    ("resnet20", 128, "train", "float32", 32, 1.5),
]


def main(path, rows=ROWS):
    found = []
    for *row, goal in rows:
        try:
            found.append(measured(*row) | {"goal": goal})
        except Exception:
            found.append({"row": row, "goal": goal, "failed": traceback.format_exc()})
            print(found[-1]["failed"])
        date = datetime.now(timezone.utc).isoformat()
        with open(path, "w") as file:
            json.dump({"date": date, "versions": versions(), "rows": found}, file, indent=1)
    return sum("failed" in row for row in found)


def measured(name, batch, mode, precision, side) -> dict:
    """A row, printed: both times, and how inference goes about its convolutions, or the memory that a step takes."""
    report = bench_gpu(create_model(name), batch, mode, (side, side), precision)
    print(report)
    more = plan(name, batch, side, precision) if mode == "infer" else peak_memory(name, batch, side, precision)
    print(*[f"{key}: {value}" for key, value in more.items()], sep="\n")
    return report.to_dict() | more


def plan(name, batch, side, precision) -> dict:
    engine = engine_of(create_model(name), precision)
    for _ in range(2):  # the second call captures
        engine.logits(engine.xp.zeros((batch, 3, side, side), dtype=engine.dtype))
    return {"plan": str(engine.plan)}


def peak_memory(name, batch, side, precision) -> dict:
    """MiB that a training step takes from the device: of ours what its pools hold, of PyTorch what it had at most."""
    import cupy

    model, peaks = create_model(name), {}
    x = np.random.default_rng(0).standard_normal((batch, 3, side, side)).astype(np.float32)
    labels, pool = np.zeros(batch, np.int64), cupy.get_default_memory_pool()
    pool.free_all_blocks()
    before, step = pool.total_bytes(), training_step(model, precision)
    for _ in range(3):
        step(to_device(x, "cuda"), to_device(labels, "cuda"), 1e-3)
    peaks["peak MiB, npresnet"] = (pool.total_bytes() - before + step.recording.run.pool.total_bytes()) / 2**20
    try:
        import torch

        run = in_torch(model, x, labels, "train", precision)
        torch.cuda.reset_peak_memory_stats()
        run()
        peaks["peak MiB, torch"] = torch.cuda.max_memory_allocated() / 2**20
    except ImportError:
        pass
    return peaks


def versions() -> dict:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("npresnet", "numpy", "torch", "cupy-cuda12x", "cupy-cuda13x"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
