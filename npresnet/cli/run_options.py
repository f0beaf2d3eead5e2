"""What a training run was asked for: by the command line or, where it is resumed, by the checkpoint that it left."""

import argparse
from dataclasses import fields
from typing import Any

from .arguments import BACKENDS

DEFAULTS = {
    "data": None,
    "test": None,
    "model": None,
    "weights": None,
    "recipe": "fast-cifar",
    "seed": 0,
    "backend": None,
    "strict": False,
}
VALID = {  # what each of them may be in a checkpoint
    **dict.fromkeys(("data", "recipe"), lambda value: type(value) is str),
    **dict.fromkeys(("test", "model", "weights"), lambda value: value is None or type(value) is str),
    "seed": lambda value: type(value) is int and value >= 0,
    "backend": lambda value: value in (None, *BACKENDS),
    "strict": lambda value: value is None or type(value) is bool,
}


def run_options(args: argparse.Namespace, checkpoint: Any) -> dict[str, Any]:
    """The options of a new run, those of :data:`DEFAULTS` and every field of its recipe; or those of a checkpoint.

    On a resume the command line may repeat what the run began with, and say where the data has moved to.
    Raises ValueError where it says anything else, or where a new run lacks data or a network.
    """
    from ..training import Recipe, recipe

    details = [field.name for field in fields(Recipe)]
    given = {name: getattr(args, name) for name in (*DEFAULTS, *details) if getattr(args, name) is not None}
    if checkpoint:
        saved = checked(checkpoint.state.about, args.out)
        moved = {name: given.pop(name) for name in ("data", "test") if name in given}  # a fingerprint guards the data
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
    if options["data"] is None or not (options["model"] or options["weights"]):
        raise ValueError(
            "give --data PATH, and --model NAME or --weights FILE"
            + (f" ({args.out} holds no run to resume)" if args.resume else "")
        )
    changes = {name: options[name] for name in details if name in options}
    return {**options, **vars(recipe(options["recipe"], **changes))}


def checked(options: dict[str, Any], folder: str) -> dict[str, Any]:
    """The options in the checkpoint of ``folder``.  Raises WeightsError; the values of its recipe are checked there."""
    from ..formats.errors import WeightsError, quoted
    from ..training import Recipe
    from ..training.recipes import ADDED_LATER

    options = {**ADDED_LATER, **options}
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
