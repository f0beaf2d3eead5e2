"""How two dialects of one network differ: in their details, layer by layer, and in their scores."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..backend import Array
from ..models import Dialect, build, details
from ..models.dialect_meanings import MEANING, TRAINING_ONLY
from ..nn import AvgPool2d, BatchNorm2d, Conv2d, GroupNorm, LeakyReLU, MaxPool2d, Module, initialize
from .summary import Summary, summary


@dataclass(frozen=True)
class Detail:
    """One field that differs.  ``effect``: the largest change of a score when this detail alone changes, with the same
    weights, as a part of the scores' scale; None where it changes no prediction or no network can be built so."""

    field: str
    a: object
    b: object
    meaning: str
    effect: float | None


@dataclass(frozen=True)
class Difference:
    """The result of :func:`diff`.

    layers   (names, property, of A, of B);  numbers (what, of A, of B)
    output   the largest difference of a score with the same weights, as a part of the scores' scale; None where the
             weights do not fit both
    """

    model: str
    a: str
    b: str
    details: tuple[Detail, ...]
    layers: tuple[tuple[tuple[str, ...], str, str, str], ...]
    numbers: tuple[tuple[str, int, int], ...]
    output: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts, ready for json.dumps."""
        return {
            "model": self.model,
            "a": self.a,
            "b": self.b,
            "output": self.output,
            "details": [vars(detail) for detail in self.details],
            "layers": [{"names": list(names), "what": what, "a": a, "b": b} for names, what, a, b in self.layers],
            "numbers": {what: [a, b] for what, a, b in self.numbers},
        }


def diff(
    a: str, b: str, model: str = "resnet50", *, side: int = 64, seed: int = 0, show: Callable[[int], None] | None = None
) -> Difference:
    """Compare the dialects ``a`` and ``b`` of ``model``, on one random image of ``side`` pixels with random weights.

    The scores are computed in float64: an eps of 1.001e-5 for 1e-5 moves them by less than float32 rounds.
    ``show(n)`` is called when n differing details are measured.

    Raises ValueError where a dialect or model is unknown, or one was never published for the other.
    """
    one, two = details(model, a), details(model, b)
    first, second = build(model, dialect=a), build(model, dialect=b)
    x = np.random.default_rng(seed).standard_normal((1, 3, side, side))
    weights = drawn(first, seed)
    scores = first.astype(np.float64).logits(x)
    found = []
    for field in (field.name for field in fields(Dialect) if field.name != "name"):
        va, vb = getattr(one, field), getattr(two, field)
        if field == "preprocessing":
            va, vb = first.preprocessing, second.preprocessing
        if va != vb:
            found.append(Detail(field, va, vb, MEANING[field], effect(model, a, field, vb, weights, x, scores)))
            if show:
                show(len(found))
    shape = (1, 3, 224, 224)
    tables = summary(first, shape), summary(second, shape)
    return Difference(
        model,
        a,
        b,
        tuple(found),
        tuple(layers(first, second, *tables)),
        tuple(numbers(*tables)),
        distance(second, weights, x, scores),
    )


def drawn(model: Module, seed: int) -> dict[str, Array]:
    """The state of ``model`` after drawing every weight and running statistic, none of them 0 or 1."""
    initialize(model, seed)
    rng = np.random.default_rng(seed)
    for key, array in model.named_arrays():
        shape = array.value.shape
        if key.endswith("running_var"):
            array.value = rng.uniform(0.5, 1.0, shape).astype(np.float32)
        elif key.endswith("weight") and len(shape) == 1:  # γ of both signs: else ReLU and max-pool commute
            array.value = rng.choice(np.array([-0.8, 0.8], np.float32), shape)
        elif array.value.dtype.kind == "f" and len(shape) == 1:
            array.value = (0.1 * rng.standard_normal(shape)).astype(np.float32)
    return model.state_dict()


def effect(
    model: str, dialect: str, field: str, value: Any, weights: Mapping[str, Array], x: Array, scores: Array
) -> float | None:
    """What changing one detail does to the scores; None for details that no prediction depends on."""
    if field in (*TRAINING_ONLY, "preprocessing", "softmax"):
        return None
    try:
        changed = build(model, dialect=dialect, **{field: value})
    except ValueError:  # such as a stem that the network cannot begin with
        return None
    return distance(changed, weights, x, scores)


def distance(model: Module, weights: Mapping[str, Array], x: Array, scores: Array) -> float | None:
    """max |their scores − these| / max |these| with the same weights; None where they do not fit the model."""
    model = model.astype(np.float64)
    state = model.state_dict()
    if any(key not in weights and not key.endswith("bias") for key in state):
        return None  # a bias that the other lacks is 0
    if any(key in state and state[key].shape != value.shape for key, value in weights.items()):
        return None
    model.load_state_dict({key: weights[key] for key in state if key in weights}, strict=False)
    return float(abs(model.logits(x) - scores).max() / abs(scores).max())


def layers(first: Module, second: Module, *tables: Summary) -> list[tuple[tuple[str, ...], str, str, str]]:
    """(names, what, of A, of B): each property that differs, and the layers in which it differs so."""
    one, two = (described(net, table) for net, table in zip((first, second), tables))
    groups: dict[tuple[str, str, Any], list[str]] = {}
    for name in dict.fromkeys([*one, *two]):
        a, b = one.get(name, {"layer": "none"}), two.get(name, {"layer": "none"})
        if "none" in (a["layer"], b["layer"]):
            a, b = {"layer": a["layer"]}, {"layer": b["layer"]}
        for what in (what for what in a if a[what] != b.get(what)):
            groups.setdefault((what, a[what], b.get(what)), []).append(name)
    return [(tuple(names), *change) for change, names in groups.items()]


def described(model: Module, table: Summary) -> dict[str, dict[str, str]]:
    """{layer: {property: value}} in the order of execution."""
    modules = dict(model.named_modules())
    return {
        row.name: {**properties(modules[row.name]), "output": "×".join(map(str, row.output_shape[1:]))}
        for row in table.rows
    }


def properties(module: Module) -> dict[str, str]:
    """The properties of a layer in which dialects can differ, as text."""
    if isinstance(module, Conv2d):
        kernel = "×".join(map(str, module.weight.value.shape[2:]))
        return {
            "layer": f"{kernel} convolution",
            "stride": str(module.stride),
            "padding": str(module.padding),
            "bias": "yes" if module.bias else "no",
        }
    if isinstance(module, BatchNorm2d):
        return {"layer": "batch norm", "eps": f"{module.eps:g}"}
    if isinstance(module, GroupNorm):
        return {"layer": "group norm", "groups": str(module.groups), "eps": f"{module.eps:g}"}
    if isinstance(module, LeakyReLU):
        return {"layer": "LeakyReLU", "slope": f"{module.static['negative_slope']:g}"}
    if isinstance(module, MaxPool2d | AvgPool2d):
        static = {"ceil_mode": False, **module.static}
        return {"layer": type(module).__name__, **{what: str(value) for what, value in static.items()}}
    return {"layer": type(module).__name__}


def numbers(one: Summary, two: Summary) -> Iterator[tuple[str, int, int]]:
    """(what, of one, of two) for the totals of two summaries."""
    yield "parameters", one.parameters, two.parameters
    yield "running statistics", one.buffers, two.buffers
    yield "MACs at 224×224", one.macs, two.macs
