"""Train a network on labelled images, from scratch or from a checkpoint; a stopped run resumes bit for bit.

The dataset is a folder of class folders, or of images with a CSV of labels (image,label), a zip of one, such a CSV, or
an archive of CIFAR-10 or CIFAR-100; a folder may also hold train and test parts (train/ and test/, or one *train*.zip
and one *test*.zip).  Part of the training images is held out: the weights that do best on them are kept and evaluated
once, at the end, on the test images or, where there are none, on those held out.

Written to --out: checkpoint.safetensors (the whole state, after every epoch, every few minutes and on Ctrl-C),
best.safetensors and final.safetensors (weights), metrics.jsonl and metrics.csv (a line for each epoch), report.json
and, with matplotlib, plots.

--resume with another number of --epochs extends a run, also a finished one: from where it stands the learning rate
follows the schedule of a run of so many epochs.

Under mpiexec or srun (pip install 'npresnet[mpi]') the processes share every batch, whose size stays that of the whole:
the weights are those of one process, to rounding.  A run may be resumed by another number of processes.
"""

import argparse
import errno
import os
from contextlib import nullcontext
from dataclasses import fields
from typing import Any

from ..printer import note
from .arguments import add_alias, add_backend_argument, backend_context, on_backend, positive, seed
from .progress import progress
from .ranks import over_ranks
from .run_options import run_options
from .run_output import announce, counted, finish, loggers, split_text

EXAMPLES = """examples:
  npresnet train --data cifar10 --model resnet20 --recipe fast-cifar --out runs/resnet20
  npresnet train --data cifar-10-python.tar.gz --model resnet56 --recipe paper-cifar --out runs/paper --seed 1
  npresnet train --data photos --weights resnet18.pth --recipe finetune --freeze trunk --out runs/photos
  npresnet train --out runs/photos --resume
  npresnet train --out runs/photos --resume --epochs 20
  mpiexec -n 8 npresnet train --data photos --model resnet50 --batch 256 --out runs/photos"""
SHORTER = {"batch_size": "batch"}  # options that are not called like their field of the recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    run = parser.add_argument_group("the run")
    run.add_argument("--data", metavar="PATH", help="the dataset with the training images")
    run.add_argument("--test", metavar="PATH", help="the test images (default: the test part of --data, if any)")
    run.add_argument("--limit", type=positive, metavar="N", help="use only N training images, evenly over the classes")
    run.add_argument("--model", metavar="NAME", help="the network (default: that of --weights)")
    run.add_argument("--weights", metavar="FILE", help="a checkpoint to start from, with a new last layer")
    run.add_argument(
        "--recipe",
        metavar="NAME",
        help="a named recipe, see below (default: finetune with --weights, else fast-cifar or photos)",
    )
    run.add_argument("--out", required=True, metavar="DIR", help="the folder for the results")
    run.add_argument("--resume", action="store_true", help="resume the run in --out, if there is one")
    run.add_argument(
        "--checkpoint-minutes",
        type=minutes,
        default=10.0,
        metavar="X",
        help="write a checkpoint inside an epoch, too, every X minutes (default: 10; 0: never)",
    )
    run.add_argument("--seed", type=seed, metavar="N", help="of initial weights, order and augmentation (default: 0)")
    add_backend_argument(run)
    run.add_argument("--workers", type=positive, default=2, metavar="N", help="threads that read images (default: 2)")
    run.add_argument("--strict", action="store_true", default=None, help="fail on a broken image; do not skip it")
    run.add_argument("--tensorboard", action="store_true", help="write logs for TensorBoard into DIR/tensorboard, too")
    run.add_argument("--json", action="store_true", help="print the final evaluation as one JSON object")
    run.add_argument("--jsonl", action="store_true", help="print each epoch as a JSON object, as it comes, then that")
    add_recipe_arguments(parser)


