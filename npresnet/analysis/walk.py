"""Carry a shape through a model: one row for each layer call.

A model is a tree, mostly of :class:`Chain` and :class:`Residual`, with layers at its leaves.  :class:`Walk` carries
zeros through it, and asks each layer for its output's shape only: nothing is convolved.  :class:`Timed` carries real
images through it, and times each layer.

Multiply-accumulates are those of convolutions and of linear layers, as in torchvision's tables (which call them FLOPS;
one is two floating-point operations).

What the pullbacks of a training step save is counted as the ops' ``Saves:`` lines say, an array that two layers save
once: a convolution and the classifier keep x, batch norm x_hat, a ReLU its y, a max-pool one byte for each output.
"""

from copy import copy
from dataclasses import dataclass, replace
from numbers import Integral
from time import perf_counter

import numpy as np

from ..backend import use
from ..nn import Chain, Identity, Module, Residual


@dataclass(frozen=True)
class Row:
    """One call of one layer.  A layer called twice, such as a block's ReLU, has two rows, its parameters in one.

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
    inside: bool = False        # a stage, a block, a shortcut: its parts have rows of their own below it

    @property
    def flops(self) -> int:
        """Two for each multiply-accumulate."""
        return 2 * self.macs


def tree_rows(model, input_shape) -> tuple[Row, ...]:
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
        walk.through(model, zeros((1, *shape[1:])))
    return tuple(walk.rows)


class Walk:
    """Carries one image of zeros through a model and writes a row for every layer that it meets."""

    def __init__(self, model, batch):
        self.batch, self.rows, self.met, self.saved = batch, [], set(), {}
        self.names = {id(module): name for name, module in model.named_modules()}

    def through(self, module, x):
        """The output of ``module`` for x, all zeros: only its shape has a meaning."""
        if not self.names.get(id(module)) or not module.children():
            return self.through_parts(module, x)
        place = len(self.rows)
        self.rows.append(None)                                    # before its parts
        y = self.through_parts(module, x)
        self.rows[place] = Row(self.names[id(module)], type(module).__name__, self.whole(y), 0, 0, self.whole(x),
                               inside=True)
        return y

    def through_parts(self, module, x):
        if isinstance(module, Chain):
            for part in module.layers():
                x = self.through(part, x)
            return x
        if isinstance(module, Residual):
            branch, shortcut = self.through(module.branch, x), self.through(module.shortcut, x)
            if branch.shape != shortcut.shape:
                raise ValueError(f"the branch gives {branch.shape[1:]}, its shortcut {shortcut.shape[1:]}: no sum")
            return self.sum(branch, shortcut)
        if module.children():
            return self.through_code(module, x)
        return x if isinstance(module, Identity) else self.leaf(module, x)

    def through_code(self, module, x):
        """The same for a module that runs its parts in its own way: a twin of it runs, whose parts report here.

        What it does between them, as a gate does, is not counted.
        """
        twin = copy(module)
        for name, part in module.children().items():
            setattr(twin, name, Probe(self, part))
        return self.own(twin(x))

    def leaf(self, module, x):
        name = self.names.get(id(module), "")
        try:
            y, seconds = self.run(module, x)
        except ValueError as error:
            raise ValueError(f"{name or type(module).__name__} cannot take {by(self.whole(x))}: {error}") from None
        new = [box for _, box in module.named_parameters() if id(box) not in self.met]
        self.met.update(map(id, new))
        scale = self.batch // len(x)                              # 1 where the whole batch runs
        self.rows.append(Row(name, type(module).__name__, self.whole(y), sum(box.value.size for box in new),
                             scale * module.macs(y), self.whole(x), module.window_size(),
                             scale * self.save(module, x, y), seconds))
        return y

    def run(self, layer, x):
        """(the output, the time it took)"""
        return zeros(layer.output_shape(x)), None

    def sum(self, branch, shortcut):
        return self.own(branch)

    def own(self, y):
        """A result that no layer has."""
        return zeros(y.shape)

    def whole(self, array):
        """The shape of the whole batch."""
        return (self.batch, *array.shape[1:])

    def save(self, layer, x, y):
        """The bytes in float32 of what the layer's pullback keeps and no layer before it does."""
        kept = {"x": x, "y": y}.get(layer.keeps)
        if kept is None or id(kept) in self.saved:
            return layer.bytes_kept(x, y)
        self.saved[id(kept)] = kept                               # and so no other array gets its id
        return 4 * kept.size + layer.bytes_kept(x, y)


class Probe(Module):
    """Stands in for a part of a module, and leads what it is given through that part."""

    def __init__(self, walk, part):
        self.walk, self.part = walk, part

    def __call__(self, x):
        return self.walk.through(self.part, x)


class Timed(Walk):
    """A walk that runs every layer, and notes how long it took."""

    def run(self, layer, x):
        start = perf_counter()
        y = layer(x)
        return y, perf_counter() - start

    def sum(self, branch, shortcut):
        return branch + shortcut

    def own(self, y):
        return y


def timed_rows(model, x, repeats=3) -> tuple[Row, ...]:
    """As :func:`tree_rows`, for the array x, with the shortest time of ``repeats`` runs for each call."""
    runs = []
    for _ in range(repeats + 1):                                  # the first one compiles and warms up
        walk = Timed(model, batch=len(x))
        walk.through(model, x)
        runs.append(walk.rows)
    return tuple(row if row.inside else replace(row, seconds=min(other.seconds for other in calls[1:]))
                 for row, *calls in zip(runs[-1], *runs))


def zeros(shape):
    """Zeros of any shape that take four bytes."""
    return np.broadcast_to(np.float32(0), shape)


def by(shape):
    """(1, 3, 224, 224) → "1x3x224x224" """
    return "x".join(map(str, shape))
