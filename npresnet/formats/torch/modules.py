"""Pickled networks: a Record of a ``torch.nn.Module``, or of a TorchScript object, becomes a State.

The arrays are those of ``state_dict()``, in its order: of each module its parameters, its persistent buffers, then its
children.  A module that stands in two places has its arrays under both names, as in torch.  DataParallel and what
torch.compile returns are the network that they wrap.  Quantized modules are in quantized_modules.py.
"""

from collections.abc import Iterator
from typing import Any

from ..state import Layer, State
from ..stream import Budget
from ..tensors import Tensor
from ..unpickle.numpy_objects import NumpyArray
from ..unpickle.record import Placeholder, Record
from ..unpickle.stack_machine import Dict
from .quantized_modules import convolution_arrays, convolution_fields, packed_arrays, scale_arrays

PARTS = ("_parameters", "_buffers", "_modules")
WRAPPED = ("module", "_orig_mod")  # the only child of DataParallel, and of torch.compile's module
SCRIPT = "__torch__."  # before a TorchScript class's name
PLAIN = (bool, int, float, str, type(None))


def with_states(tree: Any, budget: Budget) -> Any:
    """``tree`` with a State in the place of each module, a Tensor of each plain NumPy array, a Dict of dictionaries.

    It looks into dictionaries, lists and Records however deep; what is in a tuple within a tuple stays as it is.
    """
    made: dict[int, Any] = {}

    def state(value):
        if isinstance(value, NumpyArray):
            return value.tensor or value
        if not isinstance(value, Record) or not (is_module(value) or is_dictionary(value)):
            return value
        if id(value) not in made:
            made[id(value)] = state_of(value, budget) if is_module(value) else Dict(value.pairs)
        return made[id(value)]

    def converted(value):
        return tuple(map(state, value)) if type(value) is tuple else state(value)

    tree = converted(tree)
    seen, waiting = set(), [tree]
    while waiting:
        node = waiting.pop()
        if id(node) in seen or isinstance(node, State):
            continue
        seen.add(id(node))
        waiting += containers(replace(node, converted))
    return tree


def replace(node: Any, converted: Any) -> list[Any]:
    """Put converted values into a container, in place; returns them."""
    if isinstance(node, Record):
        node.state = converted(node.state)
        node.items[:] = map(converted, node.items)
        node.pairs[:] = [(key, converted(value)) for key, value in node.pairs]
        node.args = None if node.args is None else tuple(map(converted, node.args))
        return [node.state, *(node.args or ()), *node.items, *(value for _, value in node.pairs)]
    if isinstance(node, dict):
        node.update({key: converted(value) for key, value in node.items() if isinstance(value, (Record, tuple))})
        return list(node.values())
    if type(node) is list:
        node[:] = map(converted, node)
    return list(node) if type(node) in (list, tuple) else []


def containers(values: list[Any]) -> Iterator[Any]:
    return (value for value in values if isinstance(value, (dict, list, tuple, Record)))


def is_module(record: Record) -> bool:
    """Whether the state is that of a torch.nn.Module, or of an object of TorchScript."""
    state = record.state
    if not isinstance(state, dict):
        return convolution_fields(record) is not None
    return record.name.startswith(SCRIPT) or all(isinstance(state.get(part), dict) for part in PARTS)


def is_dictionary(record: Record) -> bool:
    """Whether the class is one of dictionaries, and the keys names."""
    return bool(record.pairs) and all(type(key) is str for key, _ in record.pairs)


def state_of(record: Record, budget: Budget) -> State:
    """The State of a module; what it costs grows with its own tree, which a file can make large by repetition."""
    root = unwrapped(record)
    state = State(kind=root.name.removeprefix(SCRIPT))
    waiting = [("", root)]
    while waiting:
        path, module = waiting.pop()
        arrays, children, options = parts_of(module)
        budget.step(1 + len(arrays) + len(children) + len(options), "the network")
        budget.spend((len(path) + 128) * (1 + len(arrays) + len(children)), "the network's names")
        state.layers[path] = Layer(module.kind, options)
        state.update((dotted(path, name), value) for name, value in arrays)
        waiting += [(dotted(path, name), child) for name, child in reversed(children)]
    return state


def unwrapped(record: Record) -> Record:
    """The network within wrappers that have one child and nothing else."""
    for _ in range(4):
        arrays, children, _ = parts_of(record)
        if arrays or len(children) != 1 or children[0][0] not in WRAPPED:
            break
        record = children[0][1]
    return record


def parts_of(module: Record) -> tuple[list[tuple[str, Any]], list[tuple[str, Record]], dict[str, Any]]:
    """(arrays, children, options) of one module."""
    fields = convolution_fields(module)
    if fields is not None:
        return convolution_arrays(fields), [], options_of(fields)
    state = module.state
    if all(isinstance(state.get(part), dict) for part in PARTS):
        parameters, buffers, children = (state[part] for part in PARTS)
        passing = state.get("_non_persistent_buffers_set")
        passing = passing if isinstance(passing, (set, frozenset)) else ()
        arrays = [*parameters.items(), *((name, value) for name, value in buffers.items() if name not in passing)]
    else:  # TorchScript keeps them all as attributes
        arrays, children = list(state.items()), state
    arrays = [(name, value) for name, value in arrays if type(name) is str and isinstance(value, (Tensor, Placeholder))]
    arrays += scale_arrays(state) + packed_arrays(state)
    below = [
        (name, child)
        for name, child in children.items()
        if type(name) is str and isinstance(child, Record) and is_module(child)
    ]
    return arrays, below, options_of(state)


def options_of(state: dict[Any, Any]) -> dict[str, Any]:
    """The attributes that are numbers, texts, or sequences of them; a function or class is its name."""
    found = {}
    for name, value in state.items():
        if type(name) is not str or name.startswith("_") or name == "training":
            continue
        if isinstance(value, Record) and value.args is None:
            found[name] = value.name
        elif isinstance(value, (list, tuple)) and len(value) <= 64 and all(type(item) in PLAIN for item in value):
            found[name] = tuple(value)
        elif type(value) in PLAIN:
            found[name] = value
    return found


def dotted(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
