"""Quantization-aware training as a precision: the images go through the network as its integers will compute it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import Array, Pullback
from ..distributed import Communicator
from ..models.classifier import Classifier
from ..quantized import save_quantized
from ..quantized.fake import FakeQuantized


class QuantizedPrecision:
    """Fake quantization, with the methods of :class:`.precision.MixedPrecision`.

    Batch norms are part of the convolutions before them, by their running statistics, which stay.  Raises ValueError on
    a GPU, for several ranks, and for a layer that has no equivalent on integers.
    """

    scale = 1.0

    def __init__(self, model: Classifier, weight_bits: int = 8, ranks: Communicator | None = None) -> None:
        if model.namespace is not np or ranks is not None:
            raise ValueError("precision int8 is for one process on a CPU")
        if model.dtype != np.float32:
            raise ValueError(f"precision int8 is for a model in float32, not {model.dtype}")
        self.fake = FakeQuantized(model, weight_bits)

    def logits_vjp(self, x: Array) -> tuple[Array, Pullback]:
        """Scores and their pullback, which fills the parameters' gradients."""
        return self.fake.vjp(x)

    def evaluated(self, model: Any) -> Any:
        """What is to be validated in the place of the model: the same, as its integers compute it."""
        return self.fake.of(model)

    def save(self, model: Any, path: Path) -> None:
        """Write the integer network beside the float one at ``path``."""
        save_quantized(self.fake.network(model), quantized_name(path))

    def update_scale(self, finite: Any) -> Any:
        """Whether the step is to be made: always; an infinite gradient is an error that the caller reports."""
        return True

    def variables(self) -> list[Array]:
        """Nothing that a GPU would keep."""
        return []

    def state(self) -> list[float]:
        """The ranges of the activations, and how many batches they have followed."""
        return self.fake.state()

    def restore(self, variables: Sequence[Any]) -> None:
        """Restore what :meth:`state` returned."""
        self.fake.restore(variables)

    def move_to(self, xp: Any) -> None:
        """There is nothing to move."""


def quantized_name(path: str | Path) -> Path:
    """ "best-int8.safetensors" beside "best.safetensors"."""
    path = Path(path)
    return path.with_name(f"{path.stem}-int8{path.suffix}")
