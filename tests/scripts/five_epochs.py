"""Five epochs beside PyTorch: python -m tests.scripts.five_epochs --data ../shared/data/cifar10

For each seed both train from the same initial weights on the same batches (order and augmentation included) with the
same recipe, and the test images are evaluated once, at the end.  The means should agree within half a point.
"""

import argparse
from statistics import mean

import numpy as np

from npresnet import create_model
from npresnet.data import preprocessing_of
from npresnet.training import Batches, Trainer, open_dataset, predict, recipe, split

from ..support import oracles, torch_training


def compare(name, chosen, source, test, seed, threads):
    """(our accuracy, PyTorch's)"""
    torch = oracles.torch()
    model = create_model(name, seed=seed)
    net = torch_training.twin_of(model)
    torch.set_num_threads(threads)
    trainer = Trainer(model, chosen, *split(source, chosen.held_out, seed), seed=seed)
    steps = len(trainer.batches)
    rates = [chosen.rate(step, steps) for step in range(chosen.epochs * steps)]
    batches = (batch for epoch in range(chosen.epochs) for batch in trainer.batches.epoch(epoch))
    torch_training.losses(net, chosen, batches, rates)
    trainer.fit()
    ours = float((predict(trainer.inference_model(), test)[1] == test.labels).mean())
    net.eval()
    with torch.no_grad():
        right = [
            (net(torch.from_numpy(x)).argmax(1).numpy() == labels).sum()
            for x, labels in Batches(test, preprocessing_of(model), 256).in_order()
        ]
    return ours, float(np.sum(right) / len(test))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--recipe", default="fast-cifar")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--lr", type=float, default=0.4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--limit", type=int, help="train on so many images only")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    args = parser.parse_args()
    source, test = (open_dataset(args.data, "cifar10", part=part)[0] for part in ("train", "test"))
    held_out = 5000
    if args.limit:
        source, held_out = split(source, args.limit, 0)[1], args.limit // 10
    chosen = recipe(args.recipe, epochs=args.epochs, lr=args.lr, held_out=held_out)
    found = []
    for seed in args.seeds:
        found.append(compare(args.model, chosen, source, test, seed, args.threads))
        print("seed {}: npresnet {:.2f} %, PyTorch {:.2f} %".format(seed, *(100 * a for a in found[-1])), flush=True)
    ours, theirs = (100 * mean(column) for column in zip(*found))
    print(f"mean: npresnet {ours:.2f} %, PyTorch {theirs:.2f} %, difference {ours - theirs:+.2f}")


if __name__ == "__main__":
    main()
