"""Which container a file is, by its first bytes; which writer a suffix asks for.

    first bytes             container                                        reader
    PK\\3\\4                  zip: PyTorch's if it holds */data.pkl,           torch/zip.py
                            Keras's if it holds model.weights.h5, else .npz  keras.py, npz.py
    \\x89HDF\\r\\n\\x1a\\n       HDF5, as Keras writes it                         keras.py, hdf5/
    ustar at 257            tar: PyTorch before 0.1.10                       torch/tar.py
    \\x80 and no JSON at 8   a pickle: PyTorch before 1.6                     torch/legacy.py
    { at 8                  safetensors                                      safetensors.py
    \\x08 and a number       ONNX                                             onnx/

Anything else is refused.  A new format is a reader (and a writer) in a file of its own, a branch in ``read_tree`` and
an entry in ``WRITERS``.
"""

from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from .errors import WeightsError
from .hdf5.file import MAGIC
from .keras import read_hdf5, read_keras
from .npz import read_npz, write_npz
from .onnx.read import is_onnx, read_onnx
from .onnx.tensor import Beside
from .safetensors import read_safetensors, write_safetensors
from .stream import Budget
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


def read_tree(
    data: memoryview, budget: Budget, allow: Mapping[str, Any], beside: Beside | None = None
) -> tuple[str, Any, dict[str, str]]:
    """(format, nested dictionaries with Tensors in them, metadata).

    ``allow`` holds the globals of a pickle; ``beside`` reads a file beside this one, for the formats that need some.
    """
    if data[:4] == b"PK\3\4":
        archive = ZipArchive(data, budget)
        if any(name.endswith("/data.pkl") for name in archive.names()):
            return "torch zip", read_torch_zip(archive, allow, budget), {}
        if "model.weights.h5" in archive:
            return "keras", *read_keras(archive, budget)
        return "npz", *read_npz(archive, budget)
    if data[:8] == MAGIC:
        return "keras h5", *read_hdf5(data, budget)
    if data[257:262] == b"ustar":
        return "torch tar", read_torch_tar(data, budget, allow), {}
    if data[:1] == b"\x80" and data[5:9] != b"\0\0\0{":  # else 0x…80 is the length of safetensors' header
        return "torch legacy", read_torch_legacy(data, allow, budget), {}
    if data[8:9] == b"{":
        return "safetensors", *read_safetensors(data, budget)
    if is_onnx(data):
        return "onnx", *read_onnx(data, budget, beside)
    raise WeightsError(
        f"not a file of weights (.pth, .safetensors, .npz, .h5, .keras or .onnx); {likely(bytes(data[:64]))}"
    )


def likely(start: bytes) -> str:
    """What a file with such first bytes probably is, in words."""
    if start.lstrip()[:1] == b"<":
        return "it looks like a web page, so the download went wrong"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; fetch the real file with git lfs pull"
    return f"it starts with {start[:8]!r}"
