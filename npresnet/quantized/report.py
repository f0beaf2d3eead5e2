"""What quantization cost: the error of each step, and how often the two networks name the same class."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from .. import nn, ops
from ..backend import Array
from ..tables import text_lines
from .float_step import batches_of, run
from .lower import lower
from .network import QuantizedNetwork


class Report(NamedTuple):
    """Printed, it is a table.

    errors      step → |r − x| / |x|, Euclidean norms of the error and of the float model's values
    images      how many images were compared
    agreement   the share of them to which both networks give the same class
    bytes       what the float model's arrays take, and the quantized network's
    """

    errors: dict[str, float]
    images: int
    agreement: float
    bytes: tuple[int, int]

    def __str__(self) -> str:
        rows = [("step", "error"), *((name, f"{100 * error:.2f} %") for name, error in self.errors.items())]
        return "\n".join([*text_lines(rows, right={1}, rule=True), "", self.summary()])

    def summary(self) -> str:
        """Agreement and size, in one line."""
        before, after = self.bytes
        return (
            f"same class for {100 * self.agreement:.2f} % of {self.images} images; "
            f"{after:,} bytes instead of {before:,}, {before / after:.1f} times fewer"
        )


def compare(model: nn.Module, network: QuantizedNetwork, images: Array | Iterable[Array]) -> Report:
    """The :class:`Report` of a quantized network beside the float model that it was made of.

    The errors are those of the values so far: what earlier steps lost is in them.  ``images`` are preprocessed, an
    array (N, C, H, W) or batches of them.
    """
    steps = lower(model)
    lost = {step.name: 0.0 for step in steps}
    total = dict(lost)
    seen = same = 0
    for x in batches_of(images):
        y = r = np.zeros((0, 0))
        for (step, y), (_, q) in zip(run(steps, x), network.run(x)):
            r = ops.dequantize(*q)
            lost[step.name] += float(np.square(r - y).sum(dtype=np.float64))
            total[step.name] += float(np.square(y).sum(dtype=np.float64))
        seen, same = seen + len(y), same + int((r.argmax(1) == y.argmax(1)).sum())
    errors = {name: (lost[name] / total[name]) ** 0.5 if total[name] else 0.0 for name in lost}
    before = sum(array.nbytes for array in model.state_dict().values())
    return Report(errors, seen, same / seen, (before, network.nbytes))
