"""Finds GELU in a graph, x/2 · (1 + erf(x/√2)), which was no operator of ONNX before version 20.

Its factors come in any order; each value on the way is known by its form:

    scaled  x/√2      erf  erf(x/√2)      2Φ  1 + erf(x/√2)      Φ  half of that      half  x/2      double  x · 2Φ
"""

from collections.abc import Sequence

from ..stream import Budget
from ..tensors import Tensor
from .graph import Node

ROUNDED = 1e-3  # how far the constants may be from theirs
SCALE = 0.5**0.5
PRODUCTS = {("2Φ", "x"): "double", ("2Φ", "half"): "gelu", ("Φ", "x"): "gelu"}


class Forms:
    """What is known of the values so far: value → (form, image)."""

    def __init__(self, budget: Budget):
        self.budget, self.known = budget, {}

    def gelu(self, node: Node, data: Sequence[str], constant: Tensor | None) -> str:
        """The image whose GELU this operator makes, or ""; it and those before it are noted."""
        form, image = self.form(node, data, constant)
        if form and node.outputs:
            self.known[node.outputs[0]] = form, image
        return image if form == "gelu" else ""

    def form(self, node: Node, data: Sequence[str], constant: Tensor | None) -> tuple[str, str]:
        if node.kind == "Erf" and data:
            known, image = self.known.get(data[0], ("", ""))
            return ("erf", image) if known == "scaled" else ("", "")
        if len(data) == 2 and node.kind == "Mul":
            return self.product(*data) or self.product(*data[::-1]) or ("", "")
        if len(data) != 1 or constant is None or any(n != 1 for n in constant.size):
            return "", ""
        known, image = self.known.get(data[0], ("x", data[0]))
        if node.kind not in ("Mul", "Div", "Add"):
            return "", ""
        value = float(constant.array(self.budget).reshape(-1)[0])
        if node.kind == "Add":
            return ("2Φ", image) if known == "erf" and abs(value - 1) < ROUNDED else ("", "")
        factor = 1 / value if node.kind == "Div" and value else value
        if known == "x" and abs(factor - SCALE) < ROUNDED:
            return "scaled", image
        halves = {"x": "half", "2Φ": "Φ", "double": "gelu"}
        return (halves[known], image) if known in halves and abs(factor - 0.5) < ROUNDED else ("", "")

    def product(self, one: str, other: str) -> tuple[str, str] | None:
        """The form of a product whose first factor is 2Φ or Φ."""
        known, image = self.known.get(one, ("", ""))
        second = "x" if other == image else self.known.get(other, ("", ""))[0]
        if second != "x" and self.known.get(other, ("", ""))[1] != image:
            return None
        return (PRODUCTS[known, second], image) if (known, second) in PRODUCTS else None
