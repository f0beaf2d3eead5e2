"""The speeds on a GPU, as one table:  python -m tests.gpu.table FILE.json

Each row is npresnet beside the installed PyTorch, in one process; the ratio is PyTorch's time in ours.
"""

import json
import sys
from datetime import datetime, timezone

from npresnet import create_model
from npresnet.tools.bench_gpu import bench_gpu

ROWS = [  # network, batch, mode, precision, side, goal
    ("resnet50", 64, "infer", "float32", 224, 1.0), ("resnet50", 64, "infer", "tf32", 224, 1.0),
    ("resnet50", 64, "infer", "float16", 224, 0.8), ("resnet18", 1, "infer", "float32", 224, 2.0),
    ("resnet50", 64, "train", "tf32", 224, 0.8), ("resnet20", 128, "train", "float32", 32, 1.5),
]


def main(path, rows=ROWS):
    found = []
    for name, batch, mode, precision, side, goal in rows:
        report = bench_gpu(create_model(name), batch, mode, side, precision)
        peaks = peak_memory(name, batch, side, precision) if mode == "train" else {}
        print(report, *[f"{who} peak {size:.0f} MiB" for who, size in peaks.items()], f"goal {goal}", sep="\n")
        found.append(report.to_dict() | {"goal": goal, "peak_MiB": peaks})
    date = datetime.now(timezone.utc).isoformat()
    with open(path, "w") as file:
        json.dump({"date": date, "versions": versions(), "rows": found}, file, indent=1)


def peak_memory(name, batch, side, precision) -> dict:
    """MiB that a training step takes from the device: of ours what its pools hold, of PyTorch what it had at most."""
    import cupy
    import numpy as np

    from npresnet.tools.bench_gpu import in_torch, training
    model, peaks = create_model(name), {}
    x = np.random.default_rng(0).standard_normal((batch, 3, side, side)).astype(np.float32)
    labels = np.zeros(batch, np.int64)
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        run = training(model, x, labels, precision)
        run()
        peaks["npresnet"] = pool.total_bytes() / 2**20
    try:
        import torch
        run = in_torch(model, x, labels, "train", precision)
        torch.cuda.reset_peak_memory_stats()
        run()
        peaks["torch"] = torch.cuda.max_memory_allocated() / 2**20
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
    main(sys.argv[1])
