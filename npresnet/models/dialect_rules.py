"""What each detail of a dialect, and each size of a network, may be."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

CHOICES = {
    "norm": ("batch", "group"),
    "activation": ("relu", "leaky_relu", "gelu", "silu"),
    "branch_activation": ("same", "relu", "leaky_relu", "gelu", "silu"),
    "stride_on": ("3x3", "1x1"),
    "stride_in": ("first", "last"),
    "shortcut": ("A", "A-appended", "B", "B-leading", "C"),
    "padding": ("explicit", "same"),
    "stem": ("7x7", "5x5", "3x3", "deep", "tiered", "pool-first", "bare"),
    "projection_of": ("activated", "x"),
    "first_block": ("paper", "as-others"),
    "pool": ("padded", "ceil", "zeros", "same", "conv", "none"),
    "antialias": ("none", "average", "blur"),
    "attention": ("none", "se", "eca"),
}


class Kind(NamedTuple):
    """What a value may be, as a test and in words."""

    allows: Callable[[Any], bool]
    words: str


def whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


FLAG = Kind(lambda value: type(value) is bool, "True or False")
SHARE = Kind(lambda value: type(value) in (int, float) and 0 <= value <= 1, "a number from 0 to 1")
CHANNELS = Kind(lambda value: whole(value, 1, 2**16), "a whole number from 1 to 65536")
KINDS = {
    "eps": SHARE,
    "momentum": SHARE,
    "negative_slope": SHARE,
    "squeeze_ratio": SHARE,
    "norm_groups": CHANNELS,
    "stem_width": CHANNELS,
    "stem_stride": Kind(lambda value: value is None or whole(value, 1, 2), "1, 2, or None for the stem's own"),
    "output_stride": Kind(lambda value: type(value) is int and value in (8, 16, 32), "8, 16 or 32"),
    **dict.fromkeys(
        (
            "conv_bias",
            "final_norm",
            "unbiased",
            "stem_bias",
            "stem_norm",
            "avg_down",
            "squeeze",
            "relu_before_sum",
            "bare_bias",
            "softmax",
        ),
        FLAG,
    ),
}

DEPTHS = Kind(
    lambda value: type(value) is tuple and 1 <= len(value) <= 6 and all(whole(n, 1, 4096) for n in value),
    "up to 6 whole numbers from 1 to 4096, the blocks in each stage",
)
SIZES = {"depths": DEPTHS, "width": CHANNELS, "stem_channels": CHANNELS, "groups": CHANNELS, "base_width": CHANNELS}


def check_details(given: Mapping[str, Any]) -> None:
    """Raise ValueError where the value of a detail is none that it may have."""
    for field, allowed in CHOICES.items():
        if given[field] not in allowed:
            raise ValueError(f"{field}={given[field]!r}: use one of {', '.join(map(repr, allowed))}")
    check_kinds(given, KINDS)
    check_together(given)


def check_together(given: Mapping[str, Any]) -> None:
    """Raise ValueError where details contradict each other."""
    if given["output_stride"] < 32 and given["stride_in"] == "last":
        raise ValueError("output_stride dilates what follows a stage's first block; it needs stride_in='first'")
    if given["squeeze"] and given["attention"] == "eca":
        raise ValueError("squeeze=True is attention='se'; with attention='eca' leave it out")
    if given["antialias"] != "none" and given["pool"] not in ("padded", "conv", "none"):
        raise ValueError(f"antialias={given['antialias']!r} needs pool='padded', 'conv' or 'none'")
    if given["antialias"] != "none" and given["stride_on"] != "3x3":
        raise ValueError(f"antialias={given['antialias']!r} follows the 3×3 convolution; it needs stride_on='3x3'")


def check_sizes(given: Mapping[str, Any]) -> None:
    """Raise ValueError where a size is none that a network may have."""
    check_kinds(given, {name: kind for name, kind in SIZES.items() if name in given})


def check_kinds(given: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
    for field, kind in kinds.items():
        if not kind.allows(given[field]):
            raise ValueError(f"{field}={given[field]!r}: give {kind.words}")
