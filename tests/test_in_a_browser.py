"""What a browser lacks is not needed there: Numba, SciPy, threads, lzma."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from npresnet.data import ImageError, prefetch, tar_stream

ROOT = Path(__file__).parents[1]
SCRIPT = """
import sys

for name in ("numba", "scipy", "threadpoolctl", "rich", "lzma"):
    sys.modules[name] = None
import numpy as np

import npresnet
import npresnet.training
from npresnet.backend import default_backend

model = npresnet.load_model()
y, pullback = model.vjp(npresnet.preprocess(np.zeros((32, 32, 3), np.uint8), model))
assert default_backend() == "numpy" and y.shape == (1, 10) and pullback(y).shape == (1, 3, 32, 32)
assert npresnet.optimize(model)(np.zeros((1, 3, 32, 32), np.float32)).shape == (1, 10)
"""


def test_it_runs_without_what_a_browser_lacks():
    run = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_there_neither_numba_nor_a_newer_pillow_is_required():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.S | re.M)[1]
    requirements = [Requirement(line) for line in re.findall(r'"(.*?)"', listed)]
    for platform, pillow, expected in (
        ("emscripten", "10.2.0", {"numpy", "pillow", "rich"}),
        ("linux", "10.3.0", {"numba", "numpy", "pillow", "rich"}),
    ):
        needed = {r.name: r for r in requirements if not r.marker or r.marker.evaluate({"sys_platform": platform})}
        assert set(needed) == expected and pillow in needed["pillow"].specifier
        assert ("10.2.0" in needed["pillow"].specifier) == (platform == "emscripten")


def test_nothing_is_prefetched_in_a_thread_there(monkeypatch):
    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(prefetch, "ThreadPoolExecutor", no_thread)
    monkeypatch.setattr(sys, "platform", "emscripten")
    done = []
    results = prefetch.prefetch(lambda k: done.append(k) or k * k, range(5), workers=4)
    assert next(results) == 0 and done == [0] and list(results) == [1, 4, 9, 16]


def test_an_archive_that_this_python_cannot_unpack_is_refused_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lzma", None)
    (tmp_path / "cifar-10-python.tar.xz").write_bytes(b"\xfd7zXZ\0" + bytes(100))
    with pytest.raises(ImageError, match=r"this Python has no module lzma; unpack the archive elsewhere$"):
        with open(tmp_path / "cifar-10-python.tar.xz", "rb") as file, tar_stream.unpacked(file, "a.tar.xz"):
            pass
