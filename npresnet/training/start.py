"""The network that a run begins with, and whether it can be trained on the data."""

from ..data import recipe_of
from ..formats.errors import describing
from ..models import Spec, rebuild
from ..nn import BatchNorm2d
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
    new = model.map_arrays(lambda array: array.copy())
    new.fc = create_model(spec.name, num_classes=len(classes), dialect=spec.dialect, seed=seed,
                          in_channels=spec.in_channels, **spec.options).fc
    new.classes = tuple(classes)
    return new


def model_of(checkpoint):
    """The network of a checkpoint; ``restore`` brings its weights."""
    arrays, _, description = checkpoint
    spec, recipe, classes = (description[key] for key in ("spec", "preprocessing", "classes"))
    shapes = {key: array.shape for key, array in arrays.items()}
    with describing("the checkpoint's description of the model"):
        model = rebuild(Spec(**spec), shapes, description.get("changes", ()), description.get("frozen", ()))
        model.preprocessing = recipe_of(recipe) if isinstance(recipe, dict) else recipe
        recipe_of(model)
    model.classes = classes and tuple(classes)
    return model


def check_start(model, recipe, source, side):
    """Raise ValueError where the first epoch could not be finished: channels, labels, a last batch of one image."""
    spec = model.spec
    if spec.in_channels != 3:
        raise ValueError(f"images have three channels (RGB; grey ones are repeated in each) and this network takes "
                         f"{spec.in_channels}: create it with in_channels=3")
    for name in source.classes:
        if not name.isascii() and name.encode("utf-8", "replace").decode() != name:
            raise ValueError(f"the name of the class folder {name!r} is not UTF-8, as files of weights need: rename it")
    if not 0 <= source.labels.min() <= source.labels.max() < spec.num_classes:
        raise ValueError(f"labels from {source.labels.min()} to {source.labels.max()} do not fit a network of "
                         f"{spec.num_classes} classes")
    if len(recipe_of(model).mean) != 3:
        raise ValueError("images to train on have three channels: give the model a preprocessing of three means")
    if smallest_part(len(source), recipe.batch_size, recipe.accumulate) > 1 or side is None:
        return
    try:
        model.copy().train()(model.namespace.zeros((1, 3, side, side), model.dtype))
    except ValueError as error:
        raise ValueError(f"{len(source)} images in batches of {recipe.batch_size}, in {recipe.accumulate} part(s) each,"
                         f" leave one image alone; choose another batch size: {error}") from None


def smallest_part(n, batch_size, parts) -> int:
    """The fewest of ``n`` images that go through the network together."""
    batches = {min(n, batch_size), n % batch_size} - {0}
    return min(max(1, size // parts) for size in batches)
