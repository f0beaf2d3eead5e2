"""The network that a run begins with, and whether it can be trained on the data."""

from ..backend import array_namespace
from ..data import recipe_of
from ..models import build
from ..weights.errors import describing
from ..zoo import create_model, load_model


def first_model(name=None, weights=None, seed=0):
    """The network ``name``, with drawn weights or with those of a file; or what the file alone says."""
    if name is None:
        return load_model(weights)
    return create_model(name, seed=seed) if weights is None else create_model(name, weights=weights)


def with_new_head(model, classes, seed):
    """The same network with a classifier for ``classes``, drawn from the seed."""
    spec = model.spec
    fresh = create_model(spec.name, num_classes=len(classes), dialect=spec.dialect, seed=seed,
                         in_channels=spec.in_channels, **spec.options)
    trunk = {key: array for key, array in model.state_dict().items() if not key.startswith("fc.")}
    fresh.load_state_dict(trunk, strict=False)
    fresh.preprocessing, fresh.classes = model.preprocessing, tuple(classes)
    return fresh


def model_of(checkpoint):
    """The network of a checkpoint; ``restore`` brings its weights."""
    _, _, description = checkpoint
    spec, recipe, classes = (description[key] for key in ("spec", "preprocessing", "classes"))
    with describing("the checkpoint's description of the model"):
        model = build(spec["name"], spec["num_classes"], in_channels=spec["in_channels"], dialect=spec["dialect"],
                      **spec["options"])
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
    if not 0 <= source.labels.min() <= source.labels.max() < spec.num_classes:
        raise ValueError(f"labels from {source.labels.min()} to {source.labels.max()} do not fit a network of "
                         f"{spec.num_classes} classes")
    if smallest_part(len(source), recipe.batch_size, recipe.accumulate) > 1 or side is None:
        return
    first = next(iter(model.parameters())).value
    try:
        model.mapped(lambda array: array).train()(array_namespace(first).zeros((1, 3, side, side), first.dtype))
    except ValueError as error:
        raise ValueError(f"{len(source)} images in batches of {recipe.batch_size}, in {recipe.accumulate} part(s) each,"
                         f" leave one image alone; choose another batch size: {error}") from None


def smallest_part(n, batch_size, parts) -> int:
    """The fewest of ``n`` images that go through the network together."""
    batches = {min(n, batch_size), n % batch_size} - {0}
    return min(max(1, size // parts) for size in batches)
