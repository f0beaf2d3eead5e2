"""A model's graph for the engine in bfloat16: the same steps, with results of 16 bits, and what changes between widths.

Sums are taken in float32, within a step from its first product to its ReLU; its result is rounded once.  Steps that
have no kernel for 16 bits run in float32, between a step that widens and one that narrows.  Scores stay in float32.
"""

from ..nn import Module
from .graph import Node, folded

KINDS = {"conv", "affine", "relu", "add", "max_pool", "mean", "subsample"}  # that have a kernel for 16 bits


def lower_to_bfloat16(model: Module) -> list[Node]:
    """The model's steps, each after those it reads."""
    nodes = folded(model)
    steps, width, changed = nodes[:1], {nodes[0]: 32}, {}

    def of_width(node, bits):
        """The result of a node, in so many bits."""
        if width[node] == bits:
            return node
        if node not in changed:
            kind = "narrow" if bits == 16 else "widen"
            changed[node] = Node(kind, [node], kind, bits=bits)
            width[changed[node]] = bits
            steps.append(changed[node])
        return changed[node]

    for node in nodes[1:]:
        bits = 16 if node.kind in KINDS else 32
        node.inputs = [of_width(read, bits) for read in node.inputs]
        width[node] = bits
        if node.kind == "conv" and node.is_linear and len(node.inputs) == 1:
            node.bits = width[node] = 32
        steps.append(node)
    if (image := changed.get(nodes[0])) is not None:
        readers = [node for node in steps if image in node.inputs]
        image.few = all(node.kind == "conv" and image not in node.inputs[1:] for node in readers)
    return steps
