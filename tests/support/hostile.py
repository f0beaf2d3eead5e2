"""What the tests of weights share: hostile bytes go through ``refused``, which watches what reading them does."""

import sys
import time
import tracemalloc
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from npresnet.formats.limits import FLOOR
from npresnet.weights import WeightsError, read_weights

FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "subprocess.Popen",
    "pickle.find_class",
    "socket.connect",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "shutil.",
    "ctypes.",
    "exec",
    "compile",
    "import",
)
BUGS = ("NameError", "AttributeError", "UnboundLocalError", "AssertionError", "ZeroDivisionError")  # would be ours
_watching, _seen = [], []


def _watch(event, args):
    if _watching and (event.startswith(FORBIDDEN) or (event == "open" and args[1] not in ("r", "rb", None))):
        _seen.append((event, str(args)[:100]))


sys.addaudithook(_watch)


@pytest.fixture(scope="session", autouse=True)
def warm(tmp_path_factory):
    """Whatever is imported lazily, is imported now, so that a later import would be the hostile file's."""
    path = tmp_path_factory.mktemp("warm") / "w.npz"
    np.savez_compressed(path, a=np.arange(3.0))
    read_weights(path)
    with suppress(ImportError):
        import h5py  # noqa: F401
    for encoding in ("utf-8", "latin1", "ascii", "raw-unicode-escape", "utf-16", "utf-32-le", "utf-32-be"):
        "".encode(encoding)


def bound(size):
    """What reading a file of ``size`` bytes may allocate: read_weights and unpickle say so in their docstrings."""
    return FLOOR + 4 * size + min(1024 * size, 128_000_000 + 128 * size) + 4 * size + 2**20


@contextmanager
def watched(data, folder, seconds):
    """Writes ``data`` to a file in ``folder``, yields its path, and checks what the block did."""
    path = folder / "hostile"
    path.write_bytes(data)
    _seen.clear()
    tracemalloc.start()
    start = time.process_time()
    try:
        _watching.append(True)
        yield path
    finally:
        _watching.clear()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert time.process_time() - start < seconds
    assert peak < bound(len(data)), f"{peak:,} bytes for a file of {len(data):,}"
    assert not _seen
    assert [entry.name for entry in folder.iterdir()] == ["hostile"]


@pytest.fixture
def refused(tmp_path):
    """refused(data) → the message: a WeightsError, no code run, nothing written, memory and time bounded."""

    def check(data, seconds=30.0, **options):
        with watched(data, tmp_path, seconds) as path, pytest.raises(WeightsError) as caught:
            read_weights(path, **options)
        message = str(caught.value)
        assert not any(bug in message for bug in BUGS)
        assert message.startswith(str(path)) and "\n" not in message and len(message) < len(str(path)) + 600
        return message[len(str(path)) :]

    return check


@pytest.fixture
def harmless(tmp_path):
    """harmless(data) → the arrays that are read beside what is hostile, which does nothing, under the same watch."""

    def check(data, seconds=30.0, **options):
        with watched(data, tmp_path, seconds) as path:
            return read_weights(path, **options)

    return check
