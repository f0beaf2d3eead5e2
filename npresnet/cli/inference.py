"""Which code computes the scores: the reference for a few images, the engine for many.

The reference starts at once.  The engine is five to fifty times as fast for each image, but it first rearranges the
weights, and compiles its kernels where this machine has never done so.
"""

from collections.abc import Callable
from typing import Any

from ..printer import note
from .arguments import on_backend

MANY, MANY_UNCOMPILED = 24, 256  # numbers of images from which on the engine takes less time, start included

Scorer = Callable[[Any], Any]  # x (N, C, H, W) float32 → scores (N, K), both NumPy's


def scorer(model: Any, images: int, backend: str | None = None) -> Scorer:
    """The function that computes the scores of ``model``: on ``backend``, else whichever is faster for so many images.

    A line on standard error says where that compiles.
    """
    check_classifier(model)
    if backend:
        return reference(model) if backend == "numpy" else engine(model, backend)
    from ..backend import without_numba

    if images < MANY or without_numba():
        return reference(model)
    from ..engine import compiled, optimize

    if not compiled() and images < MANY_UNCOMPILED:
        return reference(model)
    if not compiled():
        note("compiling the kernels for this machine: about 15 seconds, once")
    return optimize(model).logits


def check_classifier(model: Any) -> None:
    """Raise ValueError for a model of no class."""
    if model.spec.num_classes == 0:
        raise ValueError("this model has no classifier; read its features with npresnet.load_model(file)(x)")


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

    if len(scores) == 1:
        return np.exp(-np.logaddexp(0, -scores))  # 1 / (1 + exp(−z))
    p = np.exp(scores - scores.max())
    return p / p.sum()


def engine(model: Any, backend: str) -> Scorer:
    """The engine on the CPU or on a GPU."""
    from ..backend import to_device
    from ..engine import optimize

    (there,) = on_backend(backend, model)
    optimized = optimize(there)
    return lambda x: to_device(optimized.logits(*on_backend(backend, x)), "cpu")


def reference(model: Any) -> Scorer:
    """The model itself on NumPy: importing the compiler would take longer than an image does."""
    from ..backend import use

    def run(x):
        with use("numpy"):
            return model.logits(x)

    return run
