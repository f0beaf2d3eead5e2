"""One state dict in every container and flavour that checkpoints have had.

``write_torch_zip`` and ``write_torch_legacy`` are torch.save itself; ``write_tar`` is the tar of PyTorch before
0.1.10, made by hand, which torch.load(weights_only=False) still reads.
"""

import io
import struct
from collections import OrderedDict

import numpy as np
import pytest

from .pickles import MARK, ORDERED, call, glob, program, tar, value

STORAGE_NAMES = {
    "float64": "Double",
    "float32": "Float",
    "float16": "Half",
    "int64": "Long",
    "int32": "Int",
    "uint8": "Byte",
    "bool": "Bool",
}


def as_tensors(state):
    torch = pytest.importorskip("torch")

    return OrderedDict((key, torch.from_numpy(np.array(array))) for key, array in state.items())


def with_parameters(state):
    """Every floating array a Parameter, as in torchvision's V1 files."""
    torch = pytest.importorskip("torch")

    return OrderedDict(
        (key, torch.nn.Parameter(tensor) if tensor.is_floating_point() else tensor)
        for key, tensor in as_tensors(state).items()
    )


def without_counters(state):
    return {key: array for key, array in state.items() if not key.endswith("num_batches_tracked")}


def with_halves(state):
    """Convolutions and classifier float16, batch norm float32, as in torchvision's Wide ResNets."""
    return {
        key: array.astype(np.float16) if array.ndim > 1 or key.startswith("fc.") else array
        for key, array in state.items()
    }


def write_torch_zip(path, tensors):
    torch = pytest.importorskip("torch")

    torch.save(tensors, path)


def write_torch_legacy(path, tensors):
    torch = pytest.importorskip("torch")

    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def write_tar(path, state, parameters=False):
    """name → array; with ``parameters`` the floating arrays are Parameters of 2017, completed by BUILD."""
    arrays = [np.array(array) for array in state.values()]  # 0-d arrays had no place in 2017; torch reads them
    storages = io.BytesIO(program(len(arrays)))
    storages.seek(0, 2)
    tensors = io.BytesIO(program(len(arrays)))
    tensors.seek(0, 2)
    for i, array in enumerate(arrays):
        kind = STORAGE_NAMES[array.dtype.name]
        storages.write(program((1000 + i, "cpu", glob(f"torch {kind}Storage"))))
        storages.write(struct.pack("<q", array.size) + array.tobytes())
        tensors.write(program((2000 + i, 1000 + i, glob(f"torch {kind}Tensor"))))
        strides = [stride // array.itemsize for stride in array.strides]
        tensors.write(struct.pack(f"<i4x{array.ndim}q{array.ndim}qq", array.ndim, *array.shape, *strides, 0))
    storages.write(program([]))  # no views
    pairs = b"".join(
        value([key, tar_value(2000 + i, parameters and array.dtype.kind == "f")])
        for i, (key, array) in enumerate(zip(state, arrays))
    )
    tree = program(call("collections OrderedDict", b"]" + MARK + pairs + b"e"))
    path.write_bytes(
        tar(
            [
                ("sys_info", program({"little_endian": True})),
                ("PaxHeaders/pickle", b"22 mtime=1488000000.5\n", b"x"),  # tarfile wrote times so
                ("pickle", tree),
                ("storages", storages.getvalue()),
                ("tensors", tensors.getvalue()),
            ]
        )
    )


def tar_value(key, parameter):
    reference = value(key) + b"Q"
    if not parameter:
        return reference
    return call("torch.nn.parameter Parameter", reference) + value((True, False, ORDERED)) + b"b"
