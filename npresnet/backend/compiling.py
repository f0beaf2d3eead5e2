"""The compiler of kernels reports here when it is at work; who waits for kernels looks here, or listens."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Compiler:
    """``seconds`` counts what this process has spent compiling so far."""

    def __init__(self) -> None:
        self.seconds, self.depth, self.began = 0.0, 0, 0.0
        self.listeners: list[Callable[[], None]] = []

    def begin(self) -> None:
        """A kernel is about to be compiled, for itself or for one that calls it."""
        if self.depth == 0:
            self.began = time.perf_counter()
            for listener in self.listeners:
                listener()
        self.depth += 1

    def end(self) -> None:
        """It has been compiled, or cannot be."""
        self.depth -= 1
        if self.depth == 0:
            self.seconds += time.perf_counter() - self.began

    @contextmanager
    def listener(self, listener: Callable[[], None]) -> Iterator[None]:
        """Inside this context ``listener()`` is called before each kernel that is compiled."""
        self.listeners.append(listener)
        try:
            yield
        finally:
            self.listeners.remove(listener)


compiler = Compiler()
