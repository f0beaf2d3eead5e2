"""What save_weights writes beside the arrays: one JSON text, under the key "npresnet"."""

import json
from dataclasses import asdict, is_dataclass
from typing import Any, cast

import numpy as np

from ..formats.errors import WeightsError
from ..formats.stream import parse_json
from ..formats.tensors import KEY
from ..models import build, rebuild
from ..models.changes import changes, refuse_shared
from ..nn import placeholders

PLAIN, CHANGED = 1, 2  # versions: a network as it was built, and one that was changed afterwards


def model_metadata(model: Any) -> dict[str, str]:
    """How ``model`` was built, how its images are prepared and what its classes are called.

        {"version": 1, "spec": {"name": "resnet50", "num_classes": 1000, …}, "preprocessing": "imagenet-v1",
         "classes": ["tench", …] or null}

    A network that was changed after it was built has version 2, and beside these

        {"changes": [{"path": "maxpool", "class": "Identity", "options": {}}, …], "frozen": ["conv1.weight", …]}

    Nothing for a model that was not built by name.  Raises WeightsError where the loaded model would
    differ from this one.
    """
    spec = getattr(model, "spec", None)
    if spec is None:
        return {}
    preprocessing = getattr(model, "preprocessing", None)
    classes = getattr(model, "classes", None)
    check_preprocessing(preprocessing)
    check_classes(classes, spec.num_classes)
    changed = changes_since_built(model)
    return {
        KEY: json.dumps(
            {
                "version": CHANGED if changed else PLAIN,
                "spec": json.loads(spec.to_json()),
                "preprocessing": asdict(cast(Any, preprocessing)) if is_dataclass(preprocessing) else preprocessing,
                "classes": None if classes is None else list(classes),
                **changed,
            },
            sort_keys=True,
            ensure_ascii=False,
        )
    }


def changes_since_built(model: Any) -> dict[str, list[Any]]:
    """{"changes", "frozen"}, or nothing: how ``model`` differs from the network that its spec builds."""
    spec = model.spec
    try:
        refuse_shared(model)
        with placeholders():
            built = build(
                spec.name, spec.num_classes, in_channels=spec.in_channels, dialect=spec.dialect, **spec.options
            )
        changed = list(changes(model, built))
        frozen = [key for key, parameter in model.named_parameters() if not parameter.trainable]
        if changed:
            shapes = {key: np.shape(array) for key, array in model.state_dict().items()}
            with placeholders():
                again = rebuild(spec, shapes, changed, frozen)
            if list(changes(model, again)) or list(again.state_dict()) != list(shapes):
                raise ValueError("its changed layers cannot be described")
    except ValueError as error:
        raise WeightsError(f"{error}; save_weights(model.state_dict(), path) writes the arrays alone") from None
    return {"changes": changed, "frozen": frozen} if changed or frozen else {}


def check_preprocessing(preprocessing: Any) -> None:
    """Raise WeightsError unless it is a preset's name, a Preprocessing or None."""
    if preprocessing is None:
        return
    from ..data import preprocessing_of  # brings Pillow

    try:
        preprocessing_of(preprocessing)
    except ValueError as error:
        raise WeightsError(f"model.preprocessing: {error}") from None


def check_classes(classes: Any, count: int) -> None:
    """Raise WeightsError unless it is None or one name for each class."""
    if classes is None:
        return
    if not isinstance(classes, (list, tuple)) or not names_of_each(list(classes), count):
        raise WeightsError(f"model.classes must be None or {count} names, one for each class")


def parse_metadata(text: str) -> dict[str, Any]:
    """The fields of that JSON text, their types checked: a file may hold anything.  Raises WeightsError."""
    fields = parse_json(text, f"the metadata under {KEY!r}")
    if type(fields) is not dict or fields.get("version") not in (PLAIN, CHANGED):
        raise WeightsError(
            f"the metadata under {KEY!r} is of no version from {PLAIN} to {CHANGED}; a newer npresnet "
            "wrote it: update npresnet, or load its arrays alone, dict(read_weights(path))"
        )
    if not valid(fields):
        raise WeightsError(
            f"the metadata under {KEY!r} does not describe a model; load its arrays alone, dict(read_weights(path))"
        )
    return fields


def valid(fields: dict[str, Any]) -> bool:
    return describes_a_model(fields) and (
        fields["version"] == PLAIN
        or (
            type(fields.get("changes")) is list
            and type(fields.get("frozen")) is list
            and all(type(key) is str for key in fields["frozen"])
        )
    )


def describes_a_model(fields: dict[str, Any]) -> bool:
    spec, preprocessing, classes = (fields.get(key) for key in ("spec", "preprocessing", "classes"))
    wanted = {"name": str, "num_classes": int, "in_channels": int, "dialect": str, "options": dict}
    return (
        type(spec) is dict
        and spec.keys() == wanted.keys()
        and all(type(spec[key]) is kind for key, kind in wanted.items())
        and all(map(is_option, spec["options"].values()))
        and (preprocessing is None or type(preprocessing) in (str, dict))
        and (classes is None or (type(classes) is list and names_of_each(classes, spec["num_classes"])))
    )


def is_option(value: Any) -> bool:
    """Whether it may be the value of an option: plain, or a few whole numbers, the depths of the stages."""
    if type(value) is list:
        return len(value) <= 6 and all(type(part) is int for part in value)
    return type(value) in (str, int, float, bool)


def names_of_each(classes: list[Any], count: int) -> bool:
    """Whether a list has a text for each of so many classes."""
    return len(classes) == count and all(isinstance(name, str) for name in classes)
