"""Every model by its name, and how to build it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np

from .changes import apply
from .classifier import Classifier
from .dialect_rules import SIZES, check_sizes
from .dialects import Dialect
from .plain import PlainBlock
from .published import details
from .resnet import BasicBlock, Bottleneck, ResNet
from .resnet_v2 import PreActBasicBlock, PreActBottleneck, PreActResNet
from .spec import Spec
from .structure import Structure


@dataclass(frozen=True)
class Entry:
    """One name of the family: its builder, its usual classes and preprocessing, and its own defaults."""

    build: partial[Any]  # of a Classifier: called with a dialect, num_classes and in_channels
    num_classes: int
    preprocessing: str
    structure: Structure  # by which its arrays are recognised
    defaults: dict[str, Any] = field(default_factory=dict)

    def unread(self) -> frozenset[str]:
        """The details of a dialect that this network has no place for."""
        net: Any = self.build.func
        block: Any = self.build.keywords["block"]
        sizes = SIZES.keys() - getattr(block, "sizes", ("depths", "width", "stem_channels"))
        return net.unread | getattr(block, "unread", frozenset()) | sizes

    def blocks(self, sizes: Mapping[str, Any] = {}) -> int:
        """How many blocks a network of these sizes has."""
        return sum({**self.build.keywords, **sizes}["depths"])

    def weights(self, sizes: Mapping[str, Any] = {}) -> int:
        """About how many weights its convolutions have: 18 w² in a block of w channels, or more where it is wider.

        The stem of w channels may have a second convolution, of 9 w², in the place of its pooling.
        """
        given = {"width": 64, "groups": 1, "base_width": 64, **self.build.keywords, **sizes}
        wider = 1 + given["groups"] * given["base_width"] // 64
        blocks = sum(18 * depth * (given["width"] * 2**i * wider) ** 2 for i, depth in enumerate(given["depths"]))
        return blocks + 9 * given.get("stem_channels", given["width"]) ** 2


def _imagenet(net, block, depths, **options):
    structure = Structure(
        depths, block.expansion, options.get("groups", 1), options.get("base_width", 64), before=net.before
    )
    return Entry(partial(net, block=block, depths=depths, **options), 1000, "imagenet-v1", structure)


def _cifar(net, block, n, **defaults):
    depths, defaults = (n, n, n), {"stem": "3x3", "pool": "none", "norm_groups": 8, **defaults}
    # 32 groups do not divide 16 channels
    structure = Structure(depths, block.expansion, stem_kernel=3, before=net.before)
    return Entry(partial(net, block=block, depths=depths, width=16), 10, "cifar10", structure, defaults)


FAMILY: dict[str, Entry] = {
    "resnet18": _imagenet(ResNet, BasicBlock, (2, 2, 2, 2)),  # [R1] Table 1
    "resnet34": _imagenet(ResNet, BasicBlock, (3, 4, 6, 3)),
    "resnet50": _imagenet(ResNet, Bottleneck, (3, 4, 6, 3)),
    "resnet101": _imagenet(ResNet, Bottleneck, (3, 4, 23, 3)),
    "resnet152": _imagenet(ResNet, Bottleneck, (3, 8, 36, 3)),
    "resnext50_32x4d": _imagenet(ResNet, Bottleneck, (3, 4, 6, 3), groups=32, base_width=4),
    "resnext101_32x8d": _imagenet(ResNet, Bottleneck, (3, 4, 23, 3), groups=32, base_width=8),
    "resnext101_64x4d": _imagenet(ResNet, Bottleneck, (3, 4, 23, 3), groups=64, base_width=4),
    "wide_resnet50_2": _imagenet(ResNet, Bottleneck, (3, 4, 6, 3), base_width=128),
    "wide_resnet101_2": _imagenet(ResNet, Bottleneck, (3, 4, 23, 3), base_width=128),
    "plain18": _imagenet(ResNet, PlainBlock, (2, 2, 2, 2)),
    "plain34": _imagenet(ResNet, PlainBlock, (3, 4, 6, 3)),
    "preresnet18": _imagenet(PreActResNet, PreActBasicBlock, (2, 2, 2, 2)),
    "preresnet34": _imagenet(PreActResNet, PreActBasicBlock, (3, 4, 6, 3)),
    "preresnet50": _imagenet(PreActResNet, PreActBottleneck, (3, 4, 6, 3)),
    "preresnet101": _imagenet(PreActResNet, PreActBottleneck, (3, 4, 23, 3)),
    "preresnet152": _imagenet(PreActResNet, PreActBottleneck, (3, 8, 36, 3)),
    "preresnet200": _imagenet(PreActResNet, PreActBottleneck, (3, 24, 36, 3)),
    **{
        f"resnet{d}": _cifar(ResNet, BasicBlock, (d - 2) // 6, shortcut="A")  # [R1] §4.2: 6n + 2
        for d in (20, 32, 44, 56, 110, 1202)
    },
    **{f"plain{d}": _cifar(ResNet, PlainBlock, (d - 2) // 6) for d in (20, 32, 44, 56, 110)},
    **{
        f"preresnet{d}": _cifar(PreActResNet, PreActBasicBlock, (d - 2) // 6, stem_norm=False)  # [R2] §3.1: 6n + 2
        for d in (20, 32, 44, 56, 110)
    },
    "preresnet164": _cifar(PreActResNet, PreActBottleneck, 18, stem_norm=False),  #            9n + 2
    "preresnet1001": _cifar(PreActResNet, PreActBottleneck, 111, stem_norm=False),
}


def list_models() -> list[str]:
    """Every name that ``create_model`` builds."""
    return list(FAMILY)


def build(
    name: str, num_classes: int | None = None, *, in_channels: int = 3, dialect: str = "torchvision", **options: Any
) -> Classifier:
    """The model ``name`` with all weights zero, in eval mode.

    ``options`` change single details of the dialect (the fields of :class:`npresnet.models.Dialect`), and the sizes:

        depths          the blocks in each of its stages, of which there are up to 6
        width           the channels of the first stage, doubled from stage to stage
        stem_channels   those of the first convolution, where they are others: 16 in Wide ResNets for CIFAR
        groups          of a bottleneck's 3×3 convolution, ``base_width`` channels in each where the stage has 64

    With ``num_classes=0`` it has no classifier and gives the pooled features (N, features).

    The model carries ``spec`` (how it was built), ``preprocessing`` (a preset's name) and
    ``classes`` (their names, None until weights bring some).
    """
    entry = find(name)
    options = {key: of_its_type(key, value) for key, value in options.items()}
    check_sizes(options)
    flavour = details(name, dialect, **{**entry.defaults, **options})
    check_places(name, entry, flavour, options)
    num_classes = count("num_classes", entry.num_classes if num_classes is None else num_classes, least=0)
    in_channels = count("in_channels", in_channels)
    sizes = {key: value for key, value in options.items() if key in SIZES}
    model = entry.build(flavour, num_classes=num_classes, in_channels=in_channels, **sizes)
    model.spec = Spec(name, num_classes, in_channels, dialect, options)
    model.preprocessing, model.classes = flavour.preprocessing or entry.preprocessing, None
    return model


def rebuild(
    spec: Spec, shapes: Mapping[str, tuple[int, ...]], changes: Iterable[Any] = (), frozen: Iterable[str] = ()
) -> Classifier:
    """The model that ``spec`` and a list of changed layers describe, with all weights zero, in eval mode.

    ``shapes`` (key → shape) are those of the arrays it will be given, ``frozen`` the keys of parameters that do not
    learn.  Raises ValueError where the list does not describe such a network (see changes.py).
    """
    head, stem = shapes.get("fc.weight"), shapes.get("conv1.weight") or shapes.get("conv1.0.weight")
    model = build(
        spec.name,
        head[0] if head else min(1, spec.num_classes),
        in_channels=stem[1] if stem and len(stem) > 1 else 1,
        dialect=spec.dialect,
        **spec.options,
    )  # the sizes of the arrays, not those of the spec
    model.spec = spec
    apply(model, changes, shapes)
    if model.spec != spec:
        raise ValueError(
            f"the arrays are of {model.spec.num_classes} classes and {model.spec.in_channels} channels, "
            f"not of {spec.num_classes} and {spec.in_channels}"
        )
    parameters = dict(model.named_parameters())
    unknown = [key for key in frozen if key not in parameters]
    if unknown:
        raise ValueError(f"there is no parameter {str(unknown[0])[:100]!r} to freeze")
    for key in frozen:
        parameters[key].trainable = False
    return model


def check_places(name: str, entry: Entry, flavour: Dialect, options: Mapping[str, Any]) -> None:
    """Raise ValueError for details that this network does not use: changing them would have no effect."""
    net: Any = entry.build.func
    unread = sorted(options.keys() & entry.unread())
    if unread:
        raise ValueError(f"{name} has no place for {', '.join(unread)}; leave that out, or choose another model")
    unread = sorted(options.keys() & flavour.unread())
    if unread:
        raise ValueError(
            f"{', '.join(unread)} has no effect with norm={flavour.norm!r} and activation={flavour.activation!r}; "
            "leave that out"
        )
    if flavour.stem not in net.stems:
        raise ValueError(f"{name} cannot begin with the stem {flavour.stem!r}, only with {' or '.join(net.stems)}")


def of_its_type(key: str, value: Any) -> Any:
    """An option as a spec keeps it: tuples, no scalar of NumPy's, and 1.0 for 1 where numbers are not counted."""
    if isinstance(value, (list, tuple)):
        return tuple(of_its_type("", part) for part in value)
    value = value.item() if isinstance(value, np.generic) else value
    return float(value) if type(value) is int and type(getattr(Dialect, key, None)) is float else value


def count(name: str, value: Any, least: int = 1) -> int:
    """The value of an argument that counts something, as an int; raises ValueError for anything else."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} is a whole number of at least {least}, not {value!r}")
    return int(value)


def find(name: str) -> Entry:
    """The entry of a model's name; raises ValueError, suggesting others, where there is none."""
    if not isinstance(name, str) or name not in FAMILY:
        from difflib import get_close_matches

        close = get_close_matches(str(name), FAMILY, n=3)
        raise ValueError(
            f"unknown model {name!r}; "
            + (f"did you mean {' or '.join(close)}? " if close else "")
            + "list_models() names them all, as does npresnet models"
        )
    return FAMILY[name]
