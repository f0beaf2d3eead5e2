"""The whole table of kinds, in the order of the page."""

from . import (  # noqa: F401, I001
    cifar_projects,
    preactivation,
    imagenet_projects,
    foreign,
    pretraining,
    trainers,
    wrappers,
    beside,
    heads,
    structures,
    traceless,
    modules,
    huggingface,
    keras_models,
    containers,
    parametrised,
    names,
    blocks,
    folders,
    others,
)
from .kind import KINDS  # noqa: F401
