"""Images per second of a training step over ranks, in turns with one process and with PyTorch's DDP on gloo.

    python -m tests.scripts.ranks_speed resnet20 32 128        the network, the side of its images, those in a batch

One process has two threads, and two ranks one each.  DDP's batch norms take their statistics from each rank's share, as
ours do without synchronization: PyTorch's SyncBatchNorm is for GPUs alone.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from npresnet import create_model, use
from npresnet.distributed import Alone, world

from ..distributed.launch import launch

TURNS, STEPS = 3, 12
KINDS = {"one process": 1, "ranks": 2, "ranks without sync": 2, "DDP": 2}


def ours(name, side, batch, ranks, sync):
    """A function that makes one step."""
    from npresnet.data import Preprocessing
    from npresnet.data.dataset import Dataset
    from npresnet.training import Recipe, Trainer

    pixels = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3)).astype(np.uint8)
    model = create_model(name, num_classes=10)
    model.preprocessing = Preprocessing(side, side)
    recipe = Recipe(epochs=1, batch_size=batch, lr=1e-3, augment="none", sync_batch_norm=sync)
    dataset = Dataset(np.arange(batch) % 10, [str(k) for k in range(10)], pixels=pixels)
    trainer = Trainer(model, recipe, dataset, communicator=ranks)
    model.train()
    (given,) = trainer.batches.epoch(0)
    return lambda: trainer.update(given)


def theirs(name, side, batch, ranks, path):
    """The same in PyTorch."""
    import torch
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    from ..support.oracles import torchvision_models
    from ..support.torch_training import twin_of

    distributed.init_process_group("gloo", init_method=f"file://{path}", rank=ranks.rank, world_size=ranks.size)
    torch.set_num_threads(1)
    if name == "resnet20":
        net = twin_of(create_model(name, num_classes=10))
    else:
        net = getattr(torchvision_models(), name)(num_classes=10)
    net = DistributedDataParallel(net.to(memory_format=torch.channels_last).train())
    x = torch.randn(batch // ranks.size, 3, side, side).to(memory_format=torch.channels_last)
    labels, sgd = torch.arange(len(x)) % 10, torch.optim.SGD(net.parameters(), 1e-3, 0.9, weight_decay=1e-4)

    def step():
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(net(x), labels).backward()
        sgd.step()

    return step


def measure(kind, name, side, batch, path):
    """Print the seconds of each step of one kind, on rank 0."""
    ranks, times = world() if KINDS[kind] > 1 else Alone(), []
    if kind == "DDP":
        step = theirs(name, side, batch, ranks, path)
    else:
        step = ours(name, side, batch, ranks, kind != "ranks without sync")
    with use("numba", 2 if ranks.size == 1 else 1):
        for number in range(4 + STEPS):
            ranks.barrier()
            began = time.perf_counter()
            step()
            times += [time.perf_counter() - began] * (number >= 4)
    if ranks.rank == 0:
        print(json.dumps(times))


def main(name, side, batch):
    times = {kind: [] for kind in KINDS}
    for turn in range(TURNS):
        for kind, size in KINDS.items():
            path = Path(tempfile.mkdtemp()) / "meeting"
            done = launch(size, "tests.scripts.ranks_speed", name, side, batch, kind, path, timeout=600)
            if done.returncode:
                sys.exit(done.stderr)
            times[kind] += json.loads(done.stdout.splitlines()[-1])
        print(f"turn {turn + 1} of {TURNS}", file=sys.stderr)
    first = np.median(times["one process"])
    for kind, found in times.items():
        middle, best = np.median(found), min(found)
        print(
            f"{kind:20}  {1e3 * middle:8.1f} ms (best {1e3 * best:.1f})  {int(batch) / middle:7.1f} images/s  "
            f"{first / middle:.2f} of one process's (best: {min(times['one process']) / best:.2f})"
        )


if __name__ == "__main__":
    if len(sys.argv) == 4:
        main(*sys.argv[1:])
    else:
        measure(sys.argv[4], sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[5])
