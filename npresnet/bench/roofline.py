"""The least time that a network's convolutions can take on this machine: the sum over layers of the higher roof.

    t ≥ Σ max(multiply-adds / peak, bytes / bandwidth)                                                  [WW]

For an inference each convolution and the classifier multiplies once, reads its x and writes its y.  For a training step
each multiplies three times: y = X W, dX = dY W', dW = X' dY, of which each reads or writes two of x and y; the first
layer has no dX.  Weights, norms, ReLUs, sums and pooling are not counted: they could pass by while x and y do.

The multiply-adds are those of the definition.  Winograd's algorithm needs fewer: with it, the share may pass 1.

[WW] Williams, Waterman & Patterson 2009, Roofline: an insightful visual performance model for multicore architectures
"""

from dataclasses import dataclass
from math import prod

from ..analysis.walk import tree_rows
from ..backend import use
from ..nn import Module

MOST = 2**29  # bytes copied to measure the bandwidth


@dataclass
class Roofline:
    """What was measured, the work, and the least time that it takes."""

    macs_per_second: float
    bytes_per_second: float
    macs: int
    bytes: int
    bound_ms: float

    def __str__(self) -> str:
        peak, bandwidth = self.macs_per_second, self.bytes_per_second
        return (
            f"{self.macs / 1e9:.2f} G multiply-adds at {peak / 1e9:.0f} G/s: {1e3 * self.macs / peak:.2f} ms; "
            f"{self.bytes / 1e6:.0f} MB at {bandwidth / 1e9:.1f} GB/s: {1e3 * self.bytes / bandwidth:.2f} ms"
        )


def roofline(model: Module, shape: tuple[int, ...], mode: str, threads: int) -> Roofline:
    """The roofline of ``model`` for inputs of ``shape`` (N, C, H, W); ``mode`` is "infer" or "train"."""
    from ..kernels.cpu.roof import bytes_per_second, macs_per_second

    work = [each for place, layer in enumerate(multiplying(model, shape)) for each in passes(*layer, mode, place == 0)]
    macs, moved = (sum(column) for column in zip(*work))
    with use("numba", threads=threads):
        peak, bandwidth = macs_per_second(), bytes_per_second(min(moved, MOST))
    bound = sum(max(m / peak, b / bandwidth) for m, b in work)
    return Roofline(peak, bandwidth, macs, moved, 1e3 * bound)


def multiplying(model: Module, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """(multiply-adds, bytes of x and of y) of every layer that multiplies, in the order of execution."""
    return [
        (row.macs, 4 * (prod(row.input_shape) + prod(row.output_shape)))
        for row in tree_rows(model, shape)
        if row.macs and not row.inside
    ]


def passes(macs: int, moved: int, mode: str, first: bool) -> list[tuple[int, int]]:
    """What the layer does: y; in a training step dW, too, and dX where it is not the first."""
    return [(macs, moved)] * (1 if mode == "infer" else 2 if first else 3)
