"""Train a network on labelled images, from scratch or from weights; stop and go on without losing a bit.

The data is a folder of class folders, a zip of one, or an archive of CIFAR-10 or CIFAR-100; a folder may also hold
train and test parts (train/ and test/, or one *train*.zip and one *test*.zip).  Part of the training images is held
out: the weights that do best on those are kept, and the test images are looked at once, at the end.

In --out: checkpoint.safetensors (the whole state, after every epoch and on Ctrl-C), best.safetensors and
final.safetensors (weights), metrics.jsonl (a line for each epoch), report.json and, with matplotlib, plots.
"""

import argparse
import errno
import os

from ..printer import note, say, say_json
from .arguments import positive, seed
from .backends import CHOICES, add_backend_argument, computing, placed
from .progress import progress

EXAMPLES = """examples:
  npresnet train --data cifar10 --model resnet20 --recipe fast-cifar --out runs/resnet20
  npresnet train --data cifar-10-python.tar.gz --model resnet56 --recipe paper-cifar --out runs/paper --seed 1
  npresnet train --data photos --weights resnet18.pth --recipe finetune --freeze trunk --out runs/photos
  npresnet train --out runs/photos --resume"""

RUN = {"data": None, "test": None, "model": None, "weights": None, "recipe": "fast-cifar", "seed": 0, "backend": None,
       "strict": False}
RIGHT = {   # what each of these may be in a checkpoint
    **dict.fromkeys(("data", "recipe"), lambda value: type(value) is str),
    **dict.fromkeys(("test", "model", "weights"), lambda value: value is None or type(value) is str),
    "seed": lambda value: type(value) is int and value >= 0,
    "backend": lambda value: value in (None, *CHOICES),
    "strict": lambda value: value is None or type(value) is bool,
}
DETAILS = {   # the fields of training.Recipe: their type, and what they mean
    "epochs": (int, "passes over the training images"),
    "batch_size": (int, "images a step"),
    "lr": (float, "peak learning rate"),
    "schedule": (str, "constant, steps, cosine or one-cycle"),
    "warmup": (float, "epochs over which the rate rises from a tenth"),
    "optimizer": (str, "sgd or adamw"),
    "momentum": (float, "of sgd"),
    "nesterov": (bool, "Nesterov's step"),
    "weight_decay": (float, "pulls the weights to zero"),
    "decay_all": (bool, "decay batch norms and biases too"),
    "label_smoothing": (float, "share of the target spread over all classes"),
    "mixup": (float, "α of the mixing share's Beta(α, α)"),
    "clip": (float, "largest norm of the gradient"),
    "average": (float, "decay of the moving average of the weights, such as 0.999"),
    "accumulate": (int, "parts that a batch goes through in, to save memory; a batch norm takes its statistics from "
                        "one part, so that the numbers change"),
    "augment": (str, "crop-flip, photo or none"),
    "jitter": (float, "change brightness, contrast and saturation by up to this share"),
    "freeze": (str, "nothing, norm (batch norms) or trunk (everything but the head)"),
    "held_out": (float, "training images for validation: their number, or below 1 their share"),
    "precision": (str, "float32 (default); on a GPU tf32, float16 or bfloat16"),
}


def add_arguments(parser):
    run = parser.add_argument_group("the run")
    run.add_argument("--data", metavar="PATH", help="the training images")
    run.add_argument("--test", metavar="PATH", help="the test images (default: the test part of --data, if any)")
    run.add_argument("--model", metavar="NAME", help="the network (default: that of --weights)")
    run.add_argument("--weights", metavar="FILE", help="start from these weights, with a new head")
    run.add_argument("--recipe", metavar="NAME", help="paper-cifar, fast-cifar (default) or finetune")
    run.add_argument("--out", required=True, metavar="DIR", help="where the results go")
    run.add_argument("--resume", action="store_true", help="go on with the run in --out, if there is one")
    run.add_argument("--seed", type=seed, metavar="N", help="of initial weights, order and augmentation (default: 0)")
    add_backend_argument(run)
    run.add_argument("--workers", type=positive, default=2, metavar="N", help="threads that read images (default: 2)")
    run.add_argument("--strict", action="store_true", default=None, help="a broken image is an error, not skipped")
    run.add_argument("--json", action="store_true", help="print the final evaluation as one JSON object")
    details = parser.add_argument_group("details that replace the recipe's")
    for name, (kind, text) in DETAILS.items():
        how = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind, "metavar": "X"}
        details.add_argument(f"--{name.replace('_', '-')}", help=text, **how)


def run(args) -> int:
    from ..training.checkpoint import read_checkpoint
    from ..training.lock import locked
    with locked(args.out):                                           # a command that fails leaves no folder
        checkpoint = read_checkpoint(args.out)
        if checkpoint is None:
            check_empty(args.out)
        elif not args.resume:
            raise ValueError(f"{args.out} holds a run already; go on with --resume, or choose another --out")
        about = settled(args, checkpoint)
        with computing(about["backend"]):
            return train(args, about, checkpoint)


def check_empty(folder):
    """A new run replaces nothing of another one, nor what somebody keeps there."""
    from ..training.checkpoint import WRITTEN
    there = [name for name in WRITTEN if os.path.lexists(os.path.join(folder, name))]
    if there:
        raise ValueError(f"{folder} holds {', '.join(there)} and no checkpoint to go on from; choose another --out")


