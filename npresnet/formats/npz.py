"""Reads and writes .npz: a zip of .npy files [N], each a header in one line of text and the array's bytes.

Arrays of numbers are read, and a single string as metadata.  Arrays of Python objects (which are pickles), structured
dtypes and members that are no .npy are refused.  NumPy writes a header's three keys in one fixed spelling, so a regular
expression reads it and nothing is evaluated.

[N] numpy.lib.format, NEP 1
"""

import math
import re
import zipfile
from typing import BinaryIO

import numpy as np

from .errors import WeightsError, error_context, quoted
from .stream import Budget, Stream
from .tensors import DTYPES, KEY, MAX_DIMENSIONS, Storage, Tensor
from .zip_archive import ZipArchive, is_plain

HEADER = re.compile(
    r"\{'descr': '([<>|=])([A-Za-z])(\d{0,9})', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\), \} *\n"
)
BFLOAT16 = "V2"  # NumPy has no such dtype; the package ml_dtypes writes two bytes without a meaning
NAMES = {BFLOAT16: "bfloat16"} | {np.dtype(code).str[1:]: name for name, code in DTYPES.items() if name != "bfloat16"}
LENGTHS = {(1, 0): "<H", (2, 0): "<L", (3, 0): "<L"}  # version → how the header's length is stored


def read_npz(archive: ZipArchive, budget: Budget) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(name → Tensor, metadata): entries of text are metadata."""
    tensors, metadata = {}, {}
    for member in archive.names():
        with error_context(quoted(member)):
            if not member.endswith(".npy"):
                raise WeightsError("an .npz file holds .npy members only")
            value = read_npy(archive.read(member), budget)
        (metadata if isinstance(value, str) else tensors)[member.removesuffix(".npy")] = value
    return tensors, metadata


def read_npy(data: memoryview, budget: Budget) -> Tensor | str:
    """A Tensor, or a string where the array is a single one."""
    order, kind, size, fortran, shape = parse_header(Stream(data[: 16 + 10_000]))
    content = data[header_size(data) :]
    if kind == "O":
        raise WeightsError("an array of Python objects is a pickle and is refused; save plain arrays")
    if kind == "U" and shape == () and int(size) * 4 == len(content):
        budget.spend(2 * len(content), "a text")
        return bytes(content).decode(f"utf-32-{'be' if order == '>' else 'le'}").rstrip("\0")  # code points checked
    dtype = NAMES.get(kind + size)
    if dtype is None:
        raise WeightsError(f"the dtype {kind}{size} is not read; save it as a float or an integer array")
    if len(shape) > MAX_DIMENSIONS:
        raise WeightsError(f"an array has {len(shape)} dimensions")
    storage = Storage(dtype, math.prod(shape), ">" if order == ">" else "<").fill(content)
    if not fortran:
        return Tensor.contiguous(storage, shape)
    stride = tuple(math.prod(shape[:i]) for i in range(len(shape)))
    return Tensor(storage, 0, shape, stride)


def header_size(data: memoryview) -> int:
    """The bytes in front of the array's own."""
    stream = Stream(data)
    magic, *version = stream.unpack("<6s2B")
    if magic != b"\x93NUMPY" or tuple(version) not in LENGTHS:
        raise WeightsError("not an .npy file")
    length = stream.unpack(LENGTHS[tuple(version)])[0]
    return stream.position + length


def parse_header(stream: Stream) -> tuple[str, str, str, bool, tuple[int, ...]]:
    """(byte order, kind, item size, Fortran order, shape)"""
    end = header_size(stream.data)
    start = 10 if stream.data[6] == 1 else 12
    if end > len(stream.data):
        raise WeightsError("the header of the array is truncated or too long")
    found = HEADER.fullmatch(bytes(stream.data[start:end]).decode("latin1"))
    if not found:
        raise WeightsError("the header of the array is not one that NumPy writes for a plain array")
    order, kind, size, fortran, shape = found.groups()
    return order, kind, size, fortran == "True", tuple(int(n) for n in shape.split(",") if n.strip())


def write_npz(file: BinaryIO, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """One member for each array, and one string array for each text."""
    taken = arrays.keys() & {KEY, *metadata}
    if taken:
        raise WeightsError(f"an array cannot be called {min(taken)!r} in this container, where a text has that name")
    entries = arrays | {name: np.array(text) for name, text in metadata.items()}
    outside = [name for name in entries if not is_plain(f"{name}.npy")]
    if outside:
        raise WeightsError(
            f"{outside[0]!r} is no name in this container, where names are relative paths; rename it, "
            "or write .safetensors"
        )
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in entries.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
