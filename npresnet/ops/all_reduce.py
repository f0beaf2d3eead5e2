"""The sum over ranks, a linear map like any other."""

from ..backend import Array, Pullback, Ranks, namespace_for
from .rules import op


@op
def all_reduce_sum(x: Array, *, ranks: Ranks) -> tuple[Array, Pullback]:
    """y = Σ_r x_r, on every rank;   dx_r = Σ_s dy_s: the map is its own transpose.

    Take the ranks' arrays as one long vector (x₀, …, xₙ₋₁).  The map is the block matrix whose every block is the
    identity, and that is symmetric.  In words: x_r is a summand of every rank's y, so its gradient is the sum of all
    of theirs.

    Shapes: any, but the same on each rank.
    Saves: nothing.
    """
    namespace_for(x=x)
    return ranks.all_reduce(x), ranks.all_reduce
