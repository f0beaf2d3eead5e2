"""read_weights: a file of weights as plain arrays, whatever container it is and whoever made it."""

import hashlib
import mmap
import re
from collections.abc import Mapping

from .bounds import Budget
from .checkpoint import Checkpoint, find_state
from .errors import WeightsError, checked_path, describing, shown
from .hdf5_file import MAGIC
from .keras import read_hdf5, read_keras
from .npz import read_npz
from .safetensors import read_safetensors
from .torch_globals import TORCH_GLOBALS
from .torch_legacy import read_torch_legacy
from .torch_tar import read_torch_tar
from .torch_zip import read_torch_zip
from .zip_archive import ZipArchive

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+")  # resnet18-f37072fd.pth
DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])")  # 20240131 is more likely a date than a hash


def read_weights(path, *, float32: bool = False, max_bytes: int | None = None,
                 allow: Mapping = TORCH_GLOBALS) -> Checkpoint:
    """The arrays in a .pth (zip, legacy, tar), .safetensors, .npz or Keras file, recognised by its content.

    float32    widen float16 to float32; bfloat16, for which NumPy has no dtype, is always widened
    max_bytes  the bound on what is allocated for arrays and inflated data: 16 MiB plus four times the file by default
    allow      "module name" → callable: the globals that a pickle may name; see unpickle()

    The file is mapped, so it costs no memory of its own; interpreting a pickle in it takes what unpickle() says.
    Nothing in the file is executed and nothing is extracted to disk.  A name that carries the start of its SHA-256,
    as torchvision's do, is checked against the content before anything else is looked at.  Wrappers such as
    {"state_dict": …} and prefixes such as "module." are resolved and reported in ``notes``.

    Raises only WeightsError.
    """
    path = checked_path(path)
    with describing(path):
        data = mapped(path)
        sha256 = hashlib.sha256(data).hexdigest()
        check_name(path.name, sha256)
        checkpoint = read_memory(memoryview(data), Budget(len(data), max_bytes), allow, float32)
        checkpoint.sha256, checkpoint.path = sha256, path
        return checkpoint


def read_memory(data, budget, allow=TORCH_GLOBALS, float32=False):
    """The same of bytes that are in memory already, whatever their hash is."""
    format, tree, metadata = read_tree(data, budget, allow)
    tensors, attributes, notes = find_state(tree)
    metadata |= {key: text for key, text in attributes.items() if isinstance(key, str) and isinstance(text, str)}
    checkpoint = Checkpoint(format=format, metadata=metadata, notes=notes)
    for name, tensor in tensors.items():
        with describing(shown(name)):
            checkpoint[name] = tensor.array(budget, float32)
    return checkpoint


def mapped(path):
    with open(path, "rb") as file:
        if file.seek(0, 2) == 0:
            raise WeightsError("the file is empty")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def check_name(name, sha256):
    found = HASH_IN_NAME.search(name)
    if found and not DATE.fullmatch(found[1]) and not sha256.startswith(found[1]):
        raise WeightsError(f"its SHA-256 starts with {sha256[:len(found[1])]}, its name promises {found[1]}; the "
                           "file is incomplete or changed: fetch it again, or rename it if the change is yours")


def read_tree(data, budget, allow):
    """(format, nested dictionaries with Tensors in them, metadata)"""
    if data[:4] == b"PK\3\4":
        archive = ZipArchive(data, budget)
        if any(name.endswith("/data.pkl") for name in archive.names()):
            return "torch zip", read_torch_zip(archive, allow), {}
        if "model.weights.h5" in archive:
            return "keras", *read_keras(archive, budget)
        return "npz", *read_npz(archive)
    if data[:8] == MAGIC:
        return "keras h5", *read_hdf5(data, budget)
    if data[257:262] == b"ustar":
        return "torch tar", read_torch_tar(data, budget, allow), {}
    if data[:1] == b"\x80" and data[5:9] != b"\0\0\0{":              # else the length 0x…80 of safetensors' header
        return "torch legacy", read_torch_legacy(data, allow), {}
    if data[8:9] == b"{":
        return "safetensors", *read_safetensors(data, budget)
    raise WeightsError(f"not a file of weights (.pth, .safetensors, .npz, .h5 or .keras); {guess(bytes(data[:64]))}")


def guess(start):
    if start.lstrip()[:1] == b"<":
        return "it looks like a web page, so the download went wrong"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; fetch the real file with git lfs pull"
    return f"it starts with {start[:8]!r}"
