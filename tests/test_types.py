"""Every public name says what it takes and returns, and a user's script that a type checker reads runs."""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import npresnet

from .support.typed_user import main

PACKAGES = (
    "npresnet",
    "npresnet.ops",
    "npresnet.nn",
    "npresnet.models",
    "npresnet.training",
    "npresnet.weights",
    "npresnet.data",
)


def public(package):
    """(name, function) for every function that a package exports and every public method of a class."""
    module = import_module(package)
    for name in module.__all__:
        exported = getattr(module, name)
        if inspect.isclass(exported):
            yield from methods(f"{package}.{name}", exported)
        elif callable(exported):
            yield f"{package}.{name}", getattr(exported, "reference", exported)


def methods(name, kind):
    for owner in kind.__mro__:
        for key, value in vars(owner).items() if owner.__module__.startswith("npresnet") else ():
            value = getattr(value, "__func__", getattr(value, "fget", value))
            if inspect.isfunction(value) and (not key.startswith("_") or key in ("__init__", "__call__")):
                yield f"{name}.{key}", value


def missing(function):
    """What a function's signature leaves untyped: names of parameters, and "return"."""
    signature = inspect.signature(function)
    found = [p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name not in ("self", "cls")]
    untyped = signature.return_annotation is signature.empty and function.__name__ != "__init__"
    return [*found, *(["return"] if untyped else [])]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_function_is_annotated(package):
    untyped = {name: gaps for name, function in public(package) if (gaps := missing(function))}
    assert not untyped


def test_the_law_sees_what_is_not_annotated():
    class Half:
        def __init__(self, x): ...
        def run(self, x: int, y=0) -> int: ...
        @property
        def size(self): ...

    Half.__module__ = "npresnet.half"
    assert {name: missing(f) for name, f in methods("Half", Half)} == {
        "Half.__init__": ["x"],
        "Half.run": ["y"],
        "Half.size": ["return"],
    }


def test_a_type_checker_sees_every_name_that_loads_when_it_is_first_used():
    tree = ast.parse(Path(npresnet.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    homes = {alias.asname: node.module for node in block.body for alias in node.names}
    assert homes == npresnet._HOME


def test_the_users_script_runs(tmp_path):
    losses = main(tmp_path)
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
