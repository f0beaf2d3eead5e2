"""What the configurations beside the weights say of their network: Hugging Face's and timm's.

A Checkpoint's metadata hold the texts "config.json" and "preprocessor_config.json" where they lie beside its file.
They say what no array shows (where the stride sits, which activation, how images are prepared, the classes' names);
of what the arrays do show they must say the same.
"""

from collections.abc import Mapping
from typing import Any

from ..formats.errors import WeightsError, error_context
from ..formats.stream import parse_json
from ..models.structure import Shapes
from .config_huggingface import is_huggingface, with_huggingface
from .config_timm import is_timm, with_timm
from .recognition import Recognition


def with_config(found: Recognition, metadata: Mapping[str, str], shapes: Shapes) -> Recognition:
    """``found``, made from shapes, with what the configurations say.  Raises WeightsError where the two contradict."""
    with error_context("config.json"):
        config = parsed(metadata, "config.json")
        if is_huggingface(config):
            return with_huggingface(found, config, parsed(metadata, "preprocessor_config.json"), shapes)
        if is_timm(config):
            return with_timm(found, config, shapes)
    return found


def says_group_norms(metadata: Mapping[str, str]) -> bool:
    """Whether a configuration names a network with group norms, which hold no statistics."""
    name = parsed(metadata, "config.json").get("architecture")
    return type(name) is str and name.split(".")[0].endswith("_gn")


def parsed(metadata: Mapping[str, str], name: str) -> dict[str, Any]:
    """The fields of a configuration; none where there is none, or where it is another program's."""
    text = metadata.get(name)
    try:
        fields = parse_json(text, name) if text else {}
    except WeightsError:
        return {}
    return fields if type(fields) is dict else {}
