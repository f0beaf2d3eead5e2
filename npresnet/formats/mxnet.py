"""Reads MXNet's .params [M]: a count of arrays, each with its shape, device and dtype, then as many names.

Names lose "arg:" and "aux:", which Module.save_checkpoint puts before them.  Sparse arrays are refused.

[M] src/ndarray/ndarray.cc, NDArray::Load and NDArray::LegacyLoad
"""

import math

from .errors import WeightsError, error_context
from .stream import Budget, Stream
from .tensors import MAX_DIMENSIONS, Storage, Tensor, itemsize

MXNET = (0x112).to_bytes(8, "little")
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA  # before an array; older ones begin with the number of sizes
DTYPES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64")


def read_mxnet(data: memoryview, budget: Budget) -> dict[str, Tensor]:
    """name → Tensor in the file's order; where it holds no names, "0", "1" …"""
    stream = Stream(data)
    _, _, count = stream.unpack("<3Q")
    budget.spend(1024 * count, f"{count:,} arrays")
    tensors = []
    for i in range(count):
        with error_context(f"array {i}"):
            tensors.append(read_array(stream))
    names = [str(i) for i in range(count)]
    if stream.unpack("<Q")[0] == count:
        names = [bytes(stream.read(stream.unpack("<Q")[0])).decode("utf-8") for _ in range(count)]
    names = [name.removeprefix("arg:").removeprefix("aux:") for name in names]
    if len(set(names)) != count or stream.position != len(data):
        raise WeightsError("a file of MXNet's whose names are not one for each array; it is damaged")
    return dict(zip(names, tensors))


def read_array(stream: Stream) -> Tensor:
    version = stream.unpack("<I")[0]
    if version in (V2, V3) and stream.unpack("<i")[0] not in (0, -1):
        raise WeightsError("a sparse array; save it with tostype('default')")
    ndim = stream.unpack("<I")[0] if version in (V1, V2, V3) else version
    if ndim > MAX_DIMENSIONS:
        raise WeightsError(f"an array has {ndim:,} dimensions")
    shape = stream.unpack(f"<{ndim}{'q' if version in (V1, V2, V3) else 'I'}")
    if ndim == 0 and version != V3:
        return Tensor.contiguous(Storage("float32", 0).fill(b""), (0,))  # an array that was never filled
    _, _, kind = stream.unpack("<3i")  # device, its number, dtype
    if not 0 <= kind < len(DTYPES):
        raise WeightsError(f"an array has the dtype {kind}, which is not read")
    storage = Storage(DTYPES[kind], math.prod(shape))
    return Tensor.contiguous(storage.fill(stream.read(math.prod(shape) * itemsize(DTYPES[kind]))), shape)