def minutes(text: str) -> float:
    """The value of --checkpoint-minutes."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes from 0")
    return value


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """An option for every field of the recipe, and what the named recipes are."""
    from ..training import Recipe
    from ..training.recipe_text import recipes_text

    parser.add_argument_group("named recipes", recipes_text())
    group = parser.add_argument_group("changes to the recipe")
    metavars = {int: "N", float: "X", str: "NAME"}
    for field in fields(Recipe):
        kind: Any = field.type
        boolean: Any = {"action": argparse.BooleanOptionalAction}
        how = boolean if kind is bool else {"type": kind, "metavar": metavars[kind]}
        name = SHORTER.get(field.name, field.name).replace("_", "-")
        option = group.add_argument(f"--{name}", dest=field.name, help=field.metadata["help"], **how)
        if field.name in SHORTER:
            add_alias(group, f"--{field.name.replace('_', '-')}", option)


def run(args: argparse.Namespace) -> int:
    from ..distributed import on_gpus
    from ..training.lock import locked

    with over_ranks() as ranks:
        with nullcontext() if ranks.rank else locked(args.out):  # a command that fails leaves no folder
            checkpoint = ranks.broadcast(lambda: earlier_run(args))
            options = run_options(args, checkpoint)
            with backend_context(options["backend"]):
                together = on_gpus(ranks) if options["backend"] == "cupy" else ranks
                return train(args, options, checkpoint, together)


def earlier_run(args: argparse.Namespace) -> Any:
    """The checkpoint of the run in --out to resume, or None where the folder is free for a new one."""
    from ..training.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(args.out)
    if checkpoint is None:
        check_empty(args.out)
    elif not args.resume:
        raise ValueError(f"{args.out} holds a run already; resume it with --resume, or choose another --out")
    return checkpoint


def check_empty(folder: str) -> None:
    """Raise ValueError where a new run would replace files that are there already."""
    from ..training.checkpoint import WRITTEN

    there = [name for name in WRITTEN if os.path.lexists(os.path.join(folder, name))]
    if there:
        raise ValueError(f"{folder} holds {', '.join(there)} and no checkpoint to resume from; choose another --out")


def train(args: argparse.Namespace, options: dict[str, Any], checkpoint: Any, ranks: Any) -> int:
    """Train to the end, or until a signal stops the run."""
    from ..training import Recipe, Stopped, restore
    from ..training.progress import progress_callback

    recipe = Recipe(**{field.name: options[field.name] for field in fields(Recipe)})
    test = test_path(options)
    check_apart(args.out, options["data"], test)
    announce(args, options, recipe, checkpoint)
    callbacks = loggers(args)
    trainer, tested = make_trainer(args, options, recipe, checkpoint, test, ranks)
    note(split_text(trainer))
    if checkpoint:
        restore(trainer, checkpoint, args.out)
        if ranks.rank == 0:
            check_best(trainer, args.out)
        note(f"resuming after epoch {trainer.epoch}, step {trainer.step}")
    try:
        with progress_callback(*callbacks) as callback:
            trainer.fit(args.out, callback, checkpoint_minutes=args.checkpoint_minutes)
    except Stopped as stop:
        note(f"npresnet: stopped; resume with: npresnet train --out {args.out} --resume")
        return 128 + stop.args[0]
    return finish(args, options, trainer, tested, ranks)


def make_trainer(
    args: argparse.Namespace, options: dict[str, Any], recipe: Any, checkpoint: Any, test: str | None, ranks: Any
) -> tuple[Any, Any]:
    """(the Trainer, the test images or None): read now, so that nothing is wrong at the end."""
    from ..data.batches import OF_PHOTOS
    from ..training import Trainer, split
    from ..training.checkpoint import build_model
    from ..zoo import model_to_train, with_new_head

    data, seed, how = options["data"], options["seed"], {"in_memory": recipe.augment not in OF_PHOTOS}
    model = build_model(checkpoint) if checkpoint else model_to_train(options["model"], options["weights"], seed)
    images = read_images(data, "train", model, options, args.workers, limit=options["limit"], **how)
    same = options["weights"] and recipe.precision == "int8" and tuple(model.classes or ()) == tuple(images.classes)
    if checkpoint is None and not same:  # which learns to be quantized, and knows its classes
        model = with_new_head(model, images.classes, seed)
    training, validation = split(images, recipe.held_out, seed)
    tested = test and read_images(test, "test", model, options, args.workers, classes=model.classes, **how)
    (model,) = on_backend(options["backend"], model)
    how = {"seed": seed, "workers": args.workers, "about": options, "communicator": ranks}
    trainer = Trainer(model, recipe, training, validation, **how)
    return trainer, tested


def test_path(options: dict[str, Any]) -> str | None:
    """Where the test images are, or None.  Raises FileNotFoundError where --test does not exist."""
    from ..data.dataset_parts import has_part

    if options["test"] and not os.path.exists(options["test"]):
        raise FileNotFoundError(errno.ENOENT, "no such file or folder", options["test"])
    return options["test"] or (options["data"] if has_part(options["data"], "test") else None)


def check_apart(out: str, *datasets: str | None) -> None:
    """Raise ValueError where ``out`` lies inside a dataset: the plots of the run would become images of a class."""
    from ..data.dataset_parts import class_folder

    here = os.path.realpath(out)
    for path, part in zip(datasets, ("train", "test")):
        there = class_folder(path, part) if path else None
        if there and os.path.commonpath([here, os.path.realpath(there)]) == os.path.realpath(there):
            raise ValueError(f"--out {out} lies inside the images of {there}; choose a folder outside")


def check_best(trainer: Any, folder: str) -> None:
    """Raise where the best weights so far, which are needed at the end, are missing or damaged."""
    from ..training.checkpoint import BEST
    from ..weights import read_weights

    if trainer.history:
        read_weights(os.path.join(folder, BEST))


def read_images(path: str, part: str, model: Any, options: dict[str, Any], workers: int, **how: Any) -> Any:
    """One part of a dataset; unreadable images are counted, and the first of them named, on standard error."""
    from ..training import open_dataset

    with progress(f"reading the {part} images") as show:
        images, broken = open_dataset(
            path, model, part=part, strict=options["strict"], workers=workers, show=show, **how
        )
    if broken:
        note(*broken[:5], *["…"] * (len(broken) > 5))
        note(f"{path}: left out {len(broken)} of {len(images) + len(broken)} images, unreadable")
    note(*images.notes, f"{len(images)} {part} images of {counted(images)}")
    return images
