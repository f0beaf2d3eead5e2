"""Work that is done while the last work is used."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor


def prefetch(function, items, workers, depth=None):
    """Yield function(item) in order, ``workers`` threads working up to ``depth`` items ahead."""
    waiting, depth = deque(), depth or workers + 1
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
