"""A recipe in words: what a run prints at its start, and what the help says of each named recipe."""

from collections.abc import Callable
from dataclasses import fields
from textwrap import wrap
from typing import Any

from .published import notes_on
from .recipes import RECIPES, Recipe

Phrase = Callable[[Any], str]
FROZEN = {"nothing": "all layers", "norm": "all layers but batch norms", "trunk": "the last layer alone"}


def number(text: str) -> Phrase:
    """Words for a field that is off where it is 0."""
    return lambda value: text.format(value) if value else ""


def named(text: str) -> Phrase:
    """Words for a field that is off where it is "none"."""
    return lambda name: "" if name == "none" else text.format(name)


TOPICS: dict[str, dict[str, Phrase]] = {  # topic: {field: its words}
    "epochs": {"epochs": str},
    "batch": {
        "batch_size": "{} images".format,
        "accumulate": lambda parts: f"in {parts} parts" if parts > 1 else "",
        "sync_batch_norm": lambda shared: "" if shared else "statistics of each rank's own share",
    },
    "rate": {
        "lr": "{:g}".format,
        "schedule": str,
        "warmup": number("{:g} epochs of warm-up"),
        "warmup_start": "from {:g} of it".format,
    },
    "optimiser": {
        "optimizer": str,
        "momentum": number("momentum {:g}"),
        "nesterov": number("Nesterov"),
        "weight_decay": number("weight decay {:g}"),
        "decay_all": lambda everything: "" if everything else "not of norms and biases",
        "clip": number("gradients of norm {:g} at most"),
        "average": number("weights averaged with {:g}"),
    },
    "loss": {"loss": str, "label_smoothing": number("labels smoothed by {:g}")},
    "augmentation": {
        "augment": named("{}"),
        "train_side": number("to {} pixels"),
        "policy": named("policy {}"),
        "erase": number("erasing {:g}"),
        "jitter": number("colour jitter {:g}"),
        "mixup": number("mixup {:g}"),
        "cutmix": number("cutmix {:g}"),
    },
    "prediction": {"preprocessing": lambda name: f"images prepared as {name or 'the network says'}"},
    "held out": {
        "held_out": lambda part: f"{100 * part:g} % of the images" if 0 < part < 1 else number("{:g} images")(part)
    },
    "trained": {"freeze": FROZEN.__getitem__},
    "precision": {
        "precision": str,
        "weight_bits": lambda bits: f"weights of {bits} bits" if bits < 8 else "",
        "half_sums": lambda half: "gradients sent in 16 bits" if half else "",
    },
}
FOR_SGD = {"momentum", "nesterov"}  # fields that nothing but sgd reads
SHOWN = ("epochs", "batch", "rate", "optimiser", "augmentation", "held out")  # topics that the help always shows


def in_words(recipe: Recipe) -> dict[str, str]:
    """{topic: its values in words}, "none" where all of them are off.

    Fields of no topic stand under "further", where they are not at their default.
    """
    unread = FOR_SGD if recipe.optimizer != "sgd" else set()
    unread = unread if recipe.warmup else unread | {"warmup_start"}
    lines = {
        topic: [say(getattr(recipe, name)) for name, say in phrases.items() if name not in unread]
        for topic, phrases in TOPICS.items()
    }
    told = {name for phrases in TOPICS.values() for name in phrases}
    rest = [field for field in fields(Recipe) if field.name not in told]
    further = [f"{field.name} {value}" for field in rest if (value := getattr(recipe, field.name)) != field.default]
    lines |= {"further": further} if further else {}
    return {topic: ", ".join(filter(None, words)) or "none" for topic, words in lines.items()}


def recipe_lines(recipe: Recipe, name: str, width: int = 80) -> list[str]:
    """The recipe as aligned lines; a star marks what differs from the one called ``name``, whose value follows."""
    ours, named = in_words(recipe), in_words(RECIPES[name]) if name in RECIPES else {}
    lines, indent = [], 2 + max(map(len, ours))
    for topic, words in ours.items():
        changed = named and words != named.get(topic)
        text = f"{words} ({name}: {named.get(topic, 'none')})" if changed else words
        first = f"{'*' if changed else ' '} {topic:{indent}}"
        lines += wrap(text, width, initial_indent=first, subsequent_indent=" " * len(first))
    for text in notes_on(name, vars(recipe)):
        lines += wrap(text, width, initial_indent="  ", subsequent_indent="  ")
    return lines


def recipes_text(width: int = 78) -> str:
    """Every named recipe as a paragraph of text for the help, without what is the usual thing to do."""
    usual, lines = in_words(Recipe()), []
    for name, recipe in RECIPES.items():
        told = {
            topic: words for topic, words in in_words(recipe).items() if topic in SHOWN or words != usual.get(topic)
        }
        text = "; ".join(f"{topic}: {words}" for topic, words in told.items())
        text += "".join(f"; {note}" for note in notes_on(name, vars(recipe)))
        lines += [name, *wrap(text, width, initial_indent="  ", subsequent_indent="  ")]
    return "\n".join(lines)
