"""Observers: what has been seen of the values of one step, and the range that 256 levels are laid over.

[J] Jacob et al. 2018, arXiv:1712.05877, §3.1
[M] Migacz 2017, 8-bit inference with TensorRT, GPU technology conference
[B] Banner et al. 2019, Post-training 4-bit quantization of convolution networks for rapid-deployment, arXiv:1810.05723
"""

from collections.abc import Callable

import numpy as np

from .. import ops
from ..backend import Array

SAMPLE = 16384  # values of each batch that are kept, drawn at random: every 256th might be of one column of pixels


class MinMax:
    """The smallest and the largest value of all: nothing saturates, and one stray value widens every level."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf

    def observe(self, x: Array) -> None:
        """Take the values of one batch into account."""
        self.low = float(np.minimum(self.low, x.min()))  # NaN stays, and is refused by affine()
        self.high = float(np.maximum(self.high, x.max()))

    def range(self) -> tuple[float, float]:
        """The range that the levels are to reach."""
        return self.low, self.high


class MovingAverage(MinMax):
    """Averages of the batches' smallest and largest values: m ← m + c (new − m) with c = 0.01.             [J] §3.1"""

    def __init__(self, share: float = 0.01):
        super().__init__()
        self.share = share

    def observe(self, x: Array) -> None:
        low, high = float(x.min()), float(x.max())
        if self.low > self.high:
            self.low, self.high = low, high
        self.low += self.share * (low - self.low)
        self.high += self.share * (high - self.high)


class Percentile(MinMax):
    """The range without the outermost values, ``tail`` of them at each end: they saturate.                   cf. [M]"""

    def __init__(self, tail: float = 1e-4):
        super().__init__()
        self.tail, self.rng = tail, np.random.default_rng(0)
        self.seen: list[Array] = []

    def observe(self, x: Array) -> None:
        super().observe(x)
        few = x if x.size <= SAMPLE else x.take(self.rng.integers(x.size, size=SAMPLE))
        self.seen.append(few.reshape(-1).astype(np.float32))

    def range(self) -> tuple[float, float]:
        low, high = np.quantile(np.concatenate(self.seen), (self.tail, 1 - self.tail))
        return float(low), float(high)


class SquaredError(Percentile):
    """The range, a part of the whole one, whose levels are nearest to the values: least Σ (x − fake(x))².       cf. [B]

    A narrower range saturates more values and rounds the others more finely; parts from 0.3 to 1 are tried.
    """

    def range(self) -> tuple[float, float]:
        x = np.concatenate(self.seen)

        def error(part: float) -> float:
            y, _ = ops.fake_quantize(x, *affine(part * self.low, part * self.high))
            return float(np.square(y - x).sum(dtype=np.float64))

        best = min(np.linspace(0.3, 1, 71), key=error)
        return best * self.low, best * self.high


OBSERVERS: dict[str, Callable[[], MinMax]] = {
    "minmax": MinMax,
    "average": MovingAverage,
    "percentile": Percentile,
    "mse": SquaredError,
}


def affine(low: float, high: float, levels: tuple[int, int] = (0, 255)) -> tuple[float, int]:
    """(s, z): the levels laid over the range, widened to reach 0, which is a level exactly.                  [J] §3.1

        s = (high − low) / (last − first),        z = first − round(low / s)

    Raises ValueError for a range that is not finite.
    """
    if not np.isfinite([low, high]).all():
        raise ValueError("a step gives values that are not finite; these images or weights cannot be quantized")
    low, high = min(low, 0.0), max(high, 0.0)
    first, last = levels
    scale = float(np.float32(max((high - low) / (last - first), 2.0**-100)))
    return scale, int(np.clip(first - round(low / scale), first, last))
