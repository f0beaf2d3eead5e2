"""Machine code that is kept is that of the sources as they are."""

import subprocess
import sys
from pathlib import Path

import pytest

from npresnet.kernels.cpu import compiled

PART = "from .compiled import inlined\n\n\n@inlined\ndef part(x):\n    return x + {}\n"
WHOLE = """from numba import njit
from .compiled import cached
from .part import part


@cached(njit)
def whole(x):
    return part(x)


print(whole(1), sum(whole.stats.cache_hits.values()))
"""


@pytest.mark.slow
def test_a_change_in_another_file_is_noticed(tmp_path):
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "compiled.py").write_text(Path(compiled.__file__).read_text())
    (folder / "whole.py").write_text(WHOLE)

    def answer(number):
        (folder / "part.py").write_text(PART.format(number))
        done = subprocess.run([sys.executable, "-m", "kernels.whole"], cwd=tmp_path, capture_output=True, text=True)
        return done.stdout.split() or done.stderr

    assert [answer(1), answer(1), answer(2), answer(2)] == [["2", "0"], ["2", "1"], ["3", "0"], ["3", "1"]]
