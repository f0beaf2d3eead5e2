"""The family: residual, plain and pre-activation networks, and their dialects."""

from .dialects import DIALECTS, Dialect
from .registry import FAMILY, Entry, Spec, build, list_models

__all__ = ["DIALECTS", "FAMILY", "Dialect", "Entry", "Spec", "build", "list_models"]
