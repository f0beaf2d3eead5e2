"""Where arrays live, and which code runs on them."""

from .arrays import Array, Pullback, array_namespace, as_array, floating, namespace_for
from .compiling import compiler
from .cuda import Captured, captured, gpu, tf32, tf32_allowed, to_device
from .dispatch import (
    Kernel,
    NotRecordable,
    backend_of,
    between_launches,
    default_backend,
    load_kernels,
    must_run_each_time,
    recorder,
    recording,
    recordings,
    release,
    thread_limit,
    use,
    without_numba,
)
from .ranks import Ranks

__all__ = [
    "Array",
    "Captured",
    "Kernel",
    "NotRecordable",
    "Pullback",
    "Ranks",
    "array_namespace",
    "as_array",
    "backend_of",
    "between_launches",
    "captured",
    "compiler",
    "default_backend",
    "floating",
    "gpu",
    "load_kernels",
    "must_run_each_time",
    "namespace_for",
    "recorder",
    "recording",
    "recordings",
    "release",
    "tf32",
    "tf32_allowed",
    "thread_limit",
    "to_device",
    "use",
    "without_numba",
]
