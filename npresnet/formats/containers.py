"""Which container a file is, told from its first bytes; and which one a suffix asks for."""

from .errors import WeightsError
from .hdf5.file import MAGIC
from .keras import read_hdf5, read_keras
from .npz import read_npz, write_npz
from .safetensors import read_safetensors, write_safetensors
from .torch.legacy import read_torch_legacy
from .torch.tar import read_torch_tar
from .torch.write import write_pth
from .torch.zip import read_torch_zip
from .zip_archive import ZipArchive

WRITERS = {".safetensors": write_safetensors, ".npz": write_npz, ".pth": write_pth, ".pt": write_pth}


def read_tree(data, budget, allow):
    """(format, nested dictionaries with Tensors in them, metadata)"""
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
    if data[:1] == b"\x80" and data[5:9] != b"\0\0\0{":              # else the length 0x…80 of safetensors' header
        return "torch legacy", read_torch_legacy(data, allow, budget), {}
    if data[8:9] == b"{":
        return "safetensors", *read_safetensors(data, budget)
    raise WeightsError(f"not a file of weights (.pth, .safetensors, .npz, .h5 or .keras); {guess(bytes(data[:64]))}")


def guess(start):
    if start.lstrip()[:1] == b"<":
        return "it looks like a web page, so the download went wrong"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; fetch the real file with git lfs pull"
    return f"it starts with {start[:8]!r}"
