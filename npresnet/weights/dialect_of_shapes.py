"""The dialect and its options, as far as a checkpoint's keys and shapes show them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..formats.errors import WeightsError
from ..formats.keras import CONFIG, ends_in_scores
from ..models import FAMILY, details
from ..models.dialect_rules import SIZES
from ..models.published import PUBLISHED_FOR
from ..models.squeeze import squeezed_channels
from ..models.structure import Shapes
from .recognition import Recognition

TUTORIALS = ("keras-tutorial-a", "keras-tutorial-b")


def deep_stem(shapes: Shapes) -> bool:
    """Whether the stem is of three convolutions."""
    return "conv1.6.weight" in shapes and len(shapes.get("conv1.0.weight", ())) == 4


def in_dialect(found: Recognition, shapes: Shapes, dialect: str, metadata: Mapping[str, str]) -> Recognition:
    """``found``, made from shapes, in the dialect of the keys, with the options that are not its usual ones."""
    seen = dict(found.options) | stem_and_gates(shapes)
    timm = {"stem_width", "avg_down", "squeeze", "attention"} & seen.keys() and found.name in PUBLISHED_FOR["timm"]
    if dialect == "torchvision":
        dialect = "timm" if timm else dialect
    if dialect == "torchvision":
        bias = ("dialect='caffe', whose first convolution has a bias too",) * ("stem_bias" in seen)
        return replace(found, options=seen, alternatives=found.alternatives + bias)
    if dialect == "caffe":
        seen.setdefault("stem_bias", "conv1.bias" in shapes)
    if dialect == "keras":  # its biases are its own, V1 has others than V2
        seen.pop("conv_bias", None)
        seen.pop("stem_bias", None)
    if metadata.get(CONFIG) and ends_in_scores(metadata[CONFIG]) is not None:
        seen["softmax"] = not ends_in_scores(metadata[CONFIG])
    try:
        usual = details(found.name, dialect)
    except ValueError as error:
        raise WeightsError(str(error)) from None
    if not usual.normed_stem:  # a bare stem has none anyway
        seen.pop("stem_norm", None)
    options = {field: value for field, value in seen.items() if getattr(usual, field, None) != value}
    alternatives = found.alternatives if dialect in ("timm", "huggingface", "pytorch-tutorial") else ()
    return replace(found, dialect=dialect, options=options, preprocessing=None, alternatives=alternatives)


def in_published_dialect(found: Recognition) -> Recognition:
    """``found``, of which all is known, in the dialect of a tutorial where that gives its scores."""
    theirs = details(found.name, found.dialect, **{**FAMILY[found.name].defaults, **found.options})
    sizes = {name: value for name, value in found.options.items() if name in SIZES}
    for name in TUTORIALS if found.dialect == "torchvision" else ():
        if found.name in PUBLISHED_FOR[name] and not theirs.differs(details(found.name, name)):
            chosen = {field: value for field, value in vars(theirs).items() if field not in ("name", "preprocessing")}
            return replace(found, dialect=name, preprocessing=None).with_options(sizes | chosen)
    return found.with_options(found.options)


def stem_and_gates(shapes: Shapes) -> dict[str, Any]:
    """The details of stem, strided shortcuts and gates that show in the shapes."""
    seen: dict[str, Any] = {}
    if deep_stem(shapes):
        first, second = (int(shapes[f"conv1.{i}.weight"][0]) for i in (0, 3))
        seen |= {"stem": "deep" if first == second else "tiered", "stem_width": second}
    bare = any(key.endswith(("conv2.bias", "conv3.bias")) for key in shapes)
    if "conv1.bias" in shapes and "layer1.0.conv1.bias" not in shapes and not bare:
        seen["stem_bias"] = True
    if len(shapes.get("layer2.0.downsample.1.weight", ())) == 4:
        seen["avg_down"] = True
    gates = [shape[:2] for key, shape in shapes.items() if key.endswith(".se.fc1.weight")]
    if gates:
        seen["squeeze"] = True
        squeezed, channels = max(gates, key=lambda gate: gate[1])
        usual = all(squeezed == squeezed_channels(channels) for squeezed, channels in gates)
        seen |= {} if usual else {"squeeze_ratio": squeezed / channels}
    if "layer1.0.se.conv.weight" in shapes:
        seen["attention"] = "eca"
    if "maxpool.0.weight" in shapes:
        seen |= {"pool": "conv"} | ({"antialias": "blur"} if "maxpool.2.weight" in shapes else {})
    return seen
