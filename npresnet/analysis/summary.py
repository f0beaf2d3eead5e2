"""A summary of a model: a tree of its layers with their shapes and costs, and the totals.

With ``measure=True`` each layer's time stands beside its work.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from math import prod
from typing import Any

import numpy as np

from ..backend import Array
from ..nn import Module, Parameter
from ..nn.module import needs_module
from ..tables import html_table, text_lines
from .walk import Row, dimensions, timed_rows, tree_rows

TEXT_COLUMNS = 5  # the first columns, aligned at the left; the others are numbers


@dataclass(frozen=True)
class Summary:
    """``tree`` in the order of execution, stages and blocks before their parts; ``rows`` are its leaves.

    parameters = trainable + frozen are learned arrays; ``buffers`` counts the running means and variances, which
    Keras calls non-trainable parameters.  Bytes are for float32: the weights, the input, every row's output held at
    once, and ``saved_bytes``, what the pullbacks of a training step keep where the plain reference ops run.
    """

    model: str
    input_shape: tuple[int, ...]
    tree: tuple[Row, ...]
    parameters: int
    trainable: int
    buffers: int
    macs: int
    weight_bytes: int
    input_bytes: int
    output_bytes: int
    saved_bytes: int
    seconds: float | None = None
    options: dict[str, Any] = field(default_factory=dict)  # in which it differs from the usual network of its name

    @property
    def title(self) -> str:
        """The model's name, and its options."""
        return ", ".join([self.model, *(f"{name}={value}" for name, value in self.options.items())])

    @property
    def rows(self) -> tuple[Row, ...]:
        """The calls of layers, in the order of execution."""
        return tuple(row for row in self.tree if not row.inside)

    @property
    def frozen(self) -> int:
        """How many learned numbers are not trainable."""
        return self.parameters - self.trainable

    @property
    def flops(self) -> int:
        """Two for each multiply-accumulate."""
        return 2 * self.macs

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts, ready for json.dumps."""
        plain = {name: value for name, value in asdict(self).items() if name != "tree"}
        rows, tree = ([{**asdict(row), "flops": row.flops} for row in part] for part in (self.rows, self.tree))
        return {**plain, "frozen": self.frozen, "flops": self.flops, "rows": rows, "tree": tree}

    def cells(self) -> list[tuple[str, ...]]:
        """The table as text: a header, then one line a row, indented as the tree is."""
        header = ("layer", "kind", "kernel", "input", "output", "parameters", "MACs", "FLOPs", "saved bytes")
        times = ("ms", "share", "GFLOP/s") if self.seconds else ()
        return [header + times] + [self.cell(row) for row in self.tree]

    def cell(self, row: Row) -> tuple[str, ...]:
        """The texts of one line."""
        indent = "  " * row.name.count(".")
        name = row.name.rpartition(".")[2]
        text = (indent + name, row.kind, *map(dimensions, (row.kernel, row.input_shape, row.output_shape)))
        if row.inside:
            return text + ("",) * (7 if self.seconds else 4)
        numbers = tuple(f"{n:,}" if n else "" for n in (row.parameters, row.macs, row.flops, row.saved_bytes))
        if not self.seconds:
            return text + numbers
        seconds = row.seconds or 0.0
        return (
            text
            + numbers
            + (
                f"{1e3 * seconds:.2f}",
                f"{seconds / self.seconds:.1%}",
                f"{row.flops / seconds / 1e9:.1f}" if row.macs else "",
            )
        )

    def totals(self) -> list[str]:
        """The lines below the table."""
        mb = [f"{count / 1e6:,.1f} MB" for count in (self.weight_bytes, self.input_bytes, self.output_bytes)]
        time = [f"time        {1e3 * self.seconds:,.1f} ms for all layers, one after the other"] if self.seconds else []
        return [
            f"parameters  {self.parameters:,} ({self.trainable:,} trainable, {self.frozen:,} frozen), "
            f"and {self.buffers:,} running statistics; Keras says {self.parameters + self.buffers:,} in total, "
            f"{self.frozen + self.buffers:,} non-trainable",
            f"MACs        {self.macs:,} for an input of {dimensions(self.input_shape)}, {self.flops:,} FLOPs",
            f"memory      about {mb[0]} of weights, {mb[1]} of input, {mb[2]} for all outputs at once, "
            f"{self.saved_bytes / 1e6:,.1f} MB saved for the backward pass (float32)",
            *time,
        ]

    def __str__(self):
        cells = self.cells()
        lines = text_lines(cells, right=range(TEXT_COLUMNS, len(cells[0])), rule=True)
        return "\n".join([self.title, "", *lines, "", *self.totals()])

    def _repr_html_(self):
        return f"{html_table(self.cells(), self.title)}<pre>{escape(chr(10).join(self.totals()))}</pre>"


def summary(model: Module, input_shape: Sequence[int] = (1, 3, 224, 224), *, measure: bool = False) -> Summary:
    """Every layer's kernel, input and output shapes, parameters, MACs and saved bytes for inputs of ``input_shape``.

        >>> import npresnet
        >>> table = npresnet.summary(npresnet.create_model("resnet20"), (1, 3, 32, 32))
        >>> table.parameters, table.macs
        (269722, 40551040)

    The model is not changed, whatever mode it is in, and nothing is convolved: this takes milliseconds.  ``measure``
    runs the model in eval on random numbers as well, and adds each layer's time.  Raises ValueError, naming the layer,
    for a shape that cannot pass.
    """
    needs_module(model, "summary")
    tree = tree_rows(model, input_shape)
    if measure:
        tree = timed_rows(model.copy().eval(), noise(input_shape, model))
    rows = [row for row in tree if not row.inside]
    arrays = [array for _, array in model.named_arrays()]
    learned = [array for array in arrays if isinstance(array, Parameter)]
    statistics = [array.value for array in arrays if not isinstance(array, Parameter) and array.value.dtype.kind == "f"]
    return Summary(
        model=getattr(getattr(model, "spec", None), "name", type(model).__name__),
        input_shape=tuple(input_shape),
        tree=tree,
        parameters=sum(parameter.value.size for parameter in learned),
        trainable=sum(parameter.value.size for parameter in learned if parameter.trainable),
        buffers=sum(array.size for array in statistics),
        macs=sum(row.macs for row in rows),
        weight_bytes=4 * sum(array.value.size for array in arrays),
        input_bytes=4 * prod(input_shape),
        output_bytes=4 * sum(prod(row.output_shape) for row in rows),
        saved_bytes=sum(row.saved_bytes for row in rows),
        seconds=sum(row.seconds or 0.0 for row in rows) if measure else None,
        options=dict(getattr(getattr(model, "spec", None), "options", {})),
    )


def noise(shape: Sequence[int], model: Module) -> Array:
    """Random numbers of the model's dtype."""
    return np.random.default_rng(0).standard_normal(shape, np.float32).astype(model.dtype)
