"""NVIDIA's run-time compiler from its wheel, which needs neither a GPU nor a driver."""

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path


def found():
    """(the library, the folder of CUDA's headers), or None where the wheels are not installed."""
    spec = find_spec("nvidia")
    roots = [Path(root) for root in spec.submodule_search_locations] if spec else []
    libraries = [p for root in roots for p in root.glob("*/lib/libnvrtc.so.*")]
    headers = [p.parent for root in roots for p in root.glob("*/include/cuda_fp16.h")]
    return (ctypes.CDLL(str(libraries[0])), headers[0]) if libraries and headers else None


@cache
def compiled(source, options):
    """(machine code, PTX, the compiler's log); raises ValueError with the log where the source is wrong."""
    library, headers = found()
    program = ctypes.c_void_p()
    check(library, library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None))
    flags = [option.encode() for option in (*options, f"-I{headers}", "--ptxas-options=-v")]
    status = library.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*flags))
    log = text(library, "ProgramLog", program).decode(errors="replace")
    if status:
        raise ValueError(log)
    code, ptx = text(library, "CUBIN", program), text(library, "PTX", program).decode()
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return code, ptx, log


def text(library, what, program) -> bytes:
    size = ctypes.c_size_t()
    check(library, getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    check(library, getattr(library, f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def check(library, status):
    if status:
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise OSError(f"nvrtc: {library.nvrtcGetErrorString(status).decode()}")
