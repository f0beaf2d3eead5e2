"""Writes a .pth as torch.save does since PyTorch 1.6, without torch: a zip of a pickle and of each array's bytes.

The pickle is written instruction by instruction [P], because pickle.Pickler can name only globals that it can import.
dtypes that torch has no storage type for, and metadata named like a dictionary's own attributes, are refused.

[P] the comments of CPython's Lib/pickletools.py
"""

import pickle as p
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

from ..errors import WeightsError
from .allowlist import STORAGES

STEM, ALIGNMENT = "archive", 64
STORAGE_NAMES = {dtype: name for name, dtype in STORAGES.items()}


def write_pth(file: BinaryIO, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Members as in torch.save: the pickle, the byte order, data/0, data/1, … each at a multiple of 64, the version."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        write_member(archive, file, "data.pkl", state_dict(arrays, metadata))
        write_member(archive, file, "byteorder", b"little")
        for number, array in enumerate(arrays.values()):
            write_member(archive, file, f"data/{number}", array.reshape(-1).view(np.uint8).data)
        write_member(archive, file, "version", b"3\n")


def write_member(archive: zipfile.ZipFile, file: BinaryIO, name: str, content: Any) -> None:
    """One stored member, its header padded with an extra field "FB" so that its content is aligned."""
    member = zipfile.ZipInfo(f"{STEM}/{name}")
    start = file.tell() + 30 + len(member.filename) + 4
    member.extra = struct.pack("<2sH", b"FB", -start % ALIGNMENT) + b"Z" * (-start % ALIGNMENT)
    archive.writestr(member, content)


def state_dict(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """The pickle of OrderedDict((name, tensor), …), with an attribute for each text of the metadata."""
    taken = [key for key in metadata if hasattr(OrderedDict, key)]
    if taken:
        raise WeightsError(f"metadata cannot be called {taken[0]!r} in this container: a dictionary has its own")
    parts = [p.PROTO, b"\2", name("collections", "OrderedDict"), p.EMPTY_TUPLE, p.REDUCE, p.MARK]
    for number, (key, array) in enumerate(arrays.items()):
        parts += [text(key), *tensor(str(number), array)]
    parts.append(p.SETITEMS)
    if metadata:
        parts += [
            p.EMPTY_DICT,
            p.MARK,
            *(text(part) for item in metadata.items() for part in item),
            p.SETITEMS,
            p.BUILD,
        ]
    return b"".join([*parts, p.STOP])


def tensor(key: str, array: np.ndarray) -> list[bytes]:
    """_rebuild_tensor_v2(storage, 0, size, stride, requires_grad=False, hooks=OrderedDict())"""
    storage = STORAGE_NAMES.get(np.dtype(array.dtype.newbyteorder("=")).name)
    if storage is None:
        raise WeightsError(f"torch has no storage type for {array.dtype}; convert it, or write .safetensors")
    strides = [stride // array.itemsize for stride in array.strides]
    return [
        name("torch._utils", "_rebuild_tensor_v2"),
        p.MARK,
        p.MARK,
        text("storage"),
        name("torch", storage),
        text(key),
        text("cpu"),
        integer(array.size),
        p.TUPLE,
        p.BINPERSID,
        integer(0),
        numbers(array.shape),
        numbers(strides),
        p.NEWFALSE,
        name("collections", "OrderedDict"),
        p.EMPTY_TUPLE,
        p.REDUCE,
        p.TUPLE,
        p.REDUCE,
    ]


def name(module: str, attribute: str) -> bytes:
    return p.GLOBAL + f"{module}\n{attribute}\n".encode("ascii")


def text(value: str) -> bytes:
    encoded = value.encode("utf-8")
    return p.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def integer(value: int) -> bytes:
    if value < 2**31:
        return p.BININT + struct.pack("<i", value)
    return p.LONG1 + b"\x08" + struct.pack("<q", value)


def numbers(values: Iterable[int]) -> bytes:
    return b"".join([p.MARK, *map(integer, values), p.TUPLE])
