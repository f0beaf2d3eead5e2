"""Checks every call of MPI's communicator: python -m tests.distributed.exchange, under mpiexec."""

import numpy as np

from npresnet.distributed import ends_together, world


def main():
    ranks = world()
    whole = sum(range(1, ranks.size + 1))
    for dtype in (np.float32, np.float64):
        x = (1 + ranks.rank) * np.arange(6, dtype=dtype).reshape(2, 3)
        given = x.T.copy()
        for array, truth in (
            (ranks.all_reduce(x.T), whole * np.arange(6).reshape(2, 3).T),
            (ranks.gather(x[0]), np.outer(np.arange(ranks.size) + 1, np.arange(3))),
        ):
            assert array.dtype == dtype and (array == truth).all(), array
        assert (given == x.T).all()
        many = np.ones(1 << 18, dtype)
        pending = [ranks.start_all_reduce(array) for array in (x, many)]
        for sum_ in pending:
            sum_.wait()
        assert (x == whole * np.arange(6).reshape(2, 3)).all() and (many == ranks.size).all()
    assert ranks.all_gather({"rank": ranks.rank}) == [{"rank": rank} for rank in range(ranks.size)]
    assert ranks.broadcast(lambda: f"rank {ranks.rank} of {ranks.size}") == f"rank 0 of {ranks.size}"
    try:
        ranks.start_all_reduce(np.ones((2, 3)).T)
    except ValueError as error:
        assert "contiguous" in str(error)
    else:
        raise AssertionError("a sum in the place of an array that is not contiguous")
    if ranks.rank == 0:
        print(f"rank 0 of {ranks.size}")


if __name__ == "__main__":
    with ends_together(world()):
        main()
