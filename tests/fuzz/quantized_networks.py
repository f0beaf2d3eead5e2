"""Quantized networks of three small blocks: torchvision's as torch.save leaves them, and our own."""

import io
import tempfile
from pathlib import Path

import numpy as np

from npresnet.formats.containers import WRITERS
from npresnet.formats.tensors import QUANTIZED
from npresnet.models import build
from npresnet.quantized import quantize, save_quantized
from tests.support import pickles

from .networks import CLASSES, LARGEST, layers, view

AO = "torch.ao.nn.quantized.modules."


def integers(shape):
    """A quantized tensor of the one storage of bytes, with a scale for each filter."""
    strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    scheme = pickles.glob("torch per_channel_affine"), view(shape[:1]), zeros(shape[0]), 0
    source = pickles.storage("1", LARGEST, "torch QInt8Storage")
    return pickles.call(
        "torch._utils _rebuild_qtensor", source, 0, tuple(shape), strides, scheme, False, pickles.ORDERED
    )


def zeros(count):
    return pickles.tensor(pickles.storage("2", LARGEST, "torch LongStorage"), 0, (count,), (1,))


def file(program):
    """A .pth over three storages: ones, bytes of 1, zeros."""
    data = ("0", b"\0\0\x80\x3f" * LARGEST), ("1", b"\1" * LARGEST), ("2", bytes(8 * LARGEST))
    return pickles.pth(pickles.PROTO2 + program + b".", data=data)


def scales(path):
    return {f"{path}.scale": view((1,)), f"{path}.zero_point": zeros(1)}


def convolutions():
    """path → the sizes of a convolution."""
    return {path: sizes for path, (kind, *sizes) in layers().items() if kind == "conv"}


def state_dict():
    """Wrapped as a training run leaves it."""
    found = scales("quant")
    for path, (filters, channels, side, _) in convolutions().items():
        found |= {f"{path}.weight": integers((filters, channels, side, side)), f"{path}.bias": view((filters,))}
        found |= scales(path)
    for stage in (1, 2, 3):
        found |= scales(f"layer{stage}.0.add_relu")
    pair = integers((CLASSES, 4)), view((CLASSES,))
    found |= scales("fc") | {"fc._packed_params._packed_params": pair}
    return file(pickles.value({"epoch": 3, "model": {f"module.{key}": value for key, value in found.items()}}))


def made(name, state):
    """The instructions that make an object of a class, and set its state."""
    return pickles.glob(name) + b")\x81" + pickles.value(state) + b"b"


def module(children, kind="torch.nn.modules.module Module", buffers=None, **attributes):
    return made(kind, {"_parameters": {}, "_buffers": buffers or {}, "_modules": children, **attributes})


def whole():
    """A pickled network, with the states of quantized modules."""
    root = {"quant": module({}, f"{AO} Quantize", {"scale": view((1,)), "zero_point": zeros(1)})}
    stages = {1: {}, 2: {}, 3: {}}
    for path, (filters, channels, side, stride) in convolutions().items():
        pairs = [(number, number) for number in (side, stride, side // 2, 1)]
        arrays = integers((filters, channels, side, side)), view((filters,))
        state = channels, filters, *pairs, False, (0, 0), 1, "zeros", *arrays, 0.5, 0, False
        if path == "conv1":
            root[path] = made(f"{AO}conv Conv2d", state)
        else:
            stages[int(path[5])][path.split(".", 2)[2]] = made(f"{AO}conv Conv2d", state)
    for stage, parts in stages.items():
        if "downsample.0" in parts:
            parts["downsample"] = module({"0": parts.pop("downsample.0")})
        parts["add_relu"] = module({}, f"{AO}functional_modules QFunctional", scale=0.5, zero_point=0)
        root[f"layer{stage}"] = module({"0": module(parts)})
    pair = made("torch ScriptObject", ((integers((CLASSES, 4)), view((CLASSES,))), "LinearPackedParamsBase"))
    packed = module({}, f"{AO}linear LinearPackedParams", _packed_params=pair)
    root["fc"] = module({"_packed_params": packed}, f"{AO}linear Linear", scale=0.5, zero_point=64)
    return file(module(root))


def network(depths):
    """One of a filter in each layer, or some."""
    model = build("resnet20", CLASSES, depths=depths, width=1, shortcut="B")
    return quantize(model, np.ones((1, 3, 8, 8), np.float32))


def onnx():
    """What save_quantized writes as ONNX."""
    with tempfile.TemporaryDirectory() as folder:
        return save_quantized(network((1, 1, 1)), Path(folder) / "a.onnx").read_bytes()


def onnx_of_others():
    """The same without our metadata, so that its graph is read."""
    return onnx().replace(QUANTIZED.encode(), b"a" * len(QUANTIZED))


def own(suffix):
    """What save_quantized writes in the other formats."""
    found = network((1, 1))
    buffer = io.BytesIO()
    WRITERS[suffix](buffer, found.arrays(), {QUANTIZED: found.metadata})
    return buffer.getvalue()
