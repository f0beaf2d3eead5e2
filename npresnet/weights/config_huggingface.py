"""Hugging Face's configuration of a ResNet [C] and of the preparation of its images [P].

[C] https://github.com/huggingface/transformers, models/resnet/configuration_resnet.py and modeling_resnet.py
[P] … models/convnext/image_processing_convnext.py, which microsoft/resnet-50 and its like name
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..formats.errors import WeightsError
from ..models.dialects import ACTIVATIONS
from ..models.published import PUBLISHED_FOR
from ..models.structure import Shapes, measure
from .config_fields import agree, class_names, field, numbers, shown
from .recognition import Recognition

if TYPE_CHECKING:
    from ..data import Preprocessing

RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
WARPED = 384  # from this size on [P] stretches an image to a square instead of cropping one


def is_huggingface(config: Mapping[str, Any]) -> bool:
    """Whether it is of a ResNet of Hugging Face's."""
    return config.get("model_type") == "resnet" and "architecture" not in config


def with_huggingface(
    found: Recognition, config: Mapping[str, Any], preprocessor: Mapping[str, Any], shapes: Shapes
) -> Recognition:
    """``found`` with what the two configurations say."""
    check_sizes(config, shapes)
    strided = strides_of_first_stage(config) if field(config, "downsample_in_first_stage", False) else ()
    prepared, notes = preprocessing(preprocessor)
    return replace(
        found,
        dialect="huggingface" if found.name in PUBLISHED_FOR["huggingface"] else found.dialect,
        options=dict(found.options) | details_of(config),
        changes=(*found.changes, *strided),
        classes=class_names(field(config, "id2label", {}), found.num_classes),
        preprocessing=prepared,
        source="config",
        alternatives=(),
        notes=tuple(notes),
    )


def details_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the configuration says and no array shows."""
    options: dict[str, Any] = {}
    if field(config, "downsample_in_bottleneck", False) and field(config, "layer_type", "bottleneck") == "bottleneck":
        options["stride_on"] = "1x1"
    said = field(config, "hidden_act", "relu")
    activation = {"swish": "silu"}.get(said, said)
    if activation not in ACTIVATIONS:
        raise WeightsError(f"says the activation {shown(said)}; there are {', '.join(ACTIVATIONS)}")
    if activation != "relu":  # behind the stem and the sums; inside the branches [C] leaves a ReLU
        options |= {"activation": activation, "branch_activation": "relu"}
    return options


def strides_of_first_stage(config: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """The layers of the first stage that stride by 2 and in the family by 1, as changes.py has them."""
    basic = field(config, "layer_type", "bottleneck") == "basic"
    first = "conv1" if basic or field(config, "downsample_in_bottleneck", False) else "conv2"
    padding = {first: 0 if first == "conv1" and not basic else 1, "downsample.0": 0}
    return tuple(
        {
            "path": f"layer1.0.{path}",
            "class": "Conv2d",
            "options": {"stride": 2, "padding": sides, "dilation": 1, "groups": 1},
        }
        for path, sides in padding.items()
    )


def check_sizes(config: Mapping[str, Any], shapes: Shapes) -> None:
    """Raise WeightsError unless the arrays have the sizes that the configuration says."""
    stem, (structure, width) = shapes.get("conv1.weight", (0, 0)), measure(shapes)
    sizes = tuple(width * structure.expansion * 2**stage for stage in range(len(structure.depths)))
    agree("num_channels", field(config, "num_channels", 3), stem[1])
    agree("embedding_size", field(config, "embedding_size", 64), stem[0])
    agree("depths", numbers(config, "depths", (3, 4, 6, 3)), structure.depths)
    agree("hidden_sizes", numbers(config, "hidden_sizes", (256, 512, 1024, 2048)), sizes)
    kind = "bottleneck" if structure.expansion == 4 else "basic"
    agree("layer_type", field(config, "layer_type", "bottleneck"), kind)
    names = field(config, "id2label", {})
    if names and "fc.weight" in shapes:
        agree("the number of labels", len(names), shapes["fc.weight"][0])


def preprocessing(config: Mapping[str, Any]) -> "tuple[Preprocessing | None, list[str]]":
    """(what preprocessor_config.json says, notes); None for the library's usual one."""
    if not config:
        return None, []
    try:
        return described(config)
    except (ValueError, TypeError, KeyError, ZeroDivisionError, OverflowError) as error:
        return None, [
            f"preprocessor_config.json cannot be followed ({shown(str(error))}); images are prepared as usual"
        ]


def described(config: Mapping[str, Any]) -> "tuple[Preprocessing, list[str]]":
    """The work of preprocessing(); raises where a field is no such field or cannot be followed."""
    from ..data.preprocessing import Preprocessing  # brings Pillow, which is needed here only

    resize, crop, notes = sides(config)
    mean, std = config.get("image_mean") or [0.485, 0.456, 0.406], config.get("image_std") or [0.229, 0.224, 0.225]
    if config.get("do_normalize") is False:
        mean, std = [0.0] * 3, [1.0] * 3
    factor = config.get("rescale_factor", 1 / 255)
    rescaled = config.get("do_rescale", True)
    if rescaled and abs(float(factor) - 1 / 255) > 1e-6:
        raise ValueError(f"rescale_factor {factor}")
    resample = RESAMPLING.get(config.get("resample", 3))
    if resample is None:
        raise ValueError(f"resample {config['resample']}")
    scale = "unit" if rescaled else "caffe"
    return Preprocessing(resize, crop, tuple(mean), tuple(std), scale=scale, interpolation=resample), notes


def sides(config: Mapping[str, Any]) -> tuple[int | None, int | None, list[str]]:
    """(shorter side after resizing, side of the crop, notes)"""
    side = edge(config.get("size", 224))
    crop = edge(config["crop_size"]) if config.get("do_center_crop") and config.get("crop_size") else None
    if config.get("do_resize") is False:
        return None, crop, []
    if crop:
        return side, crop, []
    if config.get("crop_pct") and side < WARPED:
        return int(side / config["crop_pct"]), side, []
    return side, side, ["its images were stretched to a square; here the middle is cropped"]


def edge(size: Any) -> int:
    """The side that {"shortest_edge": 224}, {"height": 224, "width": 224} or 224 means."""
    if type(size) is dict:
        sides = {size[name] for name in ("shortest_edge", "height", "width") if size.get(name)}
        size = sides.pop() if len(sides) == 1 else size
    if type(size) is not int:
        raise ValueError(f"size {size}")
    return size
