"""Recognition: what is known of the network that a checkpoint belongs to."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..models import FAMILY, details

if TYPE_CHECKING:
    from ..data import Preprocessing


@dataclass(frozen=True)
class Recognition:
    """Enough to build the model, ``build(name, num_classes, in_channels=…, dialect=…, **options)``, and to use it.

    preprocessing  a preset's name, a Preprocessing, or None where the file does not say
    classes        their names where the file holds them, else None
    dataset        the data set whose class names fit, where the hash proves it, else None
    source         "metadata", "catalogue", "config" or "keys": where this was read
    alternatives   other networks and options that the same keys and shapes fit, in words
    changes        the layers that are other than the name and the options say, see models/changes.py
    frozen         the keys of the parameters that are not trained
    notes          what of the file could not be followed, a sentence each
    """

    name: str
    num_classes: int
    in_channels: int = 3
    dialect: str = "torchvision"
    options: dict[str, Any] = field(default_factory=dict)
    preprocessing: "str | Preprocessing | None" = None
    classes: tuple[str, ...] | None = None
    dataset: str | None = None
    source: str = "keys"
    alternatives: tuple[str, ...] = ()
    changes: tuple[dict[str, Any], ...] = ()
    frozen: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def with_options(self, options: Mapping[str, Any]) -> "Recognition":
        """The network with these options, of which those that it has anyway are left out."""
        usual = details(self.name, self.dialect, **FAMILY[self.name].defaults)
        return replace(self, options={n: value for n, value in options.items() if getattr(usual, n, None) != value})

    @property
    def also(self) -> tuple[str, ...]:
        """The former name of ``alternatives``."""
        warnings.warn("Recognition.also is now called alternatives", DeprecationWarning, stacklevel=2)
        return self.alternatives
