"""What npresnet train prints and writes around a run: its recipe, its images, its epochs, its evaluation."""

import argparse
import os
import shutil
from typing import Any

from ..printer import note, say, say_json
from .progress import progress
from .run_options import choose_recipe


def announce(args: argparse.Namespace, options: dict[str, Any], recipe: Any, checkpoint: Any) -> None:
    """Print the effective recipe."""
    from ..training.recipe_text import recipe_lines

    name, began = options["recipe"], checkpoint and checkpoint.state.about["epochs"]
    reason = "" if args.recipe or checkpoint else f", as {choose_recipe(options)[1]}"
    width = shutil.get_terminal_size().columns - 1
    note(f"recipe {name}{reason}", *recipe_lines(recipe, name, width))
    if began and began != recipe.epochs:
        note(f"the run began with {began} epochs: from here on its learning rate is that of a run of {recipe.epochs}")


def loggers(args: argparse.Namespace) -> list[Any]:
    """What else hears of each epoch."""
    from ..training.callbacks import JsonLines
    from ..training.tensorboard import FOLDER, TensorBoard

    folder = os.path.join(args.out, FOLDER)
    found: list[Any] = []
    if args.tensorboard or os.path.isdir(folder):
        found.append(TensorBoard(folder))
    return found + [JsonLines()] * args.jsonl


def split_text(trainer: Any) -> str:
    """How many images are trained on and how many are held out, of which classes none."""
    held = trainer.validation
    lost = sorted(set(trainer.train.classes) - {held.classes[k] for k in held.labels}) if held else []
    return (
        f"{len(trainer.train)} images to train on, in {len(trainer.batches)} steps an epoch; "
        f"{len(held) if held else 0} held out"
    ) + (f", none of {', '.join(lost[:5])}{', …' if len(lost) > 5 else ''}" if lost else "")


def counted(images: Any, most: int = 10) -> str:
    """The classes and how many images each has: "2 classes: cat 40, dog 38"."""
    import numpy as np

    counts = np.bincount(images.labels, minlength=len(images.classes))
    named = [f"{name} {count}" for name, count in zip(images.classes[:most], counts)]
    return f"{len(counts)} classes: {', '.join(named)}{', …' if len(counts) > most else ''}"


def finish(args: argparse.Namespace, options: dict[str, Any], trainer: Any, test: Any, ranks: Any) -> int:
    """Evaluate the best weights, once, and write the report."""
    from ..training.checkpoint import BEST
    from ..training.evaluate import as_lines, evaluate, write_report
    from ..weights import load_weights, read_weights

    model, best = trainer.inference_model(), os.path.join(args.out, BEST)
    load_weights(model, ranks.broadcast(lambda: read_weights(best)))
    if trainer.recipe.precision == "int8":
        model, best = fast_integers(best)
    part, images = ("test", test) if test else ("held-out training", trainer.validation or trainer.train)
    with progress(f"evaluating the best weights on the {part} images") as show:
        result = evaluate(model, images, show, ranks)
    if ranks.rank:
        return 0
    pictures = f"{part} pictures"  # the word that programs know it by
    written = write_report(trainer.history, result, args.out, weights=best, pictures=pictures, run=options)
    if args.json or args.jsonl:
        say_json({"weights": best, "pictures": pictures, **result}, indent=None if args.jsonl else 2)
    else:
        first, *rest = as_lines(result)
        say(f"{best} on {part} images: {first}", *rest)
        say(f"{', '.join(written)} written into {args.out}")
    return 0


def fast_integers(best: str) -> tuple[Any, str]:
    """(the integer network beside the weights at ``best``, on the engine; its file)."""
    from types import SimpleNamespace

    import numpy as np

    from ..engine import optimize
    from ..quantized import load_quantized
    from ..training.quantized import quantized_name

    path = str(quantized_name(best))
    network = load_quantized(path)
    about = {"namespace": np, "dtype": np.dtype(np.float32), "preprocessing": network.preprocessing}
    return SimpleNamespace(**about, logits=optimize(network).logits), path
