"""find_state: the dictionary, wherever it stands in what a file holds, that has a network's arrays."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..formats.errors import WeightsError, quoted
from ..formats.state import Layer
from ..formats.tensors import Tensor
from ..formats.unpickle.record import Placeholder, Record
from .checkpoint import listed
from .match.choose import choose
from .match.search import OPTIMIZER, Search

MOST_LEVELS = 64
LONGEST = 1000  # characters of an array's name, and of the path to it
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights", "params")
PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, of torch.compile, of a wrapper around the network


class Found(NamedTuple):
    """The arrays of a file: name → Tensor; a container's own attributes; path → what a layer is; notes."""

    tensors: dict[str, Tensor]
    attributes: Mapping[Any, Any]
    layers: dict[str, Layer]
    notes: list[str]


def find_state(tree: Any, select: str | None = None) -> Found:
    """The arrays of the dictionary, wherever it stands in the tree, that holds a network's.

    Of several networks the one is taken that ``select``, a part of its path, names; else the only one whose path does
    not call it an average of others (ema, teacher …).  Raises WeightsError, listing them, where that leaves two.
    """
    places = {path: place for path, place in holders(tree).items() if not OPTIMIZER.search(".".join(path) + ".")}
    if not places:
        raise WeightsError(no_arrays(tree))
    notes: list[str] = []
    path, foreign = only_place(places) if select is None else None, set()
    if path is None:
        path, foreign = place_of_network(places, select, notes)
    under = {place: holder for place, holder in places.items() if place[: len(path)] == path}
    tensors: dict[str, Tensor] = {}
    layers: dict[str, Layer] = {}
    for place, holder in under.items():
        prefix = "".join(f"{part}." for part in place[len(path) :])
        for key, value in holder.items():
            if isinstance(value, Placeholder):
                raise WeightsError(f"{quoted(prefix + part_text(key))}: {value.reason}")
            if not isinstance(value, Tensor) or full_name(place, key) in foreign:
                continue
            if tensors.setdefault(prefix + key_text(key), value) is not value:
                raise WeightsError("two arrays have one name, once as text and once as bytes")
        layers |= {prefix + name: layer for name, layer in getattr(holder, "layers", {}).items()}
    state = places.get(path, {})
    others = [key for key, value in state.items() if not isinstance(value, Tensor)] if len(under) == 1 else []
    if path:
        beside = beside_keys(tree, path)
        notes.insert(0, f"took the arrays under {'.'.join(path)!r}" + (f", left {listed(beside)}" if beside else ""))
    if others:
        notes.append(f"left out what is no array: {listed(others)}")
    tensors, dropped = strip_prefixes(tensors, notes)
    layers = {name.removeprefix(dropped): layer for name, layer in layers.items()}
    return Found(tensors, getattr(state, "attributes", {}), layers, notes)


def holders(tree: Any) -> dict[tuple[str, ...], Any]:
    """path → a dictionary that holds arrays itself, wherever it stands; each is visited once, and nothing recurses.

    Deeper than 64 levels, and behind keys of more than 1000 characters together, nothing is looked for: each array's
    name begins with its path, and would take memory that grows with the square of the file's size.
    """
    found: dict[tuple[str, ...], Any] = {}
    seen, waiting = set(), [((), tree)]
    while waiting:
        path, node = waiting.pop()
        if id(node) in seen or len(path) > MOST_LEVELS or sum(map(len, path)) > LONGEST:
            continue
        seen.add(id(node))
        items = node if isinstance(node, dict) else dict(parts_of(node))
        arrays = [key for key, value in items.items() if isinstance(value, (Tensor, Placeholder))]
        if arrays:
            found[path] = items
        if any(isinstance(key, (str, bytes)) and len(key) > LONGEST for key in arrays):
            raise WeightsError(f"an array's name has more than {LONGEST:,} characters")
        inner = [(key, value) for key, value in items.items() if isinstance(value, (dict, list, tuple, Record))]
        waiting += [(path + (part_text(key),), value) for key, value in inner[::-1] if id(value) not in seen]
    return without_copies(found)


def without_copies(places: dict[tuple[str, ...], Any]) -> dict[tuple[str, ...], Any]:
    """The places but for those whose arrays are all those of another, under other names of the dictionary."""
    seen, kept = set(), {}
    for path, holder in places.items():
        views = frozenset((id(t.storage), t.offset, t.size) for t in holder.values() if isinstance(t, Tensor))
        if views not in seen:
            kept[path] = holder
        seen.add(views)
    return kept


