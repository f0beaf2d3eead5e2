"""help(), signature() and repr() of the public names show what a reader needs."""

import inspect
import pydoc

import pytest

import npresnet
from npresnet import backend, data, engine, models, nn, ops, training, weights
from npresnet.backend import Kernel
from npresnet.training import RECIPES, Recipe, recipe

ROOMS = (npresnet, ops, nn, training, engine, models, weights, data)
NAMES = [(room, name) for room in ROOMS for name in room.__all__]
KERNELS = [name for name in ops.__all__ if isinstance(getattr(ops, name), Kernel)]


@pytest.mark.parametrize("room, name", NAMES, ids=[f"{room.__name__}.{name}" for room, name in NAMES])
def test_help_shows_signature_and_docstring(room, name):
    thing = getattr(room, name)
    if not callable(thing):  # a table of names; its help is that of dict or tuple
        assert isinstance(thing, (dict, tuple)) and thing
        return
    text = pydoc.render_doc(thing, renderer=pydoc.plaintext)
    first = inspect.cleandoc(thing.__doc__ or "").partition("\n")[0]
    assert first and first in text and type(thing).__doc__ != thing.__doc__
    if not (isinstance(thing, type) and issubclass(thing, BaseException)):
        assert "\n" + thing.__name__ + "(" in text or f"class {thing.__name__}(" in text
        assert all(parameter in text for parameter in inspect.signature(thing).parameters)


@pytest.mark.parametrize("name", KERNELS)
def test_an_op_is_shown_as_the_function_that_it_is(name):
    op = getattr(ops, name)
    signature = inspect.signature(op)
    assert inspect.isroutine(op) and list(signature.parameters) == list(inspect.signature(op.reference).parameters)
    assert not any(raw in str(signature) for raw in ("numpy.", "typing.", "collections.", "'Array"))
    text = "".join(pydoc.render_doc(op, renderer=pydoc.plaintext).split())  # a new Python breaks long signatures
    assert "".join(f"{name}{signature}".split()) in text
    assert repr(op).startswith(f"<op {name}(") and repr(op).endswith(")>")


def test_help_of_a_room_lists_its_ops():
    text = pydoc.render_doc(ops, renderer=pydoc.plaintext)
    for name in KERNELS:
        assert f"    {name}(" in text


def test_an_op_stays_itself_as_an_attribute():
    class Holder:
        op = ops.relu

    assert Holder.op is ops.relu and Holder().op is ops.relu


@pytest.mark.parametrize("made", [Recipe(), Recipe(epochs=3, lr=0.5), *RECIPES.values(), recipe("finetune", lr=0.5)])
def test_a_recipe_prints_as_the_call_that_makes_it(made):
    assert eval(repr(made), {"Recipe": Recipe, "recipe": recipe}) == made


def test_a_recipe_prints_its_differences():
    assert repr(RECIPES["fast-cifar"]) == "recipe('fast-cifar')"
    assert repr(recipe("finetune", lr=0.5)) == "recipe('finetune', lr=0.5)"
    assert repr(Recipe(batch_size=7)) == "Recipe(batch_size=7)"


def test_the_docstring_of_a_recipe_explains_each_field():
    lines = inspect.getdoc(Recipe).splitlines()
    for name, field in Recipe.__dataclass_fields__.items():
        (line,) = (line for line in lines if line.startswith(f"{name} = {field.default!r} "))
        assert field.metadata["help"].split()[0] in line


def test_kernels_that_are_no_ops_print_too():
    assert repr(backend.Kernel(lambda x, y=3: x)) == "<kernel <lambda>(x, y=3)>"
