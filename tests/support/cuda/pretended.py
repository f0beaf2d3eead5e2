"""CuPy itself on a pretended GPU:  python -m pytest -p tests.support.cuda.pretended -m "gpu and not slow" tests/gpu

tests/support/fake_cupy.py says what its author knows of CuPy.  Here CuPy itself speaks, and what is pretended
lies below it: its modules find CUDA's runtime and driver in tables of addresses, whose functions give way to methods of
device.GPU, and the library cuBLAS is one made of device.Products.  NVRTC compiles each kernel, CuPy's own too, for
sm_90, and what runs is the same source as C++ (emulate.py).

It does not tell what only a GPU can: speed, what happens at the same time, and CUB's kernels, which are left out.  An
argument of a kernel that is too narrow shows on the stand-in only: CUDA is not told how wide one is.
"""

import ctypes
import os
import re
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from . import blas, emulate

KNOWN = "14.2"  # the version of CuPy that is pretended for
NOT_SUPPORTED, EXECUTION_FAILED = 15, 13  # cuBLAS's
failures = []  # in the current test, somebody may have swallowed them

api = ctypes.pythonapi
api.PyCapsule_GetName.argtypes, api.PyCapsule_GetName.restype = [ctypes.py_object], ctypes.c_char_p
api.PyCapsule_SetPointer.argtypes = [ctypes.py_object, ctypes.c_void_p]


def pytest_configure():
    """Let CuPy find a GPU."""
    if "cupy" in sys.modules:
        raise pytest.UsageError("CuPy was imported before its GPU was pretended")
    if emulate.compiler is None:
        raise pytest.UsageError("a pretended GPU needs a C++ compiler")
    os.environ["CUPY_ACCELERATORS"] = ""
    os.environ["CUPY_CACHE_DIR"] = f"{tempfile.gettempdir()}/npresnet-pretended-{os.getuid()}"  # not for a real GPU
    from .device import GPU, Products

    gpu = GPU()
    replaced = list(entries(gpu))
    link(replaced, Products(gpu))
    import cupy.cuda.compiler
    import cupy_backends.cuda.libs.cublas  # noqa: F401  (or CuPy looks for another library of that name)

    cupy.cuda.compiler._compile_using_nvrtc_no_warning = checking(cupy.cuda.compiler._compile_using_nvrtc_no_warning)
    if find_spec("ml_dtypes"):
        from ml_dtypes import bfloat16

        blas.DTYPES[14] = bfloat16


def pytest_report_header():
    import cupy

    return f"a pretended GPU under CuPy {cupy.__version__}"


def entries(gpu):
    """(capsule, signature, method) for the functions that ``gpu`` replaces; a capsule holds the address of one."""
    from cupy_backends.cuda.api import driver, runtime

    names = {name for name in vars(type(gpu)) if name[0] != "_"} | {"_ensure_context"}
    for module in (runtime, driver):
        for name in sorted(names & module.__pyx_capi__.keys()):
            names.remove(name)
            capsule = module.__pyx_capi__[name]
            signature = re.sub(r"struct \w+ \*\w+", "void *", api.PyCapsule_GetName(capsule).decode())
            places = signature.partition("int __pyx_skip_dispatch")[0].count(",")  # the rest is Cython's
            method = answering(getattr(gpu, name), places)
            setattr(module, name, method)  # for calls in Python
            yield capsule, signature.replace(" __pyx_skip_dispatch", ""), method
    if names:
        raise pytest.UsageError(f"this CuPy lacks {', '.join(sorted(names))}; {Path(__file__).name} knows {KNOWN}")


def answering(method, places=None, failed=None):
    """The method, called with the first so many arguments.  CUDA's errors are answers; others fail the test."""
    from cupy_backends.cuda.api.runtime import CUDARuntimeError

    def answer(*args):
        try:
            return method(*args[:places])
        except CUDARuntimeError:
            raise
        except Exception as error:
            failures.append(error)
            if failed is None:
                raise
            return failed

    return answer


def link(replaced, products):
    """Compile functions that call the methods, under the name of the cuBLAS that CuPy's binding wants; put them in."""
    binding = Path(find_spec("cupy_backends.cuda.libs.cublas").origin).read_bytes()
    wanted = {name.decode() for name in re.findall(rb"(?<=\0)cublas[A-Z]\w+(?=\0)", binding)} - products.types.keys()
    soname = re.search(rb"libcublas\.so\.\d+", binding).group().decode()
    methods = [method for *_, method in replaced]
    calls = [f"(void *)Entry<{number}, {signature}>::call" for number, (_, signature, _) in enumerate(replaced)]
    code = ['#include "entry.h"', f'extern "C" {{ void *calls[] = {{{", ".join(calls)}}}; }}']
    for name, types in products.types.items():
        code.append(exported(name, types.split(", "), len(methods)))
        methods.append(answering(getattr(products, name), failed=EXECUTION_FAILED))
    code += [f'extern "C" int {name}() {{ return {NOT_SUPPORTED}; }}' for name in sorted(wanted)]
    path = emulate.compiled("\n".join(code), [f"-Wl,-soname,{soname},--default-symver"])
    library = ctypes.PyDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    for place, method in enumerate(methods):
        api.Py_IncRef(ctypes.py_object(method))  # C holds it from now on
        (ctypes.py_object * len(methods)).in_dll(library, "methods")[place] = method
    for (capsule, *_), address in zip(replaced, (ctypes.c_void_p * len(replaced)).in_dll(library, "calls")):
        api.PyCapsule_SetPointer(capsule, address)


def exported(name, types, number):
    """A function in C++ that other libraries find."""
    given = [f"a{place}" for place in range(len(types))]
    parameters = ", ".join(map(" ".join, zip(types, given)))
    body = f"return Entry<{number}, int({', '.join(types)})>::call({', '.join(given)});"
    return f'extern "C" int {name}({parameters}) {{ {body} }}'


def checking(compile):
    """CuPy's way to NVRTC; the source takes the place of the machine code that it made of it."""

    def checked(source, options=(), *args):
        _, names = compile(source, options, *args)
        return "\0".join((source, *options)).encode(), names

    return checked


@pytest.fixture(autouse=True)
def first_algorithm(monkeypatch):
    """The engine takes the first algorithm for a convolution: times mean nothing here."""
    monkeypatch.setattr("npresnet.engine.gpu.convolutions.autotune", lambda cupy, runs: 0)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call():
    failures.clear()
    try:
        return (yield)
    finally:
        if failures:
            raise failures[0]
