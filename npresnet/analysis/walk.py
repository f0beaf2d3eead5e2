"""A table of a model's layer calls: names, shapes, costs, times.

:class:`Walk` carries zeros through the model, and computes only the shape of each output: nothing is convolved.
:class:`Timed` carries real images through it, and times each layer.

Multiply-accumulates are those of convolutions and of linear layers, as in torchvision's tables (which call them FLOPS;
one is two floating-point operations).

What the pullbacks of a training step save is counted as the ops' ``Saves:`` lines say; an array saved by two layers
counts once.  A convolution and the classifier keep x, batch norm x_hat, a ReLU its y, a max-pool one byte for each
output.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from numbers import Integral
from time import perf_counter

import numpy as np

from ..backend import Array, use
from ..nn import Module
from ..nn.visit import Visitor


@dataclass(frozen=True)
class Row:
    """One call of one layer.  A layer called twice, such as a block's ReLU, has two rows, its parameters counted in
    the first.

    ``saved_bytes``: what it keeps for the backward pass, beyond what a layer before keeps anyway.  ``seconds``: how
    long the call took, where that was measured.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    input_shape: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()
    saved_bytes: int = 0
    seconds: float | None = None
    inside: bool = False  # a stage, a block, a shortcut: its parts have rows below it

    @property
    def flops(self) -> int:
        """Two for each multiply-accumulate."""
        return 2 * self.macs


def tree_rows(model: Module, input_shape: Sequence[int]) -> tuple[Row, ...]:
    """One row for every call of a named part, in the order of execution, for inputs of ``input_shape`` (N, C, H, W).

    A part that has parts comes before them, with ``inside`` set and nothing of theirs counted.

    The model is not changed, whatever mode it is in.  Raises ValueError, naming the layer, for a shape that cannot
    pass.
    """
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else (input_shape,)
    if len(shape) != 4 or not all(isinstance(size, Integral) and size >= 1 for size in shape):
        raise ValueError(f"an input shape is (N, C, H, W), all at least 1, not {shape}: write 1x3x224x224")
    walk = Walk(model, batch=shape[0])
    with use("numpy"):
        walk.visit(model, zeros((1, *shape[1:])))
    return tuple(walk.rows)


class Walk(Visitor):
    """Carries one image of zeros through a model and writes a row for every call of a layer."""

    def __init__(self, model: Module, batch: int):
        super().__init__(model)
        self.batch = batch
        self.rows: list[Row] = []
        self.counted: set[int] = set()  # ids of the parameters that a row holds
        self.saved: dict[int, Array] = {}  # by their ids

    def visit(self, module: Module, x: Array, around: str = "") -> Array:
        """The output of ``module`` for x, all zeros: only its shape has a meaning."""
        name = self.names.get(id(module))
        if not name or not module.children():
            return super().visit(module, x, around)
        before = len(self.rows)
        y = super().visit(module, x, around)
        row = Row(name, type(module).__name__, self.batch_shape(y), 0, 0, self.batch_shape(x), inside=True)
        self.rows.insert(before, row)  # before its parts
        return y

    def add(self, f: Array, s: Array) -> Array:
        if f.shape != s.shape:
            raise ValueError(f"the branch gives {f.shape[1:]}, its shortcut {s.shape[1:]}: they cannot be added")
        return self.unsaved(f)

    def leaf(self, module: Module, x: Array, name: str) -> Array:
        if module.children():
            return self.run_parts(module, x, name)
        try:
            y, seconds = self.run(module, x)
        except ValueError as error:
            where = name or type(module).__name__
            raise ValueError(f"{where} cannot take {dimensions(self.batch_shape(x))}: {error}") from None
        new = [p for p in module.parameters() if id(p) not in self.counted]
        self.counted.update(map(id, new))
        scale = self.batch // len(x)  # 1 where all images run
        self.rows.append(
            Row(
                name,
                type(module).__name__,
                self.batch_shape(y),
                sum(p.value.size for p in new),
                scale * module.macs(y),
                self.batch_shape(x),
                module.window_size(),
                scale * self.save(module, x, y),
                seconds,
            )
        )
        return y

    def run_parts(self, module: Module, x: Array, name: str) -> Array:
        """The output of a module that is neither a chain nor a sum: a copy of it runs, with a Probe for each part.

        What it does between them, as a gate does, is not counted.
        """
        probed = copy(module)
        for key, part in module.children().items():
            setattr(probed, key, Probe(self, part, name))
        return self.unsaved(probed(x))

    def run(self, layer: Module, x: Array) -> tuple[Array, float | None]:
        """(the output, the time it took)"""
        return zeros(layer.output_shape(x)), None

    def unsaved(self, y: Array) -> Array:
        """A fresh array in place of y, so that the layer that saves it counts it."""
        return zeros(y.shape)

    def batch_shape(self, array: Array) -> tuple[int, ...]:
        """The array's shape for the full batch."""
        return (self.batch, *array.shape[1:])

    def save(self, layer: Module, x: Array, y: Array) -> int:
        """The bytes in float32 of what the layer's pullback keeps and no layer before it does."""
        kept = layer.keeps(x, y)
        if kept is None or id(kept) in self.saved:
            return layer.bytes_kept(x, y)
        self.saved[id(kept)] = kept  # held, so that no other array gets its id
        return 4 * kept.size + layer.bytes_kept(x, y)


class Probe(Module):
    """Stands in for a part of a module and sends its input through that part by a :class:`Walk`."""

    def __init__(self, walk: Walk, part: Module, around: str):
        self.walk, self.part, self.around = walk, part, around

    def __call__(self, x: Array) -> Array:
        return self.walk.visit(self.part, x, self.around)


class Timed(Walk):
    """A walk that runs every layer, and notes how long it took."""

    def run(self, layer: Module, x: Array) -> tuple[Array, float | None]:
        start = perf_counter()
        y = layer(x)
        return y, perf_counter() - start

    def add(self, f: Array, s: Array) -> Array:
        super().add(f, s)
        return f + s

    def unsaved(self, y: Array) -> Array:
        return y


def timed_rows(model: Module, x: Array, repeats: int = 3) -> tuple[Row, ...]:
    """As :func:`tree_rows`, for the array x, with the shortest time of ``repeats`` runs for each call."""
    runs = []
    for _ in range(repeats + 1):  # the first one compiles and warms up
        walk = Timed(model, batch=len(x))
        walk.visit(model, x)
        runs.append(walk.rows)
    return tuple(
        row if row.inside else replace(row, seconds=min(other.seconds or 0.0 for other in calls[1:]))
        for row, *calls in zip(runs[-1], *runs)
    )


def zeros(shape: tuple[int, ...]) -> Array:
    """Zeros of any shape that take four bytes."""
    return np.broadcast_to(np.float32(0), shape)


def dimensions(shape: tuple[int, ...]) -> str:
    """(1, 3, 224, 224) → "1x3x224x224" """
    return "x".join(map(str, shape))
