"""A record of how a model was built."""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Spec:
    """How a model was built: enough to build it again."""

    name: str
    num_classes: int
    in_channels: int = 3
    dialect: str = "torchvision"
    options: dict[str, Any] = field(default_factory=dict)  # sizes, and details of the dialect, that were changed

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Spec":
        spec = cls(**json.loads(text))
        return replace(spec, options={key: tupled(value) for key, value in spec.options.items()})


def tupled(value: Any) -> Any:
    """A tuple for a list, which JSON makes of it."""
    return tuple(value) if type(value) is list else value
