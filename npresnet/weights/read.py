"""read_weights: a file of weights as plain arrays, whatever container it is and whoever made it."""

import hashlib
import mmap
import re
from collections.abc import Mapping

import numpy as np

from ..formats import limits
from ..formats.stream import Budget
from .checkpoint import Checkpoint, find_state
from ..formats.errors import WeightsError, checked_path, describing, shown
from ..formats.hdf5.file import MAGIC
from ..formats.keras import read_hdf5, read_keras
from ..formats.npz import read_npz
from ..formats.safetensors import read_safetensors
from ..formats.torch.allowlist import TORCH_GLOBALS
from ..formats.torch.legacy import read_torch_legacy
from ..formats.torch.tar import read_torch_tar
from ..formats.torch.zip import read_torch_zip
from ..formats.zip_archive import ZipArchive

# Without the flags Python shares the pages with processes forked off, and the system would keep what is given back.
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+")  # resnet18-f37072fd.pth
DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])")  # 20240131 is more likely a date than a hash


def read_weights(path, *, float32: bool = False, max_bytes: int | None = None,
                 allow: Mapping = TORCH_GLOBALS) -> Checkpoint:
    """The arrays in a .pth (zip, legacy, tar), .safetensors, .npz or Keras file, recognised by its content.

    float32    widen float16 to float32; bfloat16, for which NumPy has no dtype, is always widened
    max_bytes  the bound on what is allocated for arrays and inflated data: 16 MiB plus four times the file by default
    allow      "module name" → callable: the globals that a pickle may name; see unpickle()

    The file is read once, into memory that nobody else can change; it is hashed and parsed there, so another process
    that writes to it, or cuts it, changes nothing.  That costs a copy of the file, which is given back piece by piece
    as the arrays are made: at the peak, the file's size and its largest array (on Windows, which cannot give back
    pieces, twice the file's size); interpreting a pickle in it takes what unpickle() says.  Only regular files are
    read; "-" is standard input.
    Nothing in the file is executed and nothing is extracted to disk.  A name that carries the start of its SHA-256,
    as torchvision's do, is checked against the content before anything else is looked at.  Wrappers such as
    {"state_dict": …} and prefixes such as "module." are resolved and reported in ``notes``.

    Raises only WeightsError.
    """
    path = checked_path(path)
    with describing(path):
        memory = Memory(path)
        sha256 = memory.sha256
        check_name(path.name, sha256)
        checkpoint = read_memory(memory.view, Budget(len(memory.view), max_bytes), allow, float32, memory.release)
        checkpoint.sha256, checkpoint.path = sha256, path
        return checkpoint


def read_memory(data, budget, allow=TORCH_GLOBALS, float32=False, release=lambda address: None):
    """The same of bytes that are in memory already, whatever their hash is.

    The arrays are made in the order of the file; ``release`` is called with the address below which it is used up.
    """
    format, tree, metadata = read_tree(data, budget, allow)
    tensors, attributes, notes = find_state(tree)
    del tree                                                     # which holds what was inflated
    metadata |= {key: text for key, text in attributes.items() if isinstance(key, str) and isinstance(text, str)}
    checkpoint = Checkpoint(dict.fromkeys(tensors), format=format, metadata=metadata, notes=notes)
    places = sorted((tensor.address(), name) for name, tensor in tensors.items())
    for address, name in places:
        release(address)
        with describing(shown(name)):
            checkpoint[name] = tensors.pop(name).array(budget, float32)
    return checkpoint


class Memory:
    """A file's bytes in memory of this process alone (``view``, read-only), and their SHA-256."""

    CHUNK = 2**22

    def __init__(self, path):
        with limits.open_file(path) as file:
            size = limits.size_of(file)
            if size == 0:
                raise WeightsError("the file is empty")
            if size > limits.machine_memory():
                raise WeightsError(f"{size:,} bytes are more than this machine's memory")
            self.pages, self.released = mmap.mmap(-1, size, **PRIVATE), 0
            self.sha256 = self.fill(file).hexdigest()
        self.view = memoryview(self.pages).toreadonly()
        self.start = np.frombuffer(self.view, np.uint8).__array_interface__["data"][0]

    def fill(self, file):
        digest, view, position = hashlib.sha256(), memoryview(self.pages), 0
        while position < len(view):
            count = file.readinto(view[position:position + self.CHUNK])
            if not count:
                raise WeightsError(f"it was cut to {position:,} bytes while it was read; try again when it is whole")
            digest.update(view[position:position + count])
            position += count
        return digest

    def release(self, address):
        """Give back the whole pages below an address within the view, which nobody will read again."""
        end = (address - self.start) // mmap.PAGESIZE * mmap.PAGESIZE
        if self.released < end <= len(self.view) and hasattr(mmap, "MADV_DONTNEED"):
            self.pages.madvise(mmap.MADV_DONTNEED, self.released, end - self.released)
            self.released = end


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
