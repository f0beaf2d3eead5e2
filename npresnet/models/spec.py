"""A record of how a model was built."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Spec:
    """How a model was built: enough to build it again."""

    name: str
    num_classes: int
    in_channels: int = 3
    dialect: str = "torchvision"
    options: dict[str, Any] = field(default_factory=dict)  # the dialect's details that were changed

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Spec":
        return cls(**json.loads(text))
