"""Models with weights, and models to train further: the one place above both the family and the files."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .data import class_names
from .formats.errors import error_context, only_weights_errors
from .models import FAMILY, Spec, build, details, rebuild
from .models.classifier import Classifier
from .models.registry import count
from .nn import BatchNorm2d, initialize, placeholders, zero_last_gamma
from .weights import Recognition, WeightsError, read_weights, recognise
from .weights.adapt import adapt
from .weights.hidden_layers import of_head
from .weights.keys.maps import resolved, torchvision_keys
from .weights.load import fill

SHIPPED = "resnet20"  # the network whose file lies in the checkout's weights/, in an installed package's shipped/


def shipped() -> Path:
    """The file of the network that comes with the package: a ResNet-20 trained by ``npresnet train`` on CIFAR-10."""
    package, file = Path(__file__).parent, f"{SHIPPED}-cifar10.safetensors"
    installed = package / "shipped" / file
    return installed if installed.exists() else package.parent / "weights" / file


def create_model(
    name: str,
    *,
    weights: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    num_classes: int | None = None,
    dialect: str | None = None,
    seed: int = 0,
    in_channels: int | None = None,
    zero_init_residual: bool = False,
    select: str | None = None,
    **options: Any,
) -> Classifier:
    """A model of the family by name (see ``list_models()``), in eval mode, ready to run or to train.

    weights             a file or a state dict, loaded strictly; without it the weights are drawn with ``seed``
    num_classes         the classifier's outputs: by default the file's, else the name's usual number; a file of another
                        number gets a new head, drawn with ``seed``; 0 is for no classifier: the pooled features
    in_channels         the image's channels: by default the file's, else 3; a file of another number has its first
                        convolution summed (for 1) or repeated and scaled
    dialect, options    a published flavour and changes to single details of it: ``stride_on="1x1"``,
                        ``shortcut="A"`` … (the fields of :class:`npresnet.models.Dialect`); by default what the
                        file says of this network or its arrays show, else torchvision's.  Sizes too: ``depths``,
                        ``width``, and for bottlenecks ``groups`` and ``base_width`` (see :func:`npresnet.models.build`)
    zero_init_residual  every block starts as its shortcut
    select              which of several networks in the file, by a part of its name: "ema", "teacher" …

    Raises ValueError for an unknown name, dialect or option and for a number that cannot be, WeightsError for weights
    that do not fit.

    >>> model = create_model("resnet20", num_classes=5)
    >>> model.fc.weight.value.shape
    (5, 64)
    """
    asked, seed = "torchvision" if dialect is None else dialect, count("seed", seed, least=0)
    with placeholders(weights is not None):
        model = build(
            name, num_classes, in_channels=3 if in_channels is None else in_channels, dialect=asked, **options
        )
    check_zero_init(model, zero_init_residual, weights)
    if select is not None and (weights is None or isinstance(weights, Mapping)):
        raise ValueError("select chooses among the networks in a file; give that as weights")
    if weights is None:
        initialize(model, seed)
        return zero_last_gamma(model) if zero_init_residual else model
    checkpoint = weights if isinstance(weights, Mapping) else read_weights(weights, select=select)
    found, copy = recognition_or_none(checkpoint), checkpoint is weights
    same = found if found and found.name == name else None
    if same:
        asked, options = resolve_dialect(same, dialect, options)
    if same and num_classes not in (None, same.num_classes):  # the head is drawn anew, however many layers it has
        same = replace(same, changes=tuple(change for change in same.changes if not of_head(change)))
    if same and (same.changes or same.frozen):
        refuse_other_sizes(same, num_classes, in_channels)
        with placeholders():
            model = build_found(same, checkpoint, asked, options)
        return with_weights(model, checkpoint, same, copy)
    classes = found.num_classes if found and num_classes is None else num_classes
    channels = in_channels or (found.in_channels if found else 3)
    with placeholders():
        model = build(name, classes, in_channels=channels, dialect=asked, **options)
    if num_classes is None and in_channels is None:
        return with_weights(model, checkpoint, same, copy)
    with error_context(getattr(checkpoint, "path", None) or "these weights"):
        adapted = adapt(
            checkpoint,
            initialize(model, seed, part=model.fc),
            channels=in_channels is not None,
            classes=num_classes is not None,
        )
    return with_weights(model, adapted, same, copy)


def check_zero_init(model: Classifier, wanted: bool, weights: Any) -> None:
    """Raise ValueError for ``zero_init_residual`` beside weights, or where no branch ends in a batch norm."""
    if not isinstance(wanted, bool):
        raise ValueError(f"zero_init_residual={wanted!r}: give True or False")
    if wanted and weights is not None:
        raise ValueError("zero_init_residual is for weights that are drawn; leave it out where weights are given")
    if wanted and not any(hasattr(part, "last_norm") for part in model.modules()):
        raise ValueError(f"no branch of a {model.spec.name} ends in a batch norm; leave out zero_init_residual")


def load_model(path: str | os.PathLike[str] | None = None, *, select: str | None = None) -> Classifier:
    """The model that a file holds, in eval mode: architecture, classes, dialect and preprocessing as the file says.

    Without a path it is the network that comes with the package (see :func:`shipped`).  Of several networks in a file
    ``select`` names one by a part of its name, as "ema" in "state_dict_ema".

    What is believed, in this order: the metadata that ``save_weights`` writes, a container's own configuration, the
    hash of a published file, the keys and shapes.  Where the last leave a choice the documented default is taken, and
    ``model.notes`` says so.  Class names come only from the file or its hash.

    Raises WeightsError where the file cannot be read or holds no network of the family.

    >>> model = load_model()
    >>> model.spec.name, model.classes[0]
    ('resnet20', 'airplane')
    """
    path = shipped() if path is None else path
    checkpoint = read_weights(path, select=select)
    with error_context(path):  # so that the error names the file
        with only_weights_errors():
            checkpoint = resolved(checkpoint)
        found = recognise(checkpoint)
        with placeholders():  # until the file's arrays take their place, all of them
            model = build_found(found, checkpoint, found.dialect, found.options)
    return with_weights(model, checkpoint, found, copy=False)


def build_found(found: Recognition, checkpoint: Mapping[str, Any], dialect: str, options: dict[str, Any]) -> Classifier:
    """The network that a file holds, with the layers that were changed after it was built."""
    if not found.changes and not found.frozen:
        return build(found.name, found.num_classes, in_channels=found.in_channels, dialect=dialect, **options)
    spec = Spec(found.name, found.num_classes, found.in_channels, dialect, options)
    shapes = {key: array.shape for key, array in torchvision_keys(checkpoint)[0].items()}
    try:
        return rebuild(spec, shapes, found.changes, found.frozen)
    except ValueError as error:
        raise WeightsError(f"the changed layers in the metadata: {error}") from None


def refuse_other_sizes(found: Recognition, num_classes: int | None, in_channels: int | None) -> None:
    """A network whose layers were changed keeps its sizes."""
    if num_classes not in (None, found.num_classes) or in_channels not in (None, found.in_channels):
        raise WeightsError(
            f"the file holds a changed network of {found.num_classes} classes and {found.in_channels} "
            "input channels; leave out num_classes and in_channels, or use load_model()"
        )


def resolve_dialect(found: Recognition, dialect: str | None, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(dialect, options) to build with: what the file says or shows, and what is asked for where no contradiction is.

    Weights of one dialect often fit another's network and give it wrong numbers without a word.
    """
    recorded = found.source in ("metadata", "config")
    asked, options = options, {**found.options, **options}
    dialect = found.dialect if dialect is None else dialect
    if not recorded and found.dialect == "torchvision":  # keys without a mark of their own
        return dialect, options
    defaults = FAMILY[found.name].defaults
    theirs = details(found.name, found.dialect, **{**defaults, **found.options}).in_one_word()
    other = theirs.differs(details(found.name, dialect, **{**defaults, **options}))
    if not recorded:
        other = [field for field in other if field not in asked]
    if other and dialect == found.dialect:
        raise WeightsError(
            "the file records "
            + ", ".join(f"{field}={getattr(theirs, field)!r}" for field in other)
            + ": leave that out, or give its arrays alone, weights=dict(read_weights(path))"
        )
    if other:
        raise WeightsError(
            f"the weights are in the dialect {found.dialect!r}; in {dialect!r} they give other scores, "
            f'for {", ".join(other)} differ: use load_model(), or dialect="{found.dialect}"'
        )
    return dialect, options


