"""NumPy's numbers, arrays and dtypes in a pickle, as NumPy writes them [N]: plain ones become numbers and Tensors.

Arrays of objects, of text, of dates and of structures stay Records, for they are no arrays of a network.

[N] numpy/_core/src/multiarray: array_reduce, gentype_reduce, arraydescr_reduce
"""

import math
import re
from typing import Any

import numpy as np

from ..errors import WeightsError, quoted
from ..stream import Bytes
from ..tensors import DTYPES, TORCH_NAMES, Storage, Tensor, itemsize
from .record import Record
from .stack_machine import Buildable

TEXT = re.compile(r"[<>=|]?U\d{1,6}")
BYTES = (bytes, bytearray, memoryview, str)
PLAIN = re.compile(r"[<>=|]?([biufc]\d{1,2})")


class NumpyDtype(Record, Buildable):
    """numpy.dtype(code); ``torch`` is torch's name for it, None of what is not plain."""

    def __init__(self, code: Any = None, *flags: Any):
        super().__init__("numpy.dtype", (code, *flags))
        code = str(code, "latin-1") if type(code) is bytes else code
        found = PLAIN.fullmatch(code) if type(code) is str else None
        self.byteorder = ">" if found and code[:1] == ">" else "<"
        self.torch = next((name for dtype, name in TORCH_NAMES.items() if found and dtype.str[1:] == found[1]), None)

    def build(self, state: Any) -> None:
        """The byte order stands in the state: (version, "<", subdtype, names, …)."""
        self.state = state
        if type(state) is tuple and len(state) > 1 and state[1] in (">", b">"):
            self.byteorder = ">"


class NumpyArray(Record, Buildable):
    """What numpy._reconstruct makes: ``tensor`` is None until BUILD, and for an array of other than plain numbers."""

    tensor: Tensor | None = None

    def __init__(self, *args: Any):
        super().__init__("numpy.ndarray", args)

    def build(self, state: Any) -> None:
        self.state = state
        if type(state) is not tuple or len(state) not in (4, 5):
            raise WeightsError("the state of a NumPy array must be (version, shape, dtype, Fortran order, bytes)")
        shape, dtype, fortran, data = state[-4:]
        self.tensor = tensor_of(data, dtype, shape, bool(fortran))


def tensor_of(data: Any, dtype: Any, shape: Any, fortran: bool) -> Tensor | None:
    """The Tensor of plain numbers, or None."""
    if not isinstance(dtype, NumpyDtype) or dtype.torch is None or type(data) not in BYTES:
        return None
    if type(shape) is not tuple or not all(type(n) is int for n in shape):
        raise WeightsError(f"a NumPy array has the shape {quoted(shape)}")
    count = math.prod(shape)
    storage = Storage(dtype.torch, count, dtype.byteorder).fill(raw(data, count * itemsize(dtype.torch)))
    if not fortran:
        return Tensor.contiguous(storage, shape)
    return Tensor(storage, 0, shape, tuple(math.prod(shape[:i]) for i in range(len(shape))))


def raw(data: Any, size: int) -> Bytes:
    """The bytes of Python 2's string, which one of two encodings decoded: the one that gives as many as needed."""
    if type(data) is not str:
        return data
    return data.encode("latin-1" if len(data) == size else "utf-8")


def scalar(dtype: Any, data: Any = None) -> Any:
    """numpy.float64(…) and its like as Python's numbers, numpy.str_(…) as a text."""
    code = dtype.args[0] if isinstance(dtype, NumpyDtype) and dtype.args else None
    if type(code) is str and TEXT.fullmatch(code) and type(data) is bytes:
        return data.decode("utf-32-be" if dtype.byteorder == ">" else "utf-32-le").rstrip("\0")
    tensor = tensor_of(data, dtype, (), False)
    if tensor is None or tensor.storage.data is None:
        return Record("numpy.scalar", (dtype, data))
    return np.frombuffer(tensor.storage.data, tensor.storage.byteorder + DTYPES[tensor.dtype])[0].item()


def from_buffer(data: Any, dtype: Any, shape: Any, order: Any = "C") -> Any:
    """numpy's _frombuffer, which protocol 5 calls."""
    return tensor_of(data, dtype, shape, order == "F") or Record("numpy.ndarray", (data, dtype, shape, order))


NUMPY_GLOBALS: dict[str, Any] = {
    "numpy dtype": NumpyDtype,
    **{
        f"{package} {name}": make
        for core in ("numpy.core", "numpy._core")
        for package, name, make in (
            (f"{core}.multiarray", "_reconstruct", NumpyArray),
            (f"{core}.multiarray", "scalar", scalar),
            (f"{core}.numeric", "_frombuffer", from_buffer),
        )
    },
}
