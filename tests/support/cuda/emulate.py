"""The CUDA sources run on the host: compiled as C++ with host/simt.h, and launched with NumPy's memory."""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path

import numpy as np

HOST = Path(__file__).parent / "host"
FLAGS = (
    "-std=c++17",
    "-O2",
    "-shared",
    "-fPIC",
    "-x",
    "c++",
    "-Wno-unknown-pragmas",
    "-fno-gnu-unique",  # or all libraries would share one piece of __shared__ memory
    "-U_FORTIFY_SOURCE",
)  # which takes a jump from fiber to fiber for a mistake
KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\)\s*)?(\w+)\(')
STATIC = 48 * 1024  # bytes of shared memory that a launch may ask for as it is
STATUS = [
    "",
    "no GPU takes a grid of {} blocks of {} threads",
    "a barrier that only some threads of a block reach",
    "an operation of a warp that only some of its lanes reach",
    "writes beyond its shared memory",
    "rows of a matrix that lie in the same banks",
]
compiler = shutil.which("g++") or shutil.which("clang++")


def build(code, options, header="simt.h", barriers=None):
    """The library of a CUDA source; ``barriers`` are the kernels whose threads must run as fibers."""
    barriers = with_barriers() if barriers is None else barriers
    macros = [f"#define {option[2:].replace('=', ' ')}\n" for option in options if option.startswith("-D")]
    exports = [f"\nEXPORT({name}, {str(name in barriers).lower()})" for name in KERNEL.findall(code)]
    source = "".join([f'#include "{header}"\n', *macros, code, *exports])  # macros would change a compiled header
    return ctypes.CDLL(str(compiled(source, [option for option in options if not option.startswith("-D")])))


def compiled(source, options):
    """Where the shared library of C++ lies: in the temporary directory, for the next run too."""
    flags = (*FLAGS, *options, f"-I{HOST}")
    library = _kept(".so", source, *flags)
    if not library.exists():
        _compile(library, (f"-I{_precompiled()}", *flags, "-"), source)
    return library


def _precompiled():
    """A directory with simt.h as g++ has read it, which takes a third of most kernels' time."""
    flags = ("c++-header" if flag == "c++" else flag for flag in FLAGS if flag != "-shared")
    header = _kept("", "simt.h") / "simt.h.gch"
    if not header.exists():
        header.parent.mkdir(exist_ok=True)
        _compile(header, (*flags, str(HOST / "simt.h")))
    return header.parent


def _kept(suffix, *parts):
    """The path, in a directory that only this user reads, of what is made from these parts and the headers."""
    parts = (compiler, *parts, *FLAGS, *(path.read_text() for path in sorted(HOST.glob("*.h"))))
    folder = Path(tempfile.gettempdir()) / f"npresnet-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / (hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24] + suffix)


def _compile(target, arguments, source=None):
    """Write the whole file or none."""
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    done = subprocess.run([compiler, "-o", str(fresh), *arguments], input=source, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{compiler} cannot compile the kernels for the host:\n{done.stderr[:4000]}")
    fresh.replace(target)


def defined(options) -> list:
    """The host compiler's options for those of CUDA's."""
    return [option for option in options if option.startswith("-D")]


def with_barriers() -> set:
    """Our kernels in files that have barriers."""
    from npresnet.kernels.gpu.launch import files

    texts = [source.read_text() for source in files("npresnet.kernels.gpu").iterdir() if source.name.endswith(".cu")]
    return {name for text in texts if "__syncthreads" in text for name in KERNEL.findall(text)}


class RawModule:
    """CuPy's class of this name, for kernels whose arguments are arrays and NumPy's scalars."""

    launched = []  # the names, in order

    def __init__(self, *, code, options=()):
        self.code, self.options = code, options

    @cached_property
    def library(self):
        return build(self.code, defined(self.options))

    def get_function(self, name):
        return Function(self, name)


class Function:
    """A kernel; ``through`` may wrap each launch."""

    through = staticmethod(lambda launch: launch)
    max_dynamic_shared_size_bytes = STATIC

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self, grid, block, args, *, shared_mem=0):
        self.through(self.run)(grid, block, args, shared_mem)

    def run(self, grid, block, args, shared_mem):
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise RuntimeError(f"{self.name}: {shared_mem} bytes of shared memory are more than it may ask for")
        RawModule.launched.append(self.name)
        launch(self.module.library, self.name, grid, block, args, shared_mem)


def launch(library, name, grid, block, args, shared=0):
    """Launch as cuLaunchKernel does: an array of addresses of arguments."""
    sizes = (ctypes.c_int * 64)()
    getattr(library, f"sizes_{name}")(sizes)
    held = [pointer_to(arg) for arg in args]
    given, wanted = [a.itemsize for a in held], [size for size in sizes if size]
    if given != wanted:
        raise TypeError(f"{name} takes arguments of {wanted} bytes, not {given}")
    addresses = (ctypes.c_void_p * len(held))(*(a.ctypes.data for a in held))
    shape = [(ctypes.c_uint * 2)(*(tuple(sides) + (1,))[:2]) for sides in (grid, block)]
    status = getattr(library, f"launch_{name}")(*shape, ctypes.c_uint(shared), addresses)
    if status:
        raise RuntimeError(f"{name}: {STATUS[status].format(grid, block)}")


def pointer_to(arg):
    """An array that holds what is passed: a scalar, or the address of an array of the device."""
    if isinstance(arg, np.generic):
        return np.asarray(arg)
    if hasattr(arg, "_array"):
        return np.asarray(arg.data.ptr, np.uint64)
    raise TypeError(f"a kernel takes arrays of the device and NumPy's scalars, not {type(arg).__name__}")