def recognition_or_none(checkpoint: Mapping[str, Any]) -> Recognition | None:
    """The network that the arrays belong to, or None: a model that is asked for by name does not depend on it.

    Raises WeightsError where a configuration beside the arrays contradicts them, or says what cannot be built.
    """
    try:
        return recognise(checkpoint)
    except WeightsError:
        if "config.json" in getattr(checkpoint, "metadata", {}):
            raise
        return None


def with_weights(model: Classifier, checkpoint: Mapping[str, Any], found: Recognition | None, copy: bool) -> Classifier:
    """The model with the checkpoint's arrays, and with the preprocessing and the class names that belong to them."""
    loaded = fill(model, checkpoint, copy=copy)
    model.notes = list(loaded.notes)
    if found:
        model.preprocessing = found.preprocessing or model.preprocessing
        if found.num_classes == model.spec.num_classes:  # no new head
            model.classes = found.classes or (class_names(found.dataset) if found.dataset else None)
        model.notes += found.notes
        model.notes += [f"its keys also fit {other}" for other in found.alternatives]
        model.notes += change_notes(found)
    return model


def change_notes(found: Recognition) -> list[str]:
    """How the network in a file differs from the one of its name: what is frozen, what is folded, other layers."""
    layers = {change["path"]: change["class"] or "none" for change in found.changes}
    norms = {change["path"] for change in found.changes if change["options"].get("frozen")}
    folded = {path for path, kind in layers.items() if kind == "Identity" and layers.get(conv_before(path)) == "Conv2d"}
    rest = Counter(layers[path] for path in layers if path not in norms | folded | {conv_before(p) for p in folded})
    frozen = [key for key in found.frozen if key.rpartition(".")[0] not in norms]
    told = {
        "frozen, which matters only to training": {"batch norms": len(norms), "other parameters": len(frozen)},
        "folded into the convolutions before them": {"batch norms": len(folded)},
        f"layers other than those of {found.name}": rest,
    }
    texts = {what: [f"{name} {number}" for name, number in numbers.items() if number] for what, numbers in told.items()}
    return [f"{what}: {', '.join(text)}" for what, text in texts.items() if text]


