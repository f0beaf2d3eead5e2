"""What a network is made of: a table of its layers' output shapes, parameters and multiply-accumulates."""

from dataclasses import asdict, dataclass
from html import escape
from math import prod

from ..nn import Parameter
from .shapes import Row, by, layer_rows


@dataclass(frozen=True)
class Summary:
    """The rows in the order of execution, and the totals.

    parameters = trainable + frozen are learned arrays; ``buffers`` counts the running means and variances, which
    Keras calls non-trainable parameters.  Bytes are for float32: the weights, the input, and every row's output held
    at once, as a training step holds them.
    """

    model: str
    input_shape: tuple[int, ...]
    rows: tuple[Row, ...]
    parameters: int
    trainable: int
    buffers: int
    macs: int
    weight_bytes: int
    input_bytes: int
    output_bytes: int

    @property
    def frozen(self) -> int:
        return self.parameters - self.trainable

    def to_dict(self) -> dict:
        """Plain numbers, strings, lists and dicts, ready for json.dumps."""
        return {**asdict(self), "frozen": self.frozen}

    def cells(self) -> list[tuple[str, ...]]:
        """The table as text: a header, then one line a row."""
        header = ("layer", "kind", "output shape", "parameters", "MACs")
        return [header] + [(row.name, row.kind, by(row.output_shape), f"{row.parameters:,}", f"{row.macs:,}")
                           for row in self.rows]

    def totals(self) -> list[str]:
        """The lines below the table."""
        mb = [f"{count / 1e6:,.1f} MB" for count in (self.weight_bytes, self.input_bytes, self.output_bytes)]
        return [f"parameters  {self.parameters:,} ({self.trainable:,} trainable, {self.frozen:,} frozen), "
                f"and {self.buffers:,} running statistics",
                f"MACs        {self.macs:,} for an input of {by(self.input_shape)}",
                f"memory      about {mb[0]} of weights, {mb[1]} of input, {mb[2]} for all outputs at once (float32)"]

    def __str__(self):
        cells = self.cells()
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = ["  ".join(text.ljust(width) if i < 3 else text.rjust(width)
                           for i, (text, width) in enumerate(zip(line, widths))) for line in cells]
        return "\n".join([self.model, "", lines[0], "-" * len(lines[0]), *lines[1:], "", *self.totals()])

    def _repr_html_(self):
        header, *body = [[escape(text) for text in line] for line in self.cells()]
        lines = ["<tr><th>" + "</th><th>".join(header) + "</th></tr>"]
        lines += ["<tr><td>" + "</td><td>".join(line) + "</td></tr>" for line in body]
        return (f"<table><caption>{escape(self.model)}</caption>{''.join(lines)}</table>"
                f"<pre>{escape(chr(10).join(self.totals()))}</pre>")


def summary(model, input_shape=(1, 3, 224, 224)) -> Summary:
    """Every layer's output shape, parameters and MACs for inputs of ``input_shape`` (N, C, H, W).

    The model is not changed, whatever mode it is in, and nothing is convolved: this takes milliseconds.  Raises
    ValueError, naming the layer, for a shape that cannot pass.
    """
    rows = layer_rows(model, input_shape)
    boxes = [box for _, box in model.named_arrays()]
    learned = [box for box in boxes if isinstance(box, Parameter)]
    return Summary(
        model=getattr(getattr(model, "spec", None), "name", type(model).__name__),
        input_shape=tuple(input_shape),
        rows=rows,
        parameters=sum(box.value.size for box in learned),
        trainable=sum(box.value.size for box in learned if box.trainable),
        buffers=sum(box.value.size for box in boxes if not isinstance(box, Parameter) and box.value.dtype.kind == "f"),
        macs=sum(row.macs for row in rows),
        weight_bytes=4 * sum(box.value.size for box in boxes),
        input_bytes=4 * prod(input_shape),
        output_bytes=4 * sum(prod(row.output_shape) for row in rows))
