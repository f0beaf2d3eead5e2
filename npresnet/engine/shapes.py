"""The shape of each step's result, channels last; on a CPU its channels are padded to whole vector registers."""

from typing import Any, NamedTuple

import numpy as np

from ..ops.window import Window
from .graph import ACTIVATIONS, Node, stride_of

BATCH = 8  # large images that a CPU takes through the whole net together
EITHER = {"input", "call", "add", "narrow", "widen", *ACTIVATIONS.values()}  # take images or scores


class Image(NamedTuple):
    """The shape of a step's result for one image.

    ``flat`` marks scores: (N, C), not (N, C, H, W), in the model; ``bits`` is 32 for float32, 16 for bfloat16, 8 for
    levels; a ``few`` channels of fewer bits, at most four, need not be padded to whole registers.
    """

    height: int
    width: int
    channels: int
    flat: bool = False
    bits: int = 32
    few: bool = False

    @property
    def stored(self) -> int:
        """Channels in a CPU's memory."""
        from ..kernels.cpu.conv.pack import round_up  # here, since a GPU needs no Numba

        return 4 if self.few else round_up(self.channels)

    @property
    def elements(self) -> int:
        """The same in 32 bits each, as the kernels count them."""
        return self.stored * self.bits // 32

    @property
    def nbytes(self) -> int:
        """Bytes in a CPU's memory."""
        return self.height * self.width * self.elements * 4


def batch_limit(height: int, width: int) -> int:
    """Images that go through the net together: BATCH large ones, or the number of small ones with as many pixels."""
    return max(BATCH, BATCH * 64 * 64 // (height * width) * 4)


def images(nodes: list[Node], channels: int, height: int, width: int) -> dict[Node, Image]:
    """The :class:`Image` of every node, for inputs of this size."""
    found: dict[Node, Image] = {}
    for node in nodes:
        first = found[node.inputs[0]] if node.inputs else Image(height, width, channels)
        _check(node, first, found)
        found[node] = _image(node, first)
    return found


def _image(node, x) -> Image:
    image = _same_bits(node, x)
    return image._replace(bits=node.bits, few=node.few and x.channels <= 4) if node.bits else image


def _same_bits(node, x) -> Image:
    if node.kind == "input":
        return x
    if node.kind == "conv":
        size = conv_window(node, x).output_size((x.height, x.width))
        if node.pool:
            size = pool_window(node.pool, *size).output_size(size)
        return Image(*size, len(node.weight), x.flat, x.bits)
    if node.kind == "max_pool":
        height, width = pool_window(node.module, x.height, x.width).output_size((x.height, x.width))
        return x._replace(height=height, width=width)
    if node.kind == "mean":
        return Image(1, 1, x.channels, flat=True, bits=x.bits)
    if node.kind == "subsample":
        (down, across), channels = stride_of(node), node.before + x.channels + node.after
        return x._replace(height=-(-x.height // down), width=-(-x.width // across), channels=channels)
    if node.kind == "call":
        dtype = np.uint8 if x.bits == 8 else np.float32
        y = node.module(np.zeros((1, x.channels) if x.flat else (1, x.channels, x.height, x.width), dtype))
        if len(y) != 1 or y.ndim not in (2, 4):
            raise ValueError(f"{node.name} makes {y.shape} of one image: neither images (N, C, H, W) nor scores (N, C)")
        _, channels, height, width = y.shape if y.ndim == 4 else (*y.shape, 1, 1)
        return Image(height, width, channels, flat=y.ndim == 2, bits=x.bits)
    return x


def _check(node, x, found):
    """Raise ValueError where the layer itself would: a kernel would read past the end of its images."""
    scores = node.kind == "conv" and node.is_linear
    if x.flat != scores and node.kind not in EITHER:
        raise ValueError(f"{node.name} takes {_shape(scores)}; its input is {_shape(x.flat)}")
    if node.weight is not None:
        groups = getattr(node.module, "groups", 1)
        expected = node.weight.shape[1] * groups if node.kind == "conv" else len(node.weight)
        if expected != x.channels:
            raise ValueError(f"{node.name} expects {expected} channels; its input has {x.channels}")
    for other in node.inputs[1:]:
        if found[other] != _image(node, x):
            raise ValueError(f"the two paths of a sum need one shape, not {_image(node, x)} and {found[other]}")


def _shape(flat) -> str:
    return "scores (N, C)" if flat else "images (N, C, H, W)"


def conv_window(node: Node, x: Image) -> Window:
    """The window of a convolution (or of a linear layer: 1x1) over an image."""
    kernel, conv = node.weight.shape[2:], node.module
    stride, dilation = getattr(conv, "stride", 1), getattr(conv, "dilation", 1)
    padding = getattr(conv, "padding", 0)
    return Window.of(kernel, stride, padding, dilation, (x.height, x.width))


def pool_window(pool: Any, height: int, width: int) -> Window:
    """The window of a max-pool layer over an image."""
    static = {"dilation": 1, **pool.static}
    window = Window.of(static["kernel"], static["stride"], static["padding"], static["dilation"], (height, width))
    return window.ceil_mode((height, width)) if static.get("ceil_mode") else window
