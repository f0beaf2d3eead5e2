"""Models with weights, and models to train further: the one place above both the family and the files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from .data import class_names
from .formats.errors import error_context
from .models import FAMILY, Spec, build, details, rebuild
from .models.classifier import Classifier
from .models.registry import count
from .nn import BatchNorm2d, initialize, zero_last_gamma
from .weights import WeightsError, read_weights
from .weights.keys.maps import torchvision_keys
from .weights.load import place
from .weights.recognise import recognise

SHIPPED = "resnet20"      # the network whose file lies in the checkout's weights/, in an installed package's shipped/


def shipped() -> Path:
    """The file of the network that comes with the package: a ResNet-20 trained by ``npresnet train`` on CIFAR-10."""
    package, file = Path(__file__).parent, f"{SHIPPED}-cifar10.safetensors"
    installed = package / "shipped" / file
    return installed if installed.exists() else package.parent / "weights" / file


def create_model(name, *, weights=None, num_classes=None, dialect=None, seed=0, in_channels=None,
                 zero_init_residual=False, **options):
    """A model of the family by name (see ``list_models()``), in eval mode, ready to run or to train.

    weights             a file or a state dict, loaded strictly; without it the weights are drawn with ``seed``
    num_classes         the classifier's outputs: by default the file's, else the name's usual number
    in_channels         the image's channels: by default the file's, else 3
    dialect, options    a published flavour and changes to single details of it: ``stride_on="1x1"``,
                        ``shortcut="A"`` … (the fields of :class:`npresnet.models.Dialect`); by default what a file
                        of ``save_weights`` records for this name, else torchvision's
    zero_init_residual  every block starts as its shortcut

    Raises ValueError for an unknown name, dialect or option and for a number that cannot be, WeightsError for weights
    that do not fit.
    """
    asked, seed = "torchvision" if dialect is None else dialect, count("seed", seed, least=0)
    model = build(name, num_classes, in_channels=3 if in_channels is None else in_channels, dialect=asked, **options)
    check_zero_init(model, zero_init_residual, weights)
    if weights is None:
        initialize(model, seed)
        return zero_last_gamma(model) if zero_init_residual else model
    checkpoint = weights if isinstance(weights, Mapping) else read_weights(weights)
    found = recognised(checkpoint)
    if found and found.name == name:
        asked, options = settled(found, dialect, options)
    ours = found if found and found.name == name else None
    if ours and (ours.changes or ours.frozen):
        refuse_other_sizes(ours, num_classes, in_channels)
        return filled(changed(ours, checkpoint, asked, options), checkpoint, ours, own=checkpoint is not weights)
    num_classes = num_classes or (found.num_classes if found else None)
    in_channels = in_channels or (found.in_channels if found else 3)
    model = build(name, num_classes, in_channels=in_channels, dialect=asked, **options)
    return filled(model, checkpoint, ours, own=checkpoint is not weights)


def check_zero_init(model, wanted, weights):
    """Refuse to begin as the shortcuts where nothing begins, or where there is nothing to set to zero."""
    if not isinstance(wanted, bool):
        raise ValueError(f"zero_init_residual={wanted!r}: give True or False")
    if wanted and weights is not None:
        raise ValueError("zero_init_residual is for weights that are drawn; leave it out where weights are given")
    if wanted and not any(hasattr(part, "last_norm") for part in model.modules()):
        raise ValueError(f"no branch of a {model.spec.name} ends in a batch norm; leave out zero_init_residual")


def load_model(path=None):
    """The model that a file holds: architecture, classes, dialect and preprocessing as far as the file tells.

    Without a path it is the network that comes with the package (see :func:`shipped`).

    Believed in this order: the metadata that ``save_weights`` writes, a container's own configuration, the hash of a
    published file, the keys and shapes.  Where the last leave a choice the documented default is taken, and
    ``model.notes`` says so.  Class names come only from the file or its hash.

    Raises WeightsError where the file cannot be read or holds no network of the family.
    """
    path = shipped() if path is None else path
    checkpoint = read_weights(path)
    with error_context(path):                             # so that the error names the file
        found = recognise(checkpoint)
        if found.changes or found.frozen:
            return filled(changed(found, checkpoint, found.dialect, found.options), checkpoint, found, own=True)
    model = build(found.name, found.num_classes, in_channels=found.in_channels, dialect=found.dialect, **found.options)
    return filled(model, checkpoint, found, own=True)


def changed(found, checkpoint, dialect, options):
    """The network that a file records, with the layers that were changed after it was built."""
    spec = Spec(found.name, found.num_classes, found.in_channels, dialect, options)
    shapes = {key: array.shape for key, array in torchvision_keys(checkpoint)[0].items()}
    try:
        return rebuild(spec, shapes, found.changes, found.frozen)
    except ValueError as error:
        raise WeightsError(f"the layers that the metadata tell of: {error}") from None


def refuse_other_sizes(found, num_classes, in_channels):
    """A network whose layers were changed is taken as it is."""
    if num_classes not in (None, found.num_classes) or in_channels not in (None, found.in_channels):
        raise WeightsError(f"the file holds a changed network of {found.num_classes} classes and {found.in_channels} "
                           "input channels; leave out num_classes and in_channels, or use load_model()")


def settled(found, dialect, options):
    """(dialect, options) to build with: what the file records, and what is asked for where that is no contradiction.

    Weights of one dialect often fit another's network and give it wrong numbers without a word.
    """
    recorded = found.source == "metadata"
    if recorded:
        dialect, options = found.dialect if dialect is None else dialect, {**found.options, **options}
    dialect = "torchvision" if dialect is None else dialect
    if not recorded and found.dialect in ("torchvision", dialect):     # the first: keys without a mark of their own
        return dialect, options
    defaults = FAMILY[found.name].defaults
    theirs = details(found.name, found.dialect, **{**defaults, **found.options})
    other = theirs.differs(details(found.name, dialect, **{**defaults, **options}))
    if not recorded:
        other = [field for field in other if field not in options]
    if other and dialect == found.dialect:
        raise WeightsError("the file records " + ", ".join(f"{field}={getattr(theirs, field)!r}" for field in other)
                           + ": leave that out, or give its arrays alone, weights=dict(read_weights(path))")
    if other:
        raise WeightsError(f"the weights are in the dialect {found.dialect!r}; in {dialect!r} they give other scores, "
                           f"for {', '.join(other)} differ: use load_model(), or dialect=\"{found.dialect}\"")
    return dialect, options


def recognised(checkpoint):
    """What the file says of itself, or None: a model asked for by name does not depend on it."""
    try:
        return recognise(checkpoint)
    except WeightsError:
        return None


def filled(model, checkpoint, found, own=False):
    """The model with the checkpoint's arrays, and with the preprocessing and the class names that belong to them."""
    loaded = place(model, checkpoint, own=own)
    model.notes = list(loaded.notes)
    if found:
        model.preprocessing = found.preprocessing or model.preprocessing
        model.classes = found.classes or (class_names(found.dataset) if found.dataset else None)
        model.notes += [f"its keys also fit {other}" for other in found.also]
        model.notes += [f"{len(found.changes)} of its layers were changed after it was built"] * bool(found.changes)
        model.notes += [f"{len(found.frozen)} of its parameters are frozen, as they were saved"] * bool(found.frozen)
    return model


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
    new.fc = create_model(spec.name, num_classes=len(classes), dialect=spec.dialect, seed=seed,
                          in_channels=spec.in_channels, **spec.options).fc
    new.classes = tuple(classes)
    return new
