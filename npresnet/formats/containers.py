"""Which container a file is, by its first bytes; which writer a suffix asks for.

    first bytes             container                                        reader
    PK\\3\\4                  zip: PyTorch's if it holds */data.pkl,           torch/zip.py
                            torch.export's if it holds a table of arrays,    torch/export.py
                            Keras's if it holds model.weights.h5,            keras.py
                            .npz if it holds .npy, else one file of weights  npz.py, archive.py
    \\x1f\\x8b               gzip around any other                            archive.py
    \\x89HDF\\r\\n\\x1a\\n       HDF5, as Keras or h5py writes it                 keras.py, hdf5/
    ustar at 257            tar: PyTorch before 0.1.10, or one file          torch/tar.py, archive.py
    \\x80 and no JSON at 8   a pickle: PyTorch before 1.6, or a bare one      torch/legacy.py
    { at 8                  safetensors                                      safetensors.py
    \\x12\\x01 and zeros      MXNet's .params                                  mxnet.py
    a map of texts          flax's msgpack                                   msgpack.py
    \\x08 and a number       ONNX                                             onnx/

Anything else is refused, by its name where foreign.py knows it.  A new format is a reader (and a writer) in a file of
its own, a branch in ``read_tree`` and an entry in ``WRITERS``.
"""

from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from .archive import GZIP, gunzip, only_checkpoint
from .errors import WeightsError
from .foreign import is_core_ml, is_saved_model, likely
from .hdf5.file import MAGIC
from .keras import read_hdf5, read_keras
from .msgpack import is_msgpack, read_msgpack
from .mxnet import MXNET, read_mxnet
from .npz import read_npz, write_npz
from .onnx.read import is_onnx, read_onnx
from .onnx.tensor import Beside
from .safetensors import read_safetensors, write_safetensors
from .stream import Budget
from .tar_archive import tar_members
from .torch.export import OLD_STATE, config_of, read_torch_export
from .torch.legacy import read_torch_legacy
from .torch.tar import read_torch_tar
from .torch.write import write_pth
from .torch.zip import read_torch_zip
from .zip_archive import ZipArchive

# suffix → writer(file, {name: array}, {name: text})
WRITERS: dict[str, Callable[[BinaryIO, dict[str, Any], dict[str, str]], None]] = {
    ".safetensors": write_safetensors,
    ".npz": write_npz,
    ".pth": write_pth,
    ".pt": write_pth,
}


MOST_ARCHIVES = 3  # one in the other
PICKLES = (
    b"\x80",
    b"(dp",
    b"(lp",
    b"(i",
    b"}q",
    b"]q",
    b"ccop",
    b"ccollections",
)  # of protocol 2 and later; of 0 and 1


def read_tree(
    data: memoryview,
    budget: Budget,
    allow: Mapping[str, Any],
    beside: Beside | None = None,
    archives: int = MOST_ARCHIVES,
) -> tuple[str, Any, dict[str, str]]:
    """(format, nested dictionaries with Tensors in them, metadata).

    ``allow`` holds the globals of a pickle; ``beside`` reads a file beside this one, for the formats that need some;
    ``archives`` is how many archives may lie around the file.
    """
    if data[:4] in (b"PK\3\4", b"PK\5\6"):
        archive = ZipArchive(data, budget)
        found = read_zip(archive, budget, allow)
        if found:
            return found
        inner = archive.read(only_checkpoint(archive.names()))
    elif data[:2] == GZIP:
        inner = gunzip(data, budget)
    elif data[257:262] == b"ustar":
        members = tar_members(data)
        if "pickle" in members:
            return "torch tar", read_torch_tar(members, budget, allow), {}
        inner = members[only_checkpoint(members)]
    else:
        return read_file(data, budget, allow, beside)
    if not archives:
        raise WeightsError(f"lies in more than {MOST_ARCHIVES} archives, one in the other; unpack it")
    return read_tree(inner, budget, allow, beside, archives - 1)


def read_zip(archive: ZipArchive, budget: Budget, allow: Mapping[str, Any]) -> tuple[str, Any, dict[str, str]] | None:
    """What a zip holds that is a container itself; None for an archive around a file."""
    names = archive.names()
    config = config_of(names)
    if config:
        return "torch export", read_torch_export(archive, config, budget), {}
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        return "torch zip", read_torch_zip(archive, allow, budget), {}
    if "model.weights.h5" in archive:
        return "keras", *read_keras(archive, budget)
    if OLD_STATE in archive:
        return "torch export", read_tree(archive.read(OLD_STATE), budget, allow, archives=0)[1], {}
    if names and all(name.endswith(".npy") for name in names):
        return "npz", *read_npz(archive, budget)
    return None


def read_file(
    data: memoryview, budget: Budget, allow: Mapping[str, Any], beside: Beside | None
) -> tuple[str, Any, dict[str, str]]:
    """What is no archive."""
    start = bytes(data[:512])
    if start[:8] == MAGIC:
        return read_hdf5(data, budget)
    if start.startswith(PICKLES) and start[5:9] != b"\0\0\0{":  # else 0x…80 is the length of safetensors' header
        return "torch legacy", read_torch_legacy(data, allow, budget), {}
    if start[8:9] == b"{":
        return "safetensors", *read_safetensors(data, budget)
    if start[:8] == MXNET:
        return "mxnet", read_mxnet(data, budget), {}
    if is_msgpack(start):
        return "msgpack", read_msgpack(data, budget), {}
    if is_onnx(data) and not is_core_ml(start) and not is_saved_model(start):
        return "onnx", *read_onnx(data, budget, beside)
    raise WeightsError(
        "not a file of weights (.pth, .safetensors, .npz, .h5, .keras or .onnx); " + likely(start, bytes(data[-8:]))
    )
