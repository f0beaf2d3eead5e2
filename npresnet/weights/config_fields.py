"""Fields of a configuration, which a file may fill with anything, and their comparison with the arrays."""

from collections.abc import Mapping
from typing import Any

from ..formats.errors import WeightsError, quoted

KINDS = {int: "a whole number", bool: "true or false", str: "a text", dict: "an object", list: "a list"}


def field(config: Mapping[str, Any], name: str, default: Any) -> Any:
    """A field of the default's type; the default where it is missing or null.  Raises WeightsError."""
    value = config.get(name)
    value = default if value is None else value
    if type(value) is not type(default):
        raise WeightsError(f'"{name}" is {KINDS[type(default)]}, not {shown(value)}')
    return value


def numbers(config: Mapping[str, Any], name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """A list of whole numbers.  Raises WeightsError."""
    values = field(config, name, list(default))
    if any(type(value) is not int for value in values):
        raise WeightsError(f'"{name}" is a list of whole numbers, not {shown(values)}')
    return tuple(values)


def agree(what: str, declared: Any, real: Any) -> None:
    """Raise WeightsError unless the arrays have what the configuration says."""
    if declared != real:
        raise WeightsError(
            f"says {what} {shown(declared)}, the arrays have {shown(real)}; it is of other weights: "
            "mend it, or take it away"
        )


def shown(value: Any) -> str:
    """A value in a message."""
    return quoted(value) if type(value) in (str, int) else str(value)[:60]


def class_names(names: Any, count: int) -> tuple[str, ...] | None:
    """The names of so many classes out of a list, or out of an object number → name; None where these are none."""
    if type(names) is dict:
        names = [names.get(str(number)) for number in range(len(names))]
    if type(names) is not list or len(names) != count or any(type(name) is not str for name in names):
        return None
    return None if all(name == f"LABEL_{number}" for number, name in enumerate(names)) else tuple(names)
