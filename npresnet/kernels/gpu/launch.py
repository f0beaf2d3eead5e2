"""The CUDA sources beside this file: how they are compiled and launched."""

from functools import cache, wraps
from importlib.resources import files
from math import gcd

import numpy as np

from ...backend import array_namespace

SOURCES = ("types.cuh", "im2col.cu", "norm.cu", "pool.cu", "pointwise.cu", "loss.cu")
DTYPES = ("float16", "bfloat16", "float32", "float64")
ACCESS = 16                      # bytes that a thread moves at once
BLOCK = 256                      # threads
LARGEST = 2**31 - 2 * BLOCK      # things that threads are numbered for
STATIC = 48 * 1024               # bytes of shared memory that every kernel may ask for


def source(names=SOURCES) -> str:
    """The kernels as one text."""
    return "\n".join(files(__package__).joinpath(name).read_text() for name in names)


def options(dtype, width) -> tuple[str, ...]:
    """What the compiler is told, besides the architecture."""
    return "-std=c++17", f"-DREAL_{dtype.upper()}", f"-DWIDTH={width}"


def for_each_gpu(function):
    """functools.cache for a function of CuPy's module and more, whose answer hangs on the current GPU."""
    known = cache(lambda number, *args: function(*args))

    @wraps(function)
    def ask(cupy, *args):
        return known(cupy.cuda.runtime.getDevice(), cupy, *args)

    return ask


@for_each_gpu
def kernel(cupy, name, told, sources=SOURCES, shared=0):
    """A function of the compiled sources, ready for launches with so many bytes of shared memory."""
    function = module(cupy, told, sources).get_function(name)
    if shared > STATIC:
        function.max_dynamic_shared_size_bytes = shared
    return function


@cache
def module(cupy, told, sources):
    """The sources compiled with the options ``told``; CuPy keeps the machine code on disk."""
    return cupy.RawModule(code=source(sources), options=told)


def launch(name, arrays, numbers, grid, block=(BLOCK,), width=1, like=None):
    """Run ``name`` on arrays (the first of them, or ``like``, says what ``real`` is), then ints and wide floats."""
    like = arrays[0] if like is None else like
    enqueue(kernel(array_namespace(like), name, options(like.dtype.name, width)), arrays, numbers, grid, block,
            like.dtype)


def enqueue(function, arrays, numbers, grid, block, dtype, shared=0):
    """Launch a function on arrays, then ints, then floats in ``wide`` of ``dtype``."""
    here = array_namespace(arrays[0]).cuda.runtime.getDevice()
    if arrays[0].device.id != here:
        raise ValueError(f"these arrays are on GPU {arrays[0].device.id}, and GPU {here} is the current one; "
                         f"compute inside: with cupy.cuda.Device({arrays[0].device.id})")
    real = wide(dtype).type
    typed = [real(n) if isinstance(n, float) else np.int32(n) for n in numbers]
    function(grid, block, (*arrays, *typed), shared_mem=shared)


def launch_each(name, arrays, numbers, count, width=1, like=None):
    """One thread for each of ``count`` things; ``count`` is the first number."""
    launch(name, arrays, (count, *numbers), (-(-count // BLOCK),), (BLOCK,), width, like)


def wide(dtype):
    """What sums are taken in."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def fits(*arrays) -> bool:
    """Whether these arrays (None is ignored) are of one dtype that kernels know, neither empty nor too large."""
    given = [a for a in arrays if a is not None]
    one = len({a.dtype for a in given}) == 1 and given[0].dtype.name in DTYPES
    return one and all(0 < a.size < LARGEST for a in given)


def pack(dtype) -> int:
    """How many numbers a thread moves at once."""
    return ACCESS // dtype.itemsize


def width_of(dtype, channels, *arrays) -> int:
    """How many neighbouring channels move at once: up to 16 bytes, dividing the channels, where memory is aligned."""
    width = gcd(channels, pack(dtype))
    aligned = all(a.data.ptr % (width * dtype.itemsize) == 0 for a in arrays)
    return width if aligned else 1


def last(x, dtype=None):
    """Images (N, C, H, W) as contiguous (N, H, W, C): a copy only where order or dtype of the memory is another."""
    return array_namespace(x).ascontiguousarray(x.transpose(0, 2, 3, 1), dtype=dtype)


def first(x):
    """(N, H, W, C) as (N, C, H, W), without a copy."""
    return x.transpose(0, 3, 1, 2)
