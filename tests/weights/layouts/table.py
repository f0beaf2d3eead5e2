"""The whole table of kinds, in the order of the page."""

from . import beside, heads, wrappers  # noqa: F401
from .kind import KINDS  # noqa: F401
