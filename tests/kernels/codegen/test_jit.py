"""Machine code that is kept is that of the sources as they are."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import npresnet
from npresnet.kernels.cpu import arrays, threads
from npresnet.kernels.cpu.codegen import disk_cache, jit
from npresnet.ops import winograd

PART = "from ..codegen.jit import inlined\n\n\n@inlined\ndef part(x):\n    return x + {}\n"
WHOLE = """from numba import njit
from .codegen.jit import cached
from .conv.part import part


@cached(njit)
def whole(x):
    return part(x)


print(whole(1), sum(whole.stats.cache_hits.values()))
"""


@pytest.mark.slow
def test_a_change_in_another_file_is_noticed(tmp_path):
    root, folder = Path(npresnet.__file__).parent, tmp_path / "package/kernels/cpu"
    for path in (*(root / "backend").glob("*.py"), *(Path(m.__file__) for m in (jit, disk_cache, arrays, threads))):
        place = tmp_path / "package" / path.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(path.read_text())
    (folder / "conv").mkdir()
    (folder / "whole.py").write_text(WHOLE)

    def answer(number):
        (folder / "conv/part.py").write_text(PART.format(number))
        command = [sys.executable, "-m", "package.kernels.cpu.whole"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        return done.stdout.split() or done.stderr

    assert [answer(1), answer(1), answer(2), answer(2)] == [["2", "0"], ["2", "1"], ["3", "0"], ["3", "1"]]


def test_the_sources_are_all_that_kernels_are_made_of():
    """Whatever of this package a kernel's file takes a name from; dispatch is no part of machine code."""
    files, found = {path.resolve() for path in jit.source_files()}, set()
    folder = Path(npresnet.__file__).parent
    for path in (folder / "kernels/cpu").rglob("*.py"):
        module = ".".join(["npresnet", *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__")
        names = vars(importlib.import_module(module)).values()
        found |= {getattr(value, "__name__" if isinstance(value, type(sys)) else "__module__", "") for value in names}
    origins = {
        Path(sys.modules[name].__file__).resolve()
        for name in found
        if isinstance(name, str) and name.startswith("npresnet.") and not name.startswith("npresnet.backend")
    }
    assert len(origins) > 30 and origins <= files
    assert Path(winograd.__file__).resolve() in files


def test_a_subroutine_made_by_a_function_needs_a_name():
    def add(number):
        return lambda x: x + number

    with pytest.raises(TypeError, match="needs a name that tells it from what else this function makes"):
        jit.subroutine(add(1))
    assert jit.subroutine(add(1), "add_one").__qualname__ == "add_one"


COMPILE = """
import sys
from npresnet.kernels.cpu.quantized import convolution
from npresnet.kernels.cpu.bfloat16 import convolution as bfloat16
kernels = convolution.kernels("plain") if sys.argv[1] == "int8" else bfloat16.kernels("multiply_add", wide=True)
kernels.product.address
"""
COMPUTE = """
import numpy as np
from npresnet import nn
from npresnet.engine.cpu.bfloat16 import Bfloat16Engine
from npresnet.engine.cpu.quantized import QuantizedEngine
from npresnet.quantized import QuantizedNetwork
from npresnet.quantized.float_step import INPUT
from npresnet.quantized.steps import Weighted

rng = np.random.default_rng(0)
weight, ones = rng.integers(-9, 9, (20, 16), np.int8), np.ones(20, np.float32)
step = Weighted("fc", (INPUT,), 40.0, 128, False, weight[..., None, None], ones, 0 * ones, {})
network = QuantizedNetwork([step], 1.0, 0)
x = rng.integers(0, 200, (2, 16, 1, 1)).astype(np.float32)
model = nn.Sequential(nn.GlobalAvgPool2d(), nn.Linear(16, 20)).eval()
model[1].weight.value = weight.astype(np.float32)
engines = QuantizedEngine(network, 1, road="plain"), Bfloat16Engine(model, 1, road="multiply_add")
print(*[np.array_equal(engine(x), one(x)) for engine, one in zip(engines, (network, model))])
"""


def test_kernels_that_two_processes_compiled_run_in_a_third(tmp_path):
    """Each counts the functions it compiles, and calls the subroutine "multiply_strided" after its own number."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}

    def run(*command):
        done = subprocess.run([sys.executable, "-c", *command], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    run(COMPILE, "int8")
    run(COMPILE, "bfloat16")
    assert run(COMPUTE) == ["True", "True"]
