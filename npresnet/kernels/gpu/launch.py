"""The CUDA sources beside this file: how they are compiled and launched, and which arrays they support."""

from collections.abc import Callable, Sequence
from functools import cache, wraps
from importlib.resources import files
from math import gcd
from typing import Any, TypeVar

import numpy as np

from ...backend import Array, array_namespace

SOURCES = ("types.cuh", "im2col.cu", "norm.cu", "pool.cu", "pointwise.cu", "loss.cu")
DTYPES = ("float16", "bfloat16", "float32", "float64")
ACCESS = 16                      # bytes that a thread moves at once
BLOCK = 256                      # threads
MAX_THREADS = 2**31 - 2 * BLOCK  # of a launch: their numbers are ints
STATIC = 48 * 1024               # bytes of shared memory that every kernel may ask for

Result = TypeVar("Result")


def source(names: Sequence[str] = SOURCES) -> str:
    """The kernels as one text."""
    folder = files("npresnet.kernels.gpu")
    return "\n".join(folder.joinpath(name).read_text() for name in names)


def compile_options(dtype: str, width: int) -> tuple[str, ...]:
    """The compiler's options, but for the architecture: for arrays of ``dtype`` in packs of ``width``."""
    return "-std=c++17", f"-DREAL_{dtype.upper()}", f"-DWIDTH={width}"


def cache_per_gpu(function: Callable[..., Result]) -> Callable[..., Result]:
    """functools.cache for a function of CuPy's module and more, with an entry for each GPU that was the current one."""
    known = cache(lambda number, *args: function(*args))

    @wraps(function)
    def cached(cupy, *args):
        return known(cupy.cuda.runtime.getDevice(), cupy, *args)

    return cached


@cache_per_gpu
def kernel(cupy: Any, name: str, options: tuple[str, ...], sources: tuple[str, ...] = SOURCES, shared: int = 0) -> Any:
    """A function of the compiled sources, ready for launches with so many bytes of shared memory."""
    function = module(cupy, options, sources).get_function(name)
    if shared > STATIC:
        function.max_dynamic_shared_size_bytes = shared
    return function


@cache
def module(cupy: Any, options: tuple[str, ...], sources: tuple[str, ...]) -> Any:
    """The sources compiled with these options; CuPy keeps the machine code on disk."""
    return cupy.RawModule(code=source(sources), options=options)


def launch(name: str, arrays: Sequence[Array], numbers: Sequence[float], grid: tuple[int, ...],
           block: tuple[int, ...] = (BLOCK,), width: int = 1, like: Array | None = None) -> None:
    """Run ``name`` on arrays (the first of them, or ``like``, says what ``real`` is), then ints and floats."""
    like = arrays[0] if like is None else like
    function = kernel(array_namespace(like), name, compile_options(like.dtype.name, width))
    enqueue(function, arrays, numbers, grid, block, like.dtype)


def enqueue(function: Callable[..., Any], arrays: Sequence[Any], numbers: Sequence[float], grid: tuple[int, ...],
            block: tuple[int, ...], dtype: np.dtype, shared: int = 0) -> None:
    """Launch a function on arrays, then ints, then floats in the :func:`sum_dtype` of ``dtype``."""
    here = array_namespace(arrays[0]).cuda.runtime.getDevice()
    if arrays[0].device.id != here:
        raise ValueError(f"these arrays are on GPU {arrays[0].device.id}, and GPU {here} is the current one; "
                         f"compute inside: with cupy.cuda.Device({arrays[0].device.id})")
    real = sum_dtype(dtype).type
    typed = [real(n) if isinstance(n, float) else np.int32(n) for n in numbers]
    function(grid, block, (*arrays, *typed), shared_mem=shared)


def launch_each(name: str, arrays: Sequence[Array], numbers: Sequence[float], count: int, width: int = 1,
                like: Array | None = None) -> None:
    """Launch ``count`` threads; ``count`` is the first number."""
    launch(name, arrays, (count, *numbers), (-(-count // BLOCK),), (BLOCK,), width, like)


def sum_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype that sums are taken in (``wide`` in the sources): float32, or float64 for float64."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def supports_arrays(*arrays: Array | None) -> bool:
    """Whether these arrays (None is ignored) are of one dtype that kernels know, neither empty nor too large."""
    given = [a for a in arrays if a is not None]
    one_dtype = len({a.dtype for a in given}) == 1 and given[0].dtype.name in DTYPES
    return one_dtype and all(0 < a.size < MAX_THREADS for a in given)


def pack_size(dtype: np.dtype) -> int:
    """How many numbers a thread moves at once, at most."""
    return ACCESS // dtype.itemsize


def pack_width(dtype: np.dtype, channels: int, *arrays: Any) -> int:
    """How many neighbouring channels move at once: up to 16 bytes, dividing the channels, where memory is aligned."""
    width = gcd(channels, pack_size(dtype))
    aligned = all(a.data.ptr % (width * dtype.itemsize) == 0 for a in arrays)
    return width if aligned else 1


def channels_last(x: Array, dtype: np.dtype | None = None) -> Array:
    """Images (N, C, H, W) as contiguous (N, H, W, C): a copy only where order or dtype of the memory is another."""
    return array_namespace(x).ascontiguousarray(x.transpose(0, 2, 3, 1), dtype=dtype)


def channels_first(x: Array) -> Array:
    """(N, H, W, C) as (N, C, H, W), without a copy."""
    return x.transpose(0, 3, 1, 2)
