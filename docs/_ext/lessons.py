"""The lessons: their order and titles, and which of the package's names each uses."""

import ast
import json
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@cache
def paths():
    """The notebooks in their order."""
    return sorted(NOTEBOOKS.glob("[0-9]*.ipynb"), key=lambda path: int(path.name.split("-")[0]))


@cache
def cells(path, kind):
    """The texts of a notebook's cells of one kind."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def title(path):
    """A lesson's heading."""
    return cells(path, "markdown")[0].split("\n")[0].removeprefix("# ")


@cache
def used(path):
    """The dotted names of the package that a lesson's code uses, in their order."""
    tree = ast.parse("\n".join(cells(path, "code")))
    alias, found = {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            alias |= {n.asname: n.name for n in node.names if n.asname}
            alias |= {n.name.split(".")[0]: n.name.split(".")[0] for n in node.names if not n.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            alias |= {n.asname or n.name: f"{node.module}.{n.name}" for n in node.names}
    for node in ast.walk(tree):
        if name := dotted(node):
            first, _, rest = name.partition(".")
            found.append(f"{alias[first]}.{rest}".rstrip(".") if first in alias else "")
    return list(dict.fromkeys(name for name in found if name.startswith("npresnet.")))


def dotted(node):
    """The text of a name or of attributes of a name, else ""."""
    if isinstance(node, ast.Name):
        return node.id
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return inner and f"{inner}.{node.attr}"


@cache
def value(name):
    """The object of a dotted name, or None; where a function and its module share a name, the function."""
    path, *parts = name.split(".")
    found = import_module(path)
    for part in parts:
        path = f"{path}.{part}"
        if not hasattr(found, part) and hasattr(found, "__path__") and find_spec(path):
            import_module(path)
        found = getattr(found, part, None)
    return found


def that_use(thing):
    """The lessons whose code uses an object."""
    return [path for path in paths() if any(value(name) is thing for name in used(path))]
