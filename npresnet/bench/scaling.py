"""How long a training step takes on n ranks, from a few numbers that can be measured on two.

[T] Thakur, Rabenseifner & Gropp 2005, Optimization of collective communication operations in MPICH
"""

from dataclasses import dataclass
from math import ceil, log2

SIZES = tuple(2**k for k in range(1, 11))  # ranks: 2 … 1024


@dataclass(frozen=True)
class Scaling:
    """A model of a step of which every rank has as many images, whatever their number.

        T(n) = C + S(n) + max(0, G(n) − h C)                       efficiency = T(1) / T(n) = C / T(n)

    C is the time of a rank's own kernels.  S is that of the batch norms' exchanges, which nothing hides: ``exchanges``
    of latency α ⌈log₂ n⌉, in which the gathered moments of all others come over the network's bandwidth β.  G is
    that of the gradients' sums, B bytes in ``buckets``,

        S(n) = exchanges · α ⌈log₂ n⌉ + (n − 1) moments / β + 2 (n − 1)/n · sums / β
        G(n) = buckets · 2 α ⌈log₂ n⌉ + 2 (n − 1)/n · B / β                                          [T] §4.5

    of which the pullback hides as much as it lasts, about h = 1/2 of C.
    """

    compute: float  # C, in seconds
    latency: float  # α, in seconds
    bandwidth: float  # β, in bytes a second
    gradients: int  # B, bytes
    buckets: int
    exchanges: int = 0
    moments: int = 0  # bytes of a rank's moments, of all batch norms
    sums: int = 0  # bytes of the sums in their pullbacks
    hidden: float = 0.5  # h

    def exchanged(self, n: int) -> float:
        """S(n), in seconds."""
        network = ((n - 1) * self.moments + 2 * (n - 1) / n * self.sums) / self.bandwidth
        return self.exchanges * self.latency * ceil(log2(n)) + network

    def summed(self, n: int) -> float:
        """G(n), in seconds."""
        return 2 * self.buckets * self.latency * ceil(log2(n)) + 2 * (n - 1) / n * self.gradients / self.bandwidth

    def step(self, n: int) -> float:
        """T(n), in seconds."""
        return self.compute + self.exchanged(n) + max(0.0, self.summed(n) - self.hidden * self.compute)

    def efficiency(self, n: int) -> float:
        """T(1) / T(n): the share of n times the speed of one that n ranks have."""
        return self.compute / self.step(n)
