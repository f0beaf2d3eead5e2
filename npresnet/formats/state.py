"""State, the arrays of a network by name with what the file says of its layers, and Layer, one of them.

A pickled or exported network says more than its state dict: strides, eps, padding, activations.  ``State`` is a
dictionary of the arrays, so that whoever wants nothing else needs to know nothing of the rest.
"""

from typing import Any, NamedTuple


class Layer(NamedTuple):
    """One layer of a network: ``kind``, its class's last name ("Conv2d"), and its plain attributes."""

    kind: str
    options: dict[str, Any]


class State(dict[str, Any]):
    """name → Tensor in the network's own order.

    layers  path → Layer, in order, also of layers without arrays; "" is the network itself
    kind    the class's full name, "torchvision.models.resnet.ResNet"
    """

    def __init__(self, arrays: Any = (), *, kind: str = "", layers: dict[str, Layer] | None = None):
        super().__init__(arrays)
        self.kind, self.layers = kind, {} if layers is None else layers
