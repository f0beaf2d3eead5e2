"""Golden packs: values and gradients that PyTorch computed once, compared with npresnet's without PyTorch.

``packs/ops.npz`` holds the arguments, value and gradients of every option of every op.  ``packs/networks.npz`` holds,
for a narrow copy of every architecture and for every detail of the dialects, in train and in eval mode: the value of
the stem and of every block, logits, loss, the gradient of the input and of every parameter, the running statistics
after the step, and the loss over ten steps of descent.  Weights and inputs are drawn by :mod:`.fixed_weights`.
Of an array of more than eight entries four random projections are kept: an error anywhere shows in them.

tests/scripts/make_golden.py writes the packs, and a test there writes them again and compares.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.resources import files
from typing import Any

import numpy as np

from ..backend import Array, use
from ..models.classifier import Classifier
from .fixed_weights import draw
from .replay import replay_network, replay_op, step
from .report import Table, number

OP_BOUNDS = {"float64": 1e-12, "float32": 2e-6}
NETWORK_BOUNDS = {"float64": 1e-9, "float32": 2e-3}  # a case may state another: how far rounding carries it


@dataclass(frozen=True)
class Row:
    """The largest difference from PyTorch in one kind of array, in units of each array's largest entry."""

    case: str
    what: str
    dtype: str
    arrays: int
    error: float
    bound: float
    verdict: str


@dataclass(frozen=True)
class Verification(Table):
    """Every comparison made; true where there were some and all hold."""

    title: str
    rows: tuple[Row, ...]

    def cells(self) -> list[tuple[str, ...]]:
        return [("case", "what", "dtype", "arrays", "max error", "bound", "verdict")] + [
            (row.case, row.what, row.dtype, str(row.arrays), number(row.error), number(row.bound), row.verdict)
            for row in self.rows
        ]

    def conclusion(self) -> str:
        if not self.rows:
            return "nothing was compared"
        arrays = sum(row.arrays for row in self.rows)
        if not self.wrong:
            return f"{len(self.rows)} comparisons of {arrays} arrays: all agree with PyTorch"
        return f"{len(self.wrong)} of {len(self.rows)} comparisons differ from PyTorch: " + "; ".join(
            f"{row.case} {row.what}" for row in self.wrong
        )


def verify(
    backend: str = "numpy",
    only: str = "*",
    dtypes: Sequence[str] = ("float64", "float32"),
    show: Callable[[int], None] | None = None,
) -> Verification:
    """Replay the packs on "numpy", "numba" or "cupy"; ``only`` is a pattern for the names of the cases.

    ``show(n)`` is called when n comparisons are made.
    """
    rows: list[Row] = []
    with use(backend) if backend != "cupy" else nullcontext():
        device = "cuda" if backend == "cupy" else "cpu"
        for pack, replay, bounds in (("ops", replay_op, OP_BOUNDS), ("networks", replay_network, NETWORK_BOUNDS)):
            for case, expected in read_pack(pack):
                for dtype in dtypes:
                    if fnmatch(case["name"], only) and dtype in case["dtypes"]:
                        found = replay(case, expected, np.dtype(dtype), device)
                        rows += compared(case, found, expected, dtype, bounds[dtype])
                        if show:
                            show(len(rows))
    return Verification(f"npresnet on {backend} against PyTorch's stored results", tuple(rows))


def read_pack(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Array]]]:
    """(case, its arrays by name) for every case of a pack."""
    with files("npresnet.verify").joinpath(f"packs/{name}.npz").open("rb") as file, np.load(file) as pack:
        for i, case in enumerate(json.loads(bytes(pack["cases"]))):
            yield case, unflattened(case["arrays"], pack[f"case {i}"])


def unflattened(layout: Sequence[tuple[str, Sequence[int]]], values: Array) -> dict[str, Array]:
    """The arrays, by name, that lie one after the other in ``values``; ``layout`` names each and its shape."""
    sizes = [int(np.prod(shape)) for _, shape in layout]
    parts = np.split(values, np.cumsum(sizes)[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(layout, parts)}


def compared(
    case: Mapping[str, Any], found: Mapping[str, Array], expected: Mapping[str, Array], dtype: str, bound: float
) -> list[Row]:
    """A row for each kind of array: the part of each name before its first colon."""
    kinds: dict[str, list[float]] = {}
    gradients = [largest(a) for name, a in expected.items() if name.startswith("gradient")]
    for name, a in found.items():
        kinds.setdefault(name.partition(":")[0], []).append(distance(a, expected[name], max(gradients, default=0)))
    rows = []
    for what, errors in kinds.items():
        allowed, worst = case.get("bounds", {}).get(what, bound) if dtype == "float64" else bound, max(errors)
        rows.append(Row(case["name"], what, dtype, len(errors), worst, allowed, "ok" if worst <= allowed else "WRONG"))
    return rows


def distance(found: Array, expected: Array, top: float) -> float:
    """The largest difference, divided by the array's largest entry or 1e-9 of the largest gradient.

    A bias in front of a training batch norm has the gradient 0, whose computed value is rounding alone.  Where neither
    exceeds the rounding of the largest gradient, both are 0.
    """
    rounding = 1e-13 if found.dtype == np.float64 else 1e-4
    if max(largest(found), largest(expected)) <= rounding * top:
        return 0.0
    gap = largest(found - expected) / max(largest(expected), 1e-9 * top, np.finfo(np.float64).tiny)
    return gap if np.isfinite(gap) else np.inf


def largest(a: Array) -> float:
    return float(np.abs(a).max(initial=0))


def verify_model(model: Classifier, name: str, size: tuple[int, int] = (64, 64), batch: int = 2) -> Verification:
    """Compare a model, its weights included, with PyTorch itself, in float64, in train and in eval mode."""
    from .torch_model import torch_results

    model = model.astype(np.float64)
    rows: list[Row] = []
    classes, channels = model.spec.num_classes, model.spec.in_channels
    x, labels = draw("images", (batch, channels, *size)) * 1.7, np.arange(batch) % classes
    for mode in ("train", "eval"):
        expected = torch_results(model, x, labels, mode == "train")
        found = step(model.copy().train(mode == "train"), x, labels, mode)
        found = {key: np.asarray(a) for key, a in found.items()}
        rows += compared({"name": f"{name} {mode}"}, found, expected, "float64", NETWORK_BOUNDS["float64"])
    return Verification(f"{name} against PyTorch", tuple(rows))