def parts_of(node: Any) -> Iterable[tuple[Any, Any]]:
    """(name, value) of what a list, a tuple or an object of any class holds."""
    if isinstance(node, Record):
        yield from (
            (name, value) for name in ("state", "args", "kwargs", "items", "pairs") if (value := getattr(node, name))
        )
    else:
        yield from enumerate(node)


def part_text(key: Any) -> str:
    """A part of a path for a key of any kind."""
    return key if isinstance(key, str) else key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)[:100]


def no_arrays(tree: Any) -> str:
    if isinstance(tree, dict):
        return f"holds no arrays; its keys are {listed(tree)}; save model.state_dict()"
    what = f"an object of {quoted(tree.name)}" if isinstance(tree, Record) else quoted(tree)
    return f"holds {what}, not a dictionary of arrays; save model.state_dict()"


def only_place(places: Mapping[tuple[str, ...], Any]) -> tuple[str, ...] | None:
    """The path of the only dictionary that holds arrays, or None."""
    return next(iter(places)) if len(places) == 1 else None


def place_of_network(
    places: Mapping[tuple[str, ...], Any], select: str | None, notes: list[str]
) -> tuple[tuple[str, ...], set[str]]:
    """(path, names): the innermost dictionary that holds the network that is chosen, the arrays of other networks."""
    tensors, owner = {}, {}
    for path, holder in places.items():
        for key, value in holder.items():
            if isinstance(value, Tensor):
                name = full_name(path, key)
                tensors[name], owner[name] = value, path
    search = Search(
        {name: tensor.size for name, tensor in tensors.items()},
        lambda name: (id(tensors[name].storage), tensors[name].offset),
    )
    if not search.found:
        return fallback(places, select), set()
    chosen = choose(search.found, select, notes)
    foreign = {name for other in search.found if other is not chosen for name in search.names_under(other)}
    try:
        names = {key for layer in search.network(chosen).layers for key in layer.keys.values()}
    except WeightsError:  # whoever asks for the network is told
        names = search.names_under(chosen)
    paths = {owner[name] for name in names}
    common = min(paths, key=len)
    while any(path[: len(common)] != common for path in paths):
        common = common[:-1]
    return common, foreign - names


def full_name(path: tuple[str, ...], key: Any) -> str:
    """The path and the name of an array, with dots between."""
    return ".".join((*path, part_text(key)))


def fallback(places: Mapping[tuple[str, ...], Any], select: str | None) -> tuple[str, ...]:
    """Where no network is known: the only place that ``select`` names; else the first under a usual name of a wrapper;
    else that of the most arrays."""
    if select is not None:
        chosen = [path for path in places if select in ".".join(path)]
        if len(chosen) != 1:
            raise WeightsError(
                f"{len(chosen) or 'no'} dictionaries of arrays are called {quoted(select)}; there are "
                + listed([".".join(path) for path in places])
            )
        return chosen[0]
    named = [path for path in places if path and path[-1] in WRAPPERS]
    return named[0] if named else max(places, key=lambda path: len(places[path]))


def beside_keys(tree: Any, path: tuple[str, ...]) -> list[Any]:
    """What stands beside each step of the path."""
    beside = []
    for part in path:
        items = tree if isinstance(tree, dict) else dict(parts_of(tree))
        beside += [key for key in items if part_text(key) != part]
        tree = next((value for key, value in items.items() if part_text(key) == part), {})
    return beside


def strip_prefixes(tensors: dict[str, Tensor], notes: list[str]) -> tuple[dict[str, Tensor], str]:
    """(the arrays, what was dropped): up to four prefixes that every name carries are taken off."""
    dropped = ""
    for _ in range(4):
        prefix = next((p for p in PREFIXES if all(name.startswith(p) for name in tensors)), None)
        if prefix is None:
            break
        notes.append(f"dropped the prefix {prefix!r} from {len(tensors)} keys")
        dropped += prefix
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors, dropped


def key_text(key: Any) -> str:
    """An array's name; a number where it stands in a list."""
    if isinstance(key, bytes):
        return key.decode("utf-8")
    if not isinstance(key, (str, int)):
        raise WeightsError(f"an array is named by {quoted(key)}, not by a string")
    return str(key)
