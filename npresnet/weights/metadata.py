"""What save_weights writes beside the arrays: one JSON text, under the key "npresnet"."""

import json
from dataclasses import asdict, is_dataclass

from .bounds import parse_json
from .errors import WeightsError

KEY, VERSION = "npresnet", 1


def model_metadata(model) -> dict[str, str]:
    """How ``model`` was built, how its images are prepared and what its classes are called.

        {"version": 1, "spec": {"name": "resnet50", "num_classes": 1000, …}, "preprocessing": "imagenet-v1",
         "classes": ["tench", …] or null}

    Nothing for a model that was not built by name.  Raises WeightsError where nobody could use what it says.
    """
    spec = getattr(model, "spec", None)
    if spec is None:
        return {}
    recipe = getattr(model, "preprocessing", None)
    classes = getattr(model, "classes", None)
    check_recipe(recipe)
    check_classes(classes, spec.num_classes)
    return {KEY: json.dumps({
        "version": VERSION,
        "spec": json.loads(spec.to_json()),
        "preprocessing": asdict(recipe) if is_dataclass(recipe) else recipe,
        "classes": None if classes is None else list(classes),
    }, sort_keys=True, ensure_ascii=False)}


def check_recipe(recipe):
    if recipe is None:
        return
    from ..data import recipe_of  # brings Pillow
    try:
        recipe_of(recipe)
    except ValueError as error:
        raise WeightsError(f"model.preprocessing: {error}") from None


def check_classes(classes, count):
    if classes is None:
        return
    if isinstance(classes, str) or not names_of_each(list(classes), count):
        raise WeightsError(f"model.classes must be None or {count} names, one for each class")


def parse_metadata(text) -> dict:
    """The fields of that JSON text, their types checked: a file may hold anything."""
    fields = parse_json(text, f"the metadata under {KEY!r}")
    if type(fields) is not dict or fields.get("version") != VERSION:
        raise WeightsError(f"the metadata under {KEY!r} is not of version {VERSION}; a newer npresnet wrote it")
    if not valid(fields):
        raise WeightsError(f"the metadata under {KEY!r} does not describe a model")
    return fields


def valid(fields):
    spec, recipe, classes = (fields.get(key) for key in ("spec", "preprocessing", "classes"))
    wanted = {"name": str, "num_classes": int, "in_channels": int, "dialect": str, "options": dict}
    return (type(spec) is dict and spec.keys() == wanted.keys()
            and all(type(spec[key]) is kind for key, kind in wanted.items())
            and all(type(value) in (str, int, float, bool) for value in spec["options"].values())
            and (recipe is None or type(recipe) in (str, dict))
            and (classes is None or (type(classes) is list and names_of_each(classes, spec["num_classes"]))))


def names_of_each(classes, count):
    """Whether a list has a text for each of so many classes."""
    return len(classes) == count and all(isinstance(name, str) for name in classes)
