"""The network that a run begins with."""

from ..data import Preprocessing
from ..models import build
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
    model = build(spec["name"], spec["num_classes"], in_channels=spec["in_channels"], dialect=spec["dialect"],
                  **spec["options"])
    model.preprocessing = Preprocessing(**recipe) if isinstance(recipe, dict) else recipe
    model.classes = classes and tuple(classes)
    return model
