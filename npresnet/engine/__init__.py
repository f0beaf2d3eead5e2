"""Fast inference with a finished model: fold, fuse, choose an algorithm for each layer, run."""

import warnings
from collections.abc import Iterable
from numbers import Integral

import numpy as np

from ..backend import Array, array_namespace, without_numba
from ..nn import BatchNorm2d, Chain, Module, Softmax
from ..quantized import QuantizedNetwork, quantize
from .base import Engine

__all__ = ["Engine", "compiled", "optimize"]

PRECISIONS = ("float32", "bfloat16", "int8")


def optimize(
    model: Module | QuantizedNetwork,
    *,
    threads: int | None = None,
    profile: bool = False,
    precision: str | None = None,
    images: Array | Iterable[Array] | None = None,
    observer: str = "minmax",
) -> Engine | Module | QuantizedNetwork:
    """A fast equivalent of a finished ``model``: takes and returns arrays as ``model(x)`` does; on the CPU in float32.

    ``precision="bfloat16"`` keeps weights and the images between layers in 16 bits, and sums in float32: half the
    memory, a precision of three digits, and fast where the processor multiplies them (AVX512-BF16, or NEON's BF16).
    ``precision="int8"`` quantizes the model first, by ``images`` and ``observer`` as :func:`npresnet.quantize` does; a
    network that is quantized already runs so, and gives the bits that it gives by itself.

    The weights are copied: training ``model`` afterwards does not change the engine.  ``profile=True`` times each step
    (see ``print(engine.plan)``), run by itself, so that short ones carry the time to wake the threads.  Without Numba
    (or where NUMBA_DISABLE_JIT stops it) the model itself is returned, with a warning.

    Raises: TypeError where ``model`` is none; ValueError where it is in training mode, or has a batch norm without
    running statistics.

    >>> import numpy as np, npresnet
    >>> model = npresnet.create_model("resnet20")
    >>> engine = npresnet.optimize(model)
    >>> engine(np.zeros((2, 3, 32, 32), np.float32)).shape
    (2, 10)
    """
    if not isinstance(model, Module | QuantizedNetwork):
        raise TypeError(f"optimize takes a model, not {type(model).__name__}")
    if threads is not None and (not isinstance(threads, Integral) or threads < 1):
        raise ValueError(f"threads is how many may work at once, or None for all cores, not {threads!r}")
    if precision not in (None, *PRECISIONS):
        raise ValueError(f"precision must be one of {', '.join(map(repr, PRECISIONS))}, not {precision!r}")
    if isinstance(model, QuantizedNetwork):
        if precision in ("float32", "bfloat16"):
            raise ValueError("this network is quantized: take the float32 model that it was made from")
        return _integers(model, threads, profile)
    if precision == "int8":
        if images is None:
            raise ValueError("precision='int8' needs images=: some hundred like those that the model will see")
        engine = _integers(quantize(model, images, observer=observer), threads, profile)
        if isinstance(engine, Engine) and isinstance(model, Chain) and model.scoring() is not model:
            engine.softmax = Softmax()  # the model ends with one, the integers with its input
        return engine
    norms = [part for part in model.modules() if isinstance(part, BatchNorm2d)]
    if any(norm.running_mean is None for norm in norms):
        raise ValueError(
            "a batch norm of this model has no running statistics (track_running_stats=False): what it makes "
            "of an image depends on the batch, and an engine takes each image by itself"
        )
    if any(norm.uses_batch_statistics for norm in norms):
        raise ValueError("this model is in training mode, where batch norm follows the batch; call model.eval() first")
    if any(array_namespace(parameter.value) is not np for parameter in model.parameters()):
        from .gpu.engine import GpuEngine

        if precision == "bfloat16":
            raise ValueError("precision='bfloat16' is for CPUs; on a GPU, take model.astype(ml_dtypes.bfloat16)")
        return GpuEngine(model)
    if reason := without_numba():
        if precision == "bfloat16":
            raise ValueError(f"precision='bfloat16' needs the engine, which cannot run here: {reason}")
        warnings.warn(f"optimize() runs the model itself: {reason}", stacklevel=2)
        return model
    if precision == "bfloat16":
        from .cpu.bfloat16 import Bfloat16Engine

        return Bfloat16Engine(model, threads, profile)
    from .cpu.engine import CpuEngine

    return CpuEngine(model, threads, profile)


def _integers(network, threads, profile):
    if reason := without_numba():
        warnings.warn(f"optimize() runs the network itself: {reason}", stacklevel=3)
        return network
    from .cpu.quantized import QuantizedEngine

    return QuantizedEngine(network, threads, profile)


def compiled() -> bool:
    """Whether an engine has run on this machine before, so that its kernels need not be compiled."""
    if without_numba():
        return False
    from ..kernels.cpu.program.thread_pool import walk_is_cached

    return walk_is_cached()
