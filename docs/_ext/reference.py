"""The reference: a page for each public package, of the names in its `__all__`, under the modules that define them."""

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import docstrings
import lessons

import npresnet
from npresnet import teaching

FIRST = """
    npresnet npresnet.ops npresnet.nn npresnet.models npresnet.weights npresnet.data npresnet.training npresnet.engine
    npresnet.quantized npresnet.distributed npresnet.backend npresnet.verify npresnet.analysis npresnet.teaching
""".split()
MODULES = {  # of packages without __all__: the modules whose every name is public
    "npresnet.verify": ("gradcheck", "derivative", "golden"),
    "npresnet.analysis": ("summary", "features", "cam", "overlay", "diff"),
    "npresnet.teaching": tuple(module.name for module in iter_modules(teaching.__path__)),
}


def packages():
    """Those named above in that order, and whatever else has an `__all__`."""
    names = [f"npresnet.{module.name}" for module in iter_modules(npresnet.__path__) if module.ispkg]
    return list(dict.fromkeys([*FIRST, *(name for name in names if hasattr(import_module(name), "__all__"))]))


PACKAGES = packages()


def entries(package):
    """(module that defines it, public path, object) of every public name, by module, in the order of the source."""
    names = getattr(import_module(package), "__all__", None)
    if names is not None:
        found = [(home(package, name), f"{package}.{name}") for name in names]
    else:
        modules = [import_module(f"{package}.{name}") for name in MODULES[package]]
        found = [(m, f"{m.__name__}.{name}") for m in modules for name in own_names(m)]
    found = [(module, path, lessons.value(path)) for module, path in found]
    return sorted(found, key=lambda entry: (entry[0].__name__, line_of(entry[0], entry[1].rpartition(".")[2])))


def own_names(module):
    """The functions and classes that a module defines, without an underscore in front."""
    tree = ast.parse(inspect.getsource(module))
    kinds = (ast.FunctionDef, ast.ClassDef)
    return dict.fromkeys(node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_"))


def home(package, name):
    """The module in which a name of a package is defined."""
    module = import_module(package)
    value = getattr(module, name)
    if isinstance(getattr(value, "__module__", None), str) and value.__module__.startswith("npresnet"):
        return import_module(value.__module__)
    for other in ast.parse(inspect.getsource(module)).body:  # a constant: follow the import
        if isinstance(other, ast.ImportFrom) and name in [alias.name for alias in other.names]:
            return home(f"{package}.{other.module}", name)
    return module


def definition(module, name):
    """The statement of a module that defines a name, or None."""
    for node in ast.parse(inspect.getsource(module)).body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if getattr(node, "name", None) == name or name in [getattr(target, "id", None) for target in targets]:
            return node
    return None


def line_of(module, name):
    node = definition(module, name)
    return node.lineno if node else 0


def comment(module, name):
    """What stands behind a constant's definition, or in the line before it, as a comment."""
    node, lines = definition(module, name), inspect.getsource(module).split("\n")
    if node is None:
        return ""
    for line in (lines[node.lineno - 1], lines[node.lineno - 2]):
        if "# " in line and "pyright" not in line and "type:" not in line:
            return line.partition("# ")[2].strip()
    return ""


def entry(module, path, value):
    """The directive that documents one name; a class of two names is indexed by its first."""
    if inspect.isclass(value):
        second = path not in [first for _, first in public_names()]
        return f".. autoclass:: {path}\n   :members:\n" + "   :no-index:\n" * second
    if callable(value) and not isinstance(value, type(list[int])) and hasattr(value, "__name__"):
        return f".. autofunction:: {path}\n"
    package, _, name = path.rpartition(".")
    text = docstrings.inline(comment(module, name)) or contents(value)
    return f".. py:data:: {name}\n   :module: {package}\n\n   {text}\n"


def contents(value):
    """What a constant holds, in a line."""
    if isinstance(value, Mapping):
        return "A dictionary with the keys " + ", ".join(f"``{key}``" for key in value) + "."
    return f"A {type(value).__name__} of {len(value)}." if isinstance(value, tuple) else ""


def page(package):
    """The text of a package's page."""
    parts = [f"{package}\n{'=' * len(package)}\n", docstrings.rest(inspect.getdoc(import_module(package)) or "")]
    last: ModuleType | None = None
    for module, path, value in entries(package):
        if module is not last:
            last = module
            parts += [heading(module)]
        parts.append(entry(module, path, value))
    return "\n".join(parts)


def heading(module):
    """A module's name and docstring: what its names have in common, and the list of its sources."""
    title, text = module.__name__.removeprefix("npresnet."), docstrings.rest(inspect.getdoc(module) or "")
    return f"\n{title}\n{'-' * len(title)}\n\n.. py:currentmodule:: {module.__name__}\n\n{text}"


def package_of(path):
    """The package on whose page a public name stands."""
    return max((package for package in PACKAGES if path.startswith(f"{package}.")), key=len)


@cache
def public_names():
    """(object, path) of all names in the reference; an object that has two is listed by its first."""
    found = [(value, path) for package in PACKAGES for _, path, value in entries(package)]
    return [(value, path) for k, (value, path) in enumerate(found) if not any(value is other for other, _ in found[:k])]


def write(app, config):
    """Write the pages, those that changed, before Sphinx looks for its sources."""
    folder = Path(app.srcdir) / "docs/api"
    folder.mkdir(exist_ok=True)
    for package in PACKAGES:
        path, text = folder / f"{package}.rst", page(package)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app):
    app.connect("config-inited", write)
    return {"parallel_read_safe": True}
