"""The same 20 steps by PyTorch's DistributedDataParallel, on gloo: python -m tests.distributed.ddp FILE, under mpiexec.

Batch norms take their statistics from each rank's share.  Rank 0 prints the losses of the batches.
"""

import json
import sys
from dataclasses import replace

import numpy as np

from npresnet.data.batches import Batches
from npresnet.data.share import Share
from npresnet.distributed import world
from npresnet.training import recipe

from ..support import torch_training
from ..support.drawn import cifar_model, drawn_source

RECIPE = replace(recipe("paper-cifar", epochs=5, batch_size=12), sync_batch_norm=False)
IMAGES, SIDE, STEPS = 48, 16, 20


def main(path):
    import torch
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    ranks = world()
    distributed.init_process_group("gloo", init_method=f"file://{path}", rank=ranks.rank, world_size=ranks.size)
    torch.set_num_threads(1)
    model = cifar_model(side=SIDE).astype(np.float64)
    net, share = torch_training.twin_of(model), Share(ranks.rank, ranks.size)
    batches = Batches(drawn_source(IMAGES, SIDE), model.preprocessing, 12, "crop-flip", share=share)
    given = [batch for epoch in range(RECIPE.epochs) for batch in batches.epoch(epoch)]
    rates = [RECIPE.rate(step, IMAGES // 12) for step in range(STEPS)]
    own = torch_training.losses(DistributedDataParallel(net), RECIPE, given, rates)
    losses = np.mean(ranks.all_gather(own), axis=0)  # equal shares
    if ranks.rank == 0:
        print(json.dumps(losses.tolist()))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
