"""Run a notebook where only NumPy, Pillow and matplotlib are, as in a browser, and print each cell's text as JSON.

    python -m tests.notebooks.plainly notebooks/1-convolution.ipynb

Cells with the tag not-in-browser are left out; threads cannot be started.
"""

import ast
import contextlib
import io
import json
import os
import sys
import threading
from importlib.machinery import PathFinder
from pathlib import Path

ABSENT = {"numba", "llvmlite", "scipy", "threadpoolctl", "skimage", "IPython", "torch", "cupy", "mpi4py"}


class OnlyThese(PathFinder):
    """Finds on the path what a browser has, too."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] in ABSENT else super().find_spec(fullname, path, target)


def refused(*args, **kwargs):
    raise RuntimeError("can't start new thread")


def text_of(source, names):
    """What the cell prints; the value of its last line is shown nowhere."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(ast.parse(source), "cell", "exec"), names)
    return out.getvalue()


def main(path):
    import matplotlib.pyplot

    matplotlib.use("Agg")
    sys.meta_path = [OnlyThese if finder is PathFinder else finder for finder in sys.meta_path]
    sys.platform = "emscripten"
    threading.Thread.start = refused
    cells, names, texts = json.loads(Path(path).read_text(encoding="utf-8"))["cells"], {"__name__": "__main__"}, {}
    os.chdir(Path(path).parent)
    for number, cell in enumerate(cells):
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and not {"not-in-browser", "check"} & set(tags):
            texts[number] = text_of("".join(cell["source"]), names)
            matplotlib.pyplot.close("all")
    print(json.dumps(texts))


if __name__ == "__main__":
    main(sys.argv[1])