def conv_before(norm: str) -> str:
    """The path of the convolution whose output the batch norm at the path ``norm`` takes; "" for what is none."""
    parent, _, name = norm.rpartition(".")
    name = name.replace("bn", "conv") if name.startswith("bn") else "0" if norm.endswith("downsample.1") else ""
    return name and (f"{parent}.{name}" if parent else name)


# --- transfer learning ------------------------------------------------------------------------------------------------


def model_to_train(name: str | None = None, weights: str | Path | None = None, seed: int = 0) -> Classifier:
    """The network ``name`` with drawn weights or with those of a file; without a name, the network that a file holds.

    All of it is trainable, whatever was frozen when the file was written: the recipe says what is not trained.
    """
    if name is None:
        return unfreeze(load_model(weights))
    return create_model(name, seed=seed) if weights is None else unfreeze(create_model(name, weights=weights))


def unfreeze(model: Classifier) -> Classifier:
    """Make every parameter trainable and let every batch norm use the batch's statistics again; returns the model."""
    for module in model.modules():
        if isinstance(module, BatchNorm2d):
            module.frozen = False
    for parameter in model.parameters():
        parameter.trainable = True
    return model


def with_new_head(model: Classifier, classes: Sequence[str], seed: int) -> Classifier:
    """A copy of the network, its layers as they are, whose last layer is new: for ``classes``, drawn from the seed."""
    spec = model.spec
    new = model.map_arrays(lambda array: array.copy())
    new.fc = create_model(
        spec.name,
        num_classes=len(classes),
        dialect=spec.dialect,
        seed=seed,
        in_channels=spec.in_channels,
        **spec.options,
    ).fc
    new.classes = tuple(classes)
    return new
