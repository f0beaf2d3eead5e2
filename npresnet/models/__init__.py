"""The family: residual, plain and pre-activation networks, and their dialects."""

from .dialects import Dialect
from .published import DIALECTS, details
from .register import register_layer
from .registry import FAMILY, Entry, build, list_models, rebuild
from .spec import Spec

__all__ = [
    "DIALECTS",
    "FAMILY",
    "Dialect",
    "Entry",
    "Spec",
    "build",
    "details",
    "list_models",
    "rebuild",
    "register_layer",
]
