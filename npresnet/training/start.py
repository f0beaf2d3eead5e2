"""The network that a run begins with."""

from ..data import Preprocessing
from ..models import Spec, rebuild
from ..nn import BatchNorm2d
from ..weights import WeightsError
from ..zoo import create_model, load_model


def first_model(name=None, weights=None, seed=0):
    """The network ``name``, with drawn weights or with those of a file; or what the file alone says."""
    if name is None:
        return thawed(load_model(weights))
    return create_model(name, seed=seed) if weights is None else thawed(create_model(name, weights=weights))


def thawed(model):
    """Everything learns, whatever was frozen when the file was written: the recipe says what stays."""
    for module in model.modules():
        if isinstance(module, BatchNorm2d):
            module.frozen = False
    for box in model.parameters():
        box.trainable = True
    return model


def with_new_head(model, classes, seed):
    """The same network, its layers as they are, with a classifier for ``classes``, drawn from the seed."""
    spec = model.spec
    new = model.mapped(lambda array: array.copy())
    new.fc = create_model(spec.name, num_classes=len(classes), dialect=spec.dialect, seed=seed,
                          in_channels=spec.in_channels, **spec.options).fc
    new.classes = tuple(classes)
    return new


def model_of(checkpoint):
    """The network of a checkpoint; ``restore`` brings its weights."""
    arrays, _, description = checkpoint
    spec, recipe, classes = (description[key] for key in ("spec", "preprocessing", "classes"))
    shapes = {key: array.shape for key, array in arrays.items()}
    try:
        model = rebuild(Spec(**spec), shapes, description.get("changes", ()), description.get("frozen", ()))
    except ValueError as error:
        raise WeightsError(f"{arrays.path}: {error}") from None
    model.preprocessing = Preprocessing(**recipe) if isinstance(recipe, dict) else recipe
    model.classes = classes and tuple(classes)
    return model
