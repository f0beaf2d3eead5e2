"""Where these tests run: on kernels compiled for the host, and, marked gpu, on the GPU of this machine."""

import sys

import pytest

from ..support import fake_cupy
from ..support.cuda import emulate


def usable_gpu():
    """CuPy's module where a kernel runs to the end, else None."""
    if sys.modules.get("cupy") is fake_cupy.MODULE:
        return None
    try:
        import cupy

        return cupy if int(cupy.ones(3).sum()) == 3 else None
    except Exception:  # no CuPy, no driver, no device: each has an error of its own
        return None


@pytest.fixture(params=["host", pytest.param("gpu", marks=pytest.mark.gpu)])
def cupy(request, monkeypatch):
    """The module whose arrays run the kernels: the stand-in, where nothing is measured, or CuPy itself."""
    if request.param == "gpu":
        found = usable_gpu()
        if found is None:
            pytest.skip("no usable GPU")
        yield found
        return
    if emulate.compiler is None:
        pytest.skip("no GPU, and no C++ compiler to run its kernels without one")
    monkeypatch.setattr("npresnet.engine.gpu.convolutions.autotune", lambda cupy, runs: 0)
    with fake_cupy.installed(kernels=True) as found:
        yield found
