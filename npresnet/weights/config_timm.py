"""timm's configuration [T]: the name of the architecture and how its images are prepared.

[T] https://github.com/huggingface/pytorch-image-models, timm/models/_hub.py and timm/models/resnet.py
"""

import math
import re
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

NAME = re.compile(
    r"(?:tv_|gluon_|ssl_|swsl_|ig_)?(?:wide_)?(?P<gate>se|eca|)(?:resnet|resnext)(?P<pool>aa|blur|rs|)(?P<depth>\d{2,3})"
    r"(?P<stem>[cdst]?)(?P<norm>_gn|)(?:_v1[bcdse])?(?:_\d+x\d+d)?(?:_2)?(?:_pruned)?"
)
DEPTHS = {  # layers: blocks in each stage
    10: (1, 1, 1, 1),
    14: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    26: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    269: (3, 30, 48, 8),
}
SHOWN = ("layers", "cardinality", "base_width", "stem_type", "stem_width", "avg_down", "replace_stem_pool")  # by arrays
HARMLESS = ("in_chans", "num_classes", "drop_rate", "drop_path_rate", "drop_block_rate", "zero_init_last", "pretrained")
ARGUMENTS: dict[str, tuple[str, dict[Any, Any]]] = {  # the builder's: our option, and our value for each
    "act_layer": ("activation", {name: name for name in ACTIVATIONS} | {"swish": "silu"}),
    "output_stride": ("output_stride", {8: 8, 16: 16, 32: 32}),
    "global_pool": ("global_pool", {"avg": "avg"}),
}
USUAL = {"activation": "relu", "output_stride": 32, "global_pool": "avg"}


def is_timm(config: Mapping[str, Any]) -> bool:
    """Whether it names an architecture, as timm's does."""
    return type(config.get("architecture")) is str and ("pretrained_cfg" in config or "num_classes" in config)


def with_timm(found: Recognition, config: Mapping[str, Any], shapes: Shapes) -> Recognition:
    """``found`` with what the configuration says."""
    name = config["architecture"].split(".")[0]
    cfg = field(config, "pretrained_cfg", {}) or config  # before 2023 all fields stood side by side
    agree("num_classes", config.get("num_classes", cfg.get("num_classes", found.num_classes)), found.num_classes)
    said = NAME.fullmatch(name)
    options = dict(found.options)
    if said:
        check_name(said, config, shapes)
        options |= {"aa": {"antialias": "average"}, "blur": {"antialias": "blur"}}.get(said["pool"], {})
    options |= arguments(config)
    prepared, notes = preprocessing(cfg)
    if not said:
        notes += found.notes
        notes.append(f"config.json names the architecture {shown(name)}, of which nothing else is known here")
    known = found.dialect == "torchvision" and found.name in PUBLISHED_FOR["timm"]
    return replace(
        found,
        dialect="timm" if known else found.dialect,
        options=options,
        preprocessing=prepared,
        classes=classes(config, cfg, found.num_classes),
        dataset="imagenet" if found.num_classes == 1000 and str(cfg.get("tag")).endswith("in1k") else None,
        source="config",
        alternatives=() if said else found.alternatives,
        notes=tuple(notes),
    )


def check_name(said: re.Match[str], config: Mapping[str, Any], shapes: Shapes) -> None:
    """Raise WeightsError unless the arrays are of the architecture with that name."""
    asked = numbers(field(config, "model_args", {}), "layers", ())
    blocks = asked or (DEPTHS.get(int(said["depth"])) if said["pool"] != "rs" else None)
    if blocks:
        agree(f"{said.string}, of the blocks", blocks, measure(shapes)[0].depths)
    deep = said["stem"] or said["pool"] == "rs" or re.search("_v1[cdes]", said.string)
    agree("a stem of", 3 if deep else 1, 3 if "conv1.6.weight" in shapes else 1)


def arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options for which the builder's arguments stand.  Raises WeightsError for others that change the scores."""
    given = {"global_pool": field(config, "global_pool", "avg"), **field(config, "model_args", {})}
    options, others = {}, []
    for name, value in given.items():
        option, values = ARGUMENTS.get(name, (name, {}))
        if value in (None, False) or name in HARMLESS + SHOWN:
            continue
        if type(value) in (str, int) and value in values:
            options[option] = values[value]
        else:
            others.append(f"{name}={shown(value)}")
    if others:
        raise WeightsError(f"builds the network with {', '.join(others[:4])}, which is not built here")
    return {name: value for name, value in options.items() if USUAL.get(name) != value}


def classes(config: Mapping[str, Any], cfg: Mapping[str, Any], count: int) -> tuple[str, ...] | None:
    """The names of the classes, described where the configuration does."""
    either = {**cfg, **config}
    names = class_names(either.get("label_names", either.get("labels")), count)
    described = either.get("label_descriptions")
    if not names or type(described) is not dict:
        return names
    return tuple(text if type(text := described.get(name)) is str else name for name in names)


def preprocessing(cfg: Mapping[str, Any]) -> "tuple[Preprocessing | None, list[str]]":
    """(what pretrained_cfg says, notes); None for the library's usual one."""
    from ..data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing  # brings Pillow

    if "input_size" not in cfg and "mean" not in cfg:
        return None, []
    try:
        _, side, width = cfg.get("input_size") or (3, 224, 224)
        if side != width or (cfg.get("crop_mode") or "center") != "center":
            raise ValueError(f"crop {cfg.get('crop_mode')} of {side}x{width}")
        resize = math.floor(side / (cfg.get("crop_pct") or 0.875))
        mean, std = tuple(cfg.get("mean") or IMAGENET_MEAN), tuple(cfg.get("std") or IMAGENET_STD)
        return Preprocessing(resize, side, mean, std, interpolation=cfg.get("interpolation") or "bilinear"), []
    except (ValueError, TypeError, ZeroDivisionError, OverflowError) as error:
        return None, [f"pretrained_cfg cannot be followed ({shown(str(error))}); images are prepared as usual"]