def settled(args, checkpoint) -> dict:
    """What the command line asks for; on a resume what the run began with, which the command line may repeat."""
    from ..training import recipe
    given = {name: getattr(args, name) for name in (*RUN, *DETAILS) if getattr(args, name) is not None}
    if checkpoint:
        saved = checked(checkpoint[1]["about"], args.out)
        moved = {name: given.pop(name) for name in ("data", "test") if name in given}   # a fingerprint guards the data
        changed = [f"no {name}" if saved.get(name) is None else f"{name} {saved[name]}"
                   for name in given if saved.get(name) != given[name]]
        if changed:
            raise ValueError(f"the run in {args.out} began with {', '.join(changed)}; "
                             "leave those options out, or choose another --out")
        return {**saved, **moved}
    about = {**RUN, **given}
    if about["data"] is None or not (about["model"] or about["weights"]):
        raise ValueError("give --data PATH, and --model NAME or --weights FILE"
                         + (f" ({args.out} holds no run to go on with)" if args.resume else ""))
    changes = {name: about[name] for name in DETAILS if name in about}
    return {**about, **vars(recipe(about["recipe"], **changes))}


def checked(about, folder) -> dict:
    """What a checkpoint says that its run was asked for; the recipe checks its own details."""
    from ..formats.errors import WeightsError, shown
    about = {"precision": "float32", **about}                        # the one before there was a choice
    known = {**dict.fromkeys(DETAILS, lambda value: True), **RIGHT}
    odd = [f"no {name}" for name in known if name not in about]
    odd += [f"{shown(name)}, which is unknown here" for name in about if name not in known]
    odd += [f"{name} {shown(str(about[name]))}" for name in RIGHT if name in about and not RIGHT[name](about[name])]
    if odd:
        raise WeightsError(f"{folder}: its checkpoint has {', '.join(odd)}; it is damaged or of another version")
    return about


def train(args, about, checkpoint) -> int:
    from ..training import Recipe, Stopped, Trainer, restore, split
    from ..training.progress import watching
    from ..training.start import first_model, model_of, with_new_head
    recipe = Recipe(**{name: about[name] for name in DETAILS})
    in_memory, test = recipe.augment != "photo", test_path(about)
    check_apart(args.out, about["data"], test)
    model = model_of(checkpoint) if checkpoint else first_model(about["model"], about["weights"], about["seed"])
    source = read_images(about["data"], "train", model, about, args.workers, in_memory=in_memory)
    if checkpoint is None:
        model = with_new_head(model, source.classes, about["seed"])
    parts = split(source, recipe.held_out, about["seed"])
    if test:                                                         # read now, so that nothing is wrong at the end
        test = read_images(test, "test", model, about, args.workers, in_memory=in_memory, classes=model.classes)
    trainer = Trainer(*placed(about["backend"], model), recipe, *parts, seed=about["seed"], workers=args.workers,
                      about=about)
    if checkpoint:
        restore(trainer, checkpoint, args.out)
        check_best(trainer, args.out)
        note(f"going on after epoch {trainer.epoch}, step {trainer.step}")
    try:
        with watching() as watch:
            trainer.fit(args.out, watch)
    except Stopped as stop:
        note(f"npresnet: stopped; go on with: npresnet train --out {args.out} --resume")
        return 128 + stop.args[0]
    return finish(args, about, trainer, test)


def test_path(about):
    """Where the test images are, or None."""
    from ..data.dataset_parts import has_part
    if about["test"] and not os.path.exists(about["test"]):
        raise FileNotFoundError(errno.ENOENT, "no such file or folder", about["test"])
    return about["test"] or (about["data"] if has_part(about["data"], "test") else None)


def check_apart(out, *sources):
    """The plots of a run must not become images of a class."""
    from ..data.dataset_parts import class_folder
    here = os.path.realpath(out)
    for source, part in zip(sources, ("train", "test")):
        there = class_folder(source, part) if source else None
        if there and os.path.commonpath([here, os.path.realpath(there)]) == os.path.realpath(there):
            raise ValueError(f"--out {out} lies inside the images of {there}; choose a folder outside")


def check_best(trainer, folder):
    """The weights that were best so far are needed at the end: they must be there and readable."""
    from ..training.checkpoint import BEST
    from ..weights import read_weights
    if trainer.history:
        read_weights(os.path.join(folder, BEST))


def read_images(path, part, model, about, workers, **options):
    """One part of the data; what could not be read is named and counted."""
    from ..training import open_dataset
    with progress(f"reading the {part} images") as show:
        source, broken = open_dataset(path, model, part=part, strict=about["strict"], workers=workers,
                                     show=show, **options)
    if broken:
        note(*broken[:5], *["…"] * (len(broken) > 5))
        note(f"{path}: left out {len(broken)} of {len(source) + len(broken)} images, unreadable")
    note(*source.notes, f"{len(source)} {part} images of {counted(source)}")
    return source


def counted(source, most=10):
    """The classes and how many images each has: "2 classes: cat 40, dog 38"."""
    import numpy as np
    counts = np.bincount(source.labels, minlength=len(source.classes))
    named = [f"{name} {count}" for name, count in zip(source.classes[:most], counts)]
    return f"{len(counts)} classes: {', '.join(named)}{', …' if len(counts) > most else ''}"


def finish(args, about, trainer, test) -> int:
    """Evaluate the best weights, once, and write what they are worth."""
    from ..training.evaluate import as_lines, evaluate, write_report
    from ..weights import load_weights
    model, best = trainer.learned(), os.path.join(args.out, "best.safetensors")
    load_weights(model, best)
    source = test or trainer.validation or trainer.train
    part = "test" if test else "held-out training"
    result = evaluate(model, source)
    written = write_report(trainer.history, result, args.out, weights=best, pictures=f"{part} pictures", run=about)
    if args.json:
        say_json({"weights": best, "pictures": f"{part} pictures", **result})
    else:
        first, *rest = as_lines(result)
        say(f"{best} on {part} images: {first}", *rest)
        say(f"wrote {', '.join(written)} into {args.out}")
    return 0
