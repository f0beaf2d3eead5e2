"""Work done in threads ahead of its use."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, depth: int | None = None
) -> Iterator[Result]:
    """Yield function(item) for each item in order; ``workers`` threads compute up to ``depth`` results in advance.

    In a browser there are no threads: there each result is computed when it is wanted.
    """
    if sys.platform == "emscripten":
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    depth = depth or workers + 1
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
