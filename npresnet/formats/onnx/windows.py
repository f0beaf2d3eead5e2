"""The windows of ONNX's convolutions and pools as PyTorch's options."""

from typing import Any

from ..errors import WeightsError, printable, quoted
from .graph import Node


def window(node: Node, kernel: tuple[int, ...]) -> dict[str, Any]:
    """The options stride, padding and dilation."""
    stride, dilation = pair(node, "strides", (1, 1)), pair(node, "dilations", (1, 1))
    auto, pads = node.attributes.get("auto_pad", "NOTSET"), node.attributes.get("pads") or (0, 0, 0, 0)
    if not isinstance(pads, tuple) or len(pads) != 4 or not all(isinstance(n, int) and 0 <= n < 2**31 for n in pads):
        raise refuse(node, "has no padding of four sides")
    if auto not in ("NOTSET", "VALID", "SAME_UPPER"):
        raise refuse(node, f"is padded as {quoted(auto)}; of ResNets only SAME_UPPER is known")
    if auto == "SAME_UPPER" and any(s > 1 and k > 1 for s, k in zip(stride, kernel)):
        return {"stride": stride, "padding": "same", "dilation": dilation}  # as the image's size is
    pads = same(kernel, stride, dilation) if auto == "SAME_UPPER" else pads
    return {"stride": stride, "padding": padding(pads, kernel, stride, dilation), "dilation": dilation}


def padding(pads: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Any:
    """As PyTorch has it; "same" where it is TensorFlow's for an even image; else ((top, bottom), (left, right))."""
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return top, left
    return "same" if pads == same(kernel, stride, dilation) else ((top, bottom), (left, right))


def same(kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """TensorFlow's (top, left, bottom, right) for an image whose size the stride divides."""
    height, width = (max(0, d * (k - 1) + 1 - s) for k, s, d in zip(kernel, stride, dilation))
    return height // 2, width // 2, height - height // 2, width - width // 2


def four_sides(padding: Any) -> tuple[int, ...]:
    """(top, left, bottom, right) of what ``padding`` returns, or () for "same" and for none."""
    if not isinstance(padding, tuple):
        return ()
    vertical, horizontal = (side if isinstance(side, tuple) else (side, side) for side in padding)
    return vertical[0], horizontal[0], vertical[1], horizontal[1]


def pair(node: Node, name: str, usual: tuple[int, ...]) -> tuple[int, ...]:
    """An attribute of two numbers from 1."""
    value = node.attributes.get(name) or usual
    if not isinstance(value, tuple) or len(value) != 2 or not all(isinstance(n, int) and 1 <= n < 2**31 for n in value):
        raise refuse(node, f"has no {name} of two sides")
    return value


def refuse(node: Node, why: str) -> WeightsError:
    return WeightsError(f"{printable(node.kind, 60)} ({quoted(node.name or ', '.join(node.outputs))}) {why}")
