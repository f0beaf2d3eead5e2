"""export_weights: writes weights under another library's names, where it computes the same numbers with them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..formats.atomic import atomic_write
from ..formats.errors import WeightsError, checked_path, error_context
from ..models import FAMILY, Spec, details
from ..nn import BatchNorm2d
from .keys.huggingface import huggingface_name
from .keys.keras_write import write_keras
from .metadata import changes_since_built, model_metadata
from .save import save_weights

RENAME: dict[str, Callable[[str], str]] = {
    "torchvision": str,
    "paper": str,
    "caffe": str,
    "timm": str,
    "huggingface": huggingface_name,
    "pytorch-tutorial": lambda key: key.replace(".downsample.", ".identity_downsample."),
}


def export_weights(model: Any, path: str | os.PathLike[str], dialect: str) -> Path:
    """Write ``model`` for the library of ``dialect``: .h5 for Keras, .pth or .safetensors for the others.

    Raises WeightsError where that library would compute other numbers with these weights, and says why.
    """
    path = checked_path(path)
    with error_context(path):
        if getattr(model, "spec", None) is None:
            raise WeightsError("only a model of create_model or load_model is written for another library")
        refuse_other_numbers(model.spec, dialect)
        refuse_changed_layers(model, dialect)
        if dialect == "keras":
            if path.suffix != ".h5":
                raise WeightsError("Keras loads these arrays from an .h5 file; change the suffix")
            with atomic_write(path) as file:
                write_keras(file, model, model_metadata(model))
            return path
        if dialect not in RENAME:
            raise WeightsError(f"the layers of {dialect!r} have no names of their own to write under; leave out --to")
    renamed = {RENAME[dialect](key): array for key, array in model.state_dict().items()}
    return save_weights(renamed, path, metadata=model_metadata(model))


def refuse_other_numbers(spec: Spec, dialect: str) -> None:
    """The details that enter the scores must be those of the other dialect."""
    if dialect == spec.dialect:
        return
    defaults = FAMILY[spec.name].defaults
    try:
        here = details(spec.name, spec.dialect, **{**defaults, **spec.options})
        there = details(spec.name, dialect, **defaults)
    except ValueError as error:
        raise WeightsError(str(error)) from None
    other = [
        f"{field} is {getattr(here, field)!r} here and {getattr(there, field)!r} there" for field in here.differs(there)
    ]
    if other:
        raise WeightsError(
            f"a {spec.name} of {dialect} computes other numbers with these weights: {'; '.join(other)} "
            f"(npresnet diff {spec.dialect} {dialect} --model {spec.name} explains)"
        )


def refuse_changed_layers(model: Any, dialect: str) -> None:
    """The other library builds its own layers, and not those that were changed here."""
    spec, plain = model.spec, model.copy()
    usual = details(spec.name, spec.dialect, **{**FAMILY[spec.name].defaults, **spec.options})
    for norm in plain.modules():
        if isinstance(norm, BatchNorm2d):  # what no score depends on does not count
            norm.momentum, norm.unbiased, norm.frozen = usual.momentum, usual.unbiased, False
    paths = [change["path"] for change in changes_since_built(plain).get("changes", ())]
    if paths:
        raise WeightsError(
            f"{dialect} would build these layers otherwise than they are now: {', '.join(paths[:6])}"
            + (", …" if len(paths) > 6 else "")
            + "; leave out --to"
        )
