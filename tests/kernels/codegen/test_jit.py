"""Machine code that is kept is that of the sources as they are."""

import importlib
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
