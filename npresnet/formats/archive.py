"""Archives that people make around a checkpoint: gzip, and which member of a zip or tar is the one file of weights."""

import zlib
from collections.abc import Iterable

from .errors import WeightsError, quoted
from .memory import inflate
from .stream import Budget

GZIP = b"\x1f\x8b"
SUFFIXES = (
    *(
        ".pth",
        ".pt",
        ".th",
        ".ckpt",
        ".bin",
        ".pkl",
        ".pickle",
        ".pt2",
        ".safetensors",
        ".npz",
        ".h5",
        ".hdf5",
        ".keras",
    ),
    *(".onnx", ".params", ".pdparams", ".msgpack", ".gz", ".tar", ".tgz", ".zip"),
)


def gunzip(data: memoryview, budget: Budget) -> memoryview:
    """The one file in a gzip stream, whose last four bytes are its size: paid for before it is inflated."""
    size = int.from_bytes(data[-4:], "little")
    budget.spend(size, "the inflated file")
    content = inflate(data, size, 16 + zlib.MAX_WBITS)
    if content is None:
        raise WeightsError("the gzip stream is damaged, or holds several files; unpack it")
    return content


def only_checkpoint(names: Iterable[str]) -> str:
    """The one name among an archive's members that is of a file of weights."""
    members = [name for name in names if not hidden(name)]
    found = [name for name in members if name.lower().endswith(SUFFIXES)] or members[:2]
    if len(found) == 1:
        return found[0]
    if not members:
        raise WeightsError("the archive is empty")
    if len(members) > 1 and not any(name.lower().endswith(SUFFIXES) for name in members):
        raise WeightsError(f"an archive without a file of weights; its members are {listed(members)}")
    raise WeightsError(f"the archive holds several files of weights: {listed(found)}; unpack it and name one")


def hidden(name: str) -> bool:
    """Whether a member is what file managers add."""
    last = name.rpartition("/")[2]
    return name.startswith("__MACOSX/") or last.startswith("._") or last in (".DS_Store", "Thumbs.db", "desktop.ini")


def listed(names: list[str]) -> str:
    return ", ".join(quoted(name, 60) for name in names[:6]) + (", …" if len(names) > 6 else "")
