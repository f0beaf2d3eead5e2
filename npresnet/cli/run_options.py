"""What a training run was asked for: by the command line or, where it is resumed, by the checkpoint that it left."""

import argparse
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .arguments import BACKENDS

DEFAULTS = {
    "data": None,
    "test": None,
    "model": None,
    "weights": None,
    "recipe": None,
    "limit": None,
    "seed": 0,
    "backend": None,
    "strict": False,
}
ADDED_LATER = {"limit": None}  # options that older checkpoints lack, and what their runs did
VALID = {  # what each of them may be in a checkpoint
    **dict.fromkeys(("data", "recipe"), lambda value: type(value) is str),
    **dict.fromkeys(("test", "model", "weights"), lambda value: value is None or type(value) is str),
    "limit": lambda value: value is None or (type(value) is int and value > 0),
    "seed": lambda value: type(value) is int and value >= 0,
    "backend": lambda value: value in (None, *BACKENDS),
    "strict": lambda value: value is None or type(value) is bool,
}


def run_options(args: argparse.Namespace, checkpoint: Any) -> dict[str, Any]:
    """The options of a new run, those of :data:`DEFAULTS` and every field of its recipe; or those of a checkpoint.

    On a resume the command line may repeat what the run began with, say where the data has moved to, and give another
    number of epochs.  Raises ValueError where it says anything else, or where a new run lacks data or a network.
    """
    from ..training import Recipe, recipe

    details = [field.name for field in fields(Recipe)]
    given = {name: getattr(args, name) for name in (*DEFAULTS, *details) if getattr(args, name) is not None}
    if checkpoint:
        saved = checked(checkpoint.state.about, args.out)
        free = ("data", "test", "epochs")  # a fingerprint guards the data
        moved = {name: given.pop(name) for name in free if name in given}
        check_epochs(moved.get("epochs"), checkpoint, args.out)
        changed = [
            f"no {name}" if saved.get(name) is None else f"{name} {saved[name]}"
            for name in given
            if saved.get(name) != given[name]
        ]
        if changed:
            raise ValueError(
                f"the run in {args.out} began with {', '.join(changed)}; "
                "leave those options out, or choose another --out"
            )
        return {**saved, **moved}
    options = {**DEFAULTS, **given}
    missing = ["--data PATH"] * (options["data"] is None)
    missing += ["--model NAME or --weights FILE"] * (not (options["model"] or options["weights"]))
    if missing:
        raise ValueError(
            f"give {', and '.join(missing)}" + (f" ({args.out} holds no run to resume)" if args.resume else "")
        )
    options["recipe"] = options["recipe"] or choose_recipe(options)[0]
    changes = {name: options[name] for name in details if name in options}
    options |= vars(recipe(options["recipe"], **changes))
    if options["precision"] == "int8" and (options["backend"] == "cupy" or not options["weights"]):
        raise ValueError("--precision int8 is for a network with weights, on a CPU: give --weights FILE")
    if options["precision"] not in ("float32", "int8") and options["backend"] != "cupy":
        raise ValueError(
            f"--precision {options['precision']} is for a GPU (--backend cupy): on a CPU it is slower than float32, "
            "or the same"
        )
    return options


def choose_recipe(options: Mapping[str, Any]) -> tuple[str, str]:
    """(the name of the recipe for a run without --recipe, the reason for it)."""
    from ..models.registry import find

    if options["weights"]:
        return "finetune", "the weights are trained already"
    if find(options["model"]).preprocessing == "cifar10":
        return "fast-cifar", f"{options['model']} is for small images and starts untrained"
    return "photos", f"{options['model']} starts untrained (with few photos, start from --weights instead)"


def check_epochs(epochs: int | None, checkpoint: Any, folder: str) -> None:
    """Raise ValueError where a run has finished more than so many epochs."""
    state = checkpoint.state
    if epochs is not None and epochs < state.epoch + bool(state.step):
        raise ValueError(
            f"the run in {folder} has finished {state.epoch} epochs{' and begun the next' * bool(state.step)}: "
            f"--epochs cannot be {epochs}"
        )


def checked(options: dict[str, Any], folder: str) -> dict[str, Any]:
    """The options in the checkpoint of ``folder``.  Raises WeightsError; the values of its recipe are checked there."""
    from ..formats.errors import WeightsError, quoted
    from ..training import Recipe, recipes

    options = {**ADDED_LATER, **recipes.ADDED_LATER, **options}
    known = [*DEFAULTS, *(field.name for field in fields(Recipe))]
    odd = [f"no {name}" for name in known if name not in options]
    odd += [f"{quoted(name)}, which is unknown here" for name in options if name not in known]
    odd += [
        f"{name} {quoted(str(options[name]))}"
        for name, valid in VALID.items()
        if name in options and not valid(options[name])
    ]
    if odd:
        raise WeightsError(f"{folder}: its checkpoint has {', '.join(odd)}; it is damaged or of another version")
    return options
