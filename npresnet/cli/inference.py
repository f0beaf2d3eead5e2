"""Which code computes: the model itself for a little work, its engine for much.

The model itself starts at once.  The engine takes a third to a tenth of the time for each image, but it first loads
Numba and rearranges the weights, and compiles its kernels where this machine has never done so.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from ..printer import note
from .arguments import on_backend

# CPU seconds, roughly: they decide, they promise nothing
MODEL, ENGINE = 0.065, 0.02  # for a billion multiply-accumulates
MODEL_IMAGE = 0.002  # and for each image, in the calls of many small layers
START = 1.5  # the engine's first batch, its kernels compiled
COMPILE, KERNEL = 15.0, 3.0  # to compile kernels for the first time on a machine, and one more

GPU_BATCH = 64

Ask = Callable[[Any, Any], Any]  # (a model or its engine, x (N, C, H, W) float32) → an array of N rows


def logits(network: Any, x: Any) -> Any:
    """The scores (N, K)."""
    return network.logits(x)


class Network:
    """``ask(model, x)``, by the model itself or its engine, whichever costs less for the images that are left.

    A quantized network always runs in the engine: by itself it takes ten times as long as a model.

    images   how many there are; None where that is not known: as many are expected as have come
    backend  what computes, where a person has chosen it
    precision  "bfloat16": by the engine, in 16 bits

    Where the kernels are to be compiled, the model answers the first batch, and a line says what is waited for.
    """

    def __init__(
        self,
        model: Any,
        ask: Ask = logits,
        images: int | None = None,
        backend: str | None = None,
        precision: str | None = None,
    ):
        from ..quantized import QuantizedNetwork

        self.model, self.ask, self.images, self.backend, self.done = model, ask, images, backend, 0
        self.fast: Callable[[Any], Any] | None = None
        self.start: float | None = None  # seconds until the engine runs, found out late
        self.made: Any = None  # the engine
        self.saved: dict[tuple[int, ...], float] = {}
        quantized = isinstance(model, QuantizedNetwork)
        if quantized and backend == "cupy":
            raise ValueError("a quantized network runs on the CPU; leave out --backend cupy")
        if precision and backend in ("numpy", "cupy"):
            raise ValueError(f"--precision {precision} is for the engine on the CPU: leave out --backend {backend}")
        if backend != "numpy" and (backend or quantized or precision):
            backend = backend or "numba"
            self.fast = partial(ask_engine, engine(model, backend, precision), ask, backend)

    def batch(self, x: Any, wanted: int | None = None) -> int:
        """How many images such as x (C, H, W) to compute together: one while the model itself does."""
        if self.fast is None and not self.pays(x):
            return 1
        return wanted or self.largest(*x.shape[1:])

    def largest(self, height: int, width: int) -> int:
        """How many images of this size the engine takes through the network together."""
        from ..engine.shapes import batch_limit

        return GPU_BATCH if self.backend == "cupy" else batch_limit(height, width)

    def __call__(self, x: Any) -> Any:
        """The rows for images x (N, C, H, W)."""
        if self.fast is None and self.pays(x[0]):
            self.fast = partial(ask_engine, self.made or engine(self.model, "numba"), self.ask, "numba")
        y = self.fast(x) if self.fast else self.by_model(x)
        self.done += len(x)
        return y

    def by_model(self, x: Any) -> Any:
        """On NumPy: importing the compiler would take longer than an image does."""
        from ..backend import use

        with use("numpy"):
            return self.ask(self.model, x)

    def pays(self, x: Any) -> bool:
        """Whether the engine is the cheaper way for the images that are left, the next one being x (C, H, W)."""
        if self.backend == "numpy":
            return False
        if x.shape not in self.saved:
            self.saved[x.shape] = saved_seconds(self.model, x.shape)
        saved = self.saved[x.shape] * (self.done if self.images is None else self.images - self.done)
        if saved <= START:
            return False
        if self.start is None:
            self.start = self.start_seconds(x)
        return saved > self.start and (self.start == START or self.done > 0)

    def start_seconds(self, x: Any) -> float:
        """What the engine's first batch costs on this machine, for images such as x (C, H, W)."""
        from ..backend import without_numba
        from ..engine import compiled

        if without_numba():
            return float("inf")
        if not compiled():
            return START + COMPILE
        self.made = engine(self.model, "numba")
        return START + KERNEL * self.made.missing_kernels((self.largest(*x.shape[1:]), *x.shape))


def saved_seconds(model: Any, shape: tuple[int, ...]) -> float:
    """How much less time the engine takes than the model itself for an image of ``shape`` (C, H, W)."""
    from ..analysis.walk import tree_rows

    billions = sum(row.macs for row in tree_rows(model, (1, *shape))) / 1e9
    return MODEL_IMAGE + (MODEL - ENGINE) * billions


def engine(model: Any, backend: str, precision: str | None = None) -> Any:
    """The engine on the CPU or on a GPU."""
    from ..engine import optimize

    (there,) = on_backend(backend, model)
    return optimize(there, precision=precision)


def ask_engine(network: Any, ask: Ask, backend: str, x: Any) -> Any:
    """``ask`` for NumPy's x, in NumPy's arrays, wherever the engine is."""
    from ..backend import compiler, to_device

    if backend == "cupy":
        return to_device(ask(network, *on_backend(backend, x)), "cpu")
    with compiler.listener(tell_of_compiling):
        return ask(network, x)


@cache
def tell_of_compiling() -> None:
    """Print what is waited for."""
    note("compiling kernels for this machine: up to 20 seconds, once")


def check_classifier(model: Any) -> None:
    """Raise ValueError for a model of no class."""
    if model.spec.num_classes == 0:
        raise ValueError("this model has no classifier; read its features with npresnet features")


def check_choice(model: Any) -> None:
    """Raise ValueError for a model of no class, or of one, which chooses among none."""
    check_classifier(model)
    if model.spec.num_classes == 1:
        raise ValueError(
            "this model has a single score and so no classes to choose among; npresnet classify prints its sigmoid, "
            "the probability of what it was trained to detect"
        )


def probabilities(scores: Any) -> Any:
    """The softmax of an image's scores (K,), or the sigmoid where there is one alone: its softmax is always 1."""
    import numpy as np

    scores = scores.astype(np.float64)
    if len(scores) == 1:
        return np.exp(-np.logaddexp(0, -scores))  # 1 / (1 + exp(−z))
    p = np.exp(scores - scores.max())
    return p / p.sum()
