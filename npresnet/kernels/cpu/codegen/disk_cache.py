"""Machine code on disk, loaded only where its digest says that it is what was written."""

import os
import pickle
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from glob import escape
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import llvmlite
import numba
from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

DIGEST = 32              # bytes of a SHA-256
SUFFIX = ".kernel"
MONTH = 30 * 24 * 3600   # seconds


class CheckedCache(FunctionCache):
    """Numba's cache of one function, over :class:`Entries`.  Where it cannot be written, a warning says so, once."""

    def __init__(self, function: Callable[..., Any]):
        super().__init__(function)
        self._cache_file = Entries(Path(self.cache_path), self._impl.filename_base)

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        """Its name holds a digest of all sources: what a closure refers to need not be hashed, as Numba would."""
        return sig, codegen.magic_tuple()

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            warn_once(f"compiled kernels cannot be kept in {self.cache_path} ({error.strerror}), so each process "
                     "compiles them anew; free some space, or set NUMBA_CACHE_DIR to another directory")


class Entries:
    """A file for each key: a digest of the file's name and of what follows, then the pickled key and machine code.

    (Numba's own files are an index and what it lists, unpickled as they are: an empty or a truncated one is an error in
    every later process, and a changed byte of machine code ends it.)
    """

    def __init__(self, folder: Path, name: str):
        self.folder, self.name = folder, name

    def load(self, key: Any) -> Any:
        """The entry, or None; a damaged or foreign file is none."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:                                         # absent or unreadable
            return None
        digest, payload = content[:DIGEST], content[DIGEST:]
        if digest != _digest(path, payload):
            warn_once(f"{path} is damaged: that kernel is compiled again")
            return None
        written_for, entry = pickle.loads(payload)
        return entry if written_for == key else None

    def save(self, key: Any, entry: Any) -> None:
        """Write the whole file or none.  What other sources left is deleted, a month after its last use."""
        path, payload = self._path(key), dumps((key, entry))
        part = path.with_name(f"{path.name}.{uuid4().hex[:16]}")
        try:
            part.write_bytes(_digest(path, payload) + payload)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        self._delete_old()

    def _delete_old(self):
        function, _, _ = self.name.rpartition("-")                      # function-digest-line, see jit.cached
        function, _, digest = function.rpartition("-")
        with suppress(OSError):
            for path in self.folder.glob(f"{escape(function)}-*-*{SUFFIX}") if function else ():
                ours = path.name.startswith(f"{function}-{digest}-")
                if not ours and time.time() - max(path.stat().st_mtime, path.stat().st_atime) > MONTH:
                    path.unlink(missing_ok=True)

    def flush(self) -> None:
        """Forget all entries."""
        for path in self.folder.glob(f"{escape(self.name)}.*{SUFFIX}"):
            path.unlink(missing_ok=True)

    def _path(self, key):
        versions = numba.__version__, llvmlite.__version__
        return self.folder / f"{self.name}.{sha256(repr((versions, key)).encode()).hexdigest()[:16]}{SUFFIX}"


def _digest(path, payload):
    return sha256(path.name.encode() + payload).digest()


_warned = []


def warn_once(text: str) -> None:
    """Warn of the first thing that is wrong with machine code on disk, and not again for every kernel."""
    if not _warned:
        _warned.append(text)
        warnings.warn(text, stacklevel=3)


def is_writable(kernel: Any) -> bool:
    """Whether machine code of this kernel can be kept on disk."""
    folder = kernel.stats.cache_path
    return bool(folder) and os.access(folder, os.W_OK)


def is_cached(kernel: Any) -> bool:
    """Whether machine code of this kernel lies on disk."""
    folder = kernel.stats.cache_path
    return bool(folder) and any(Path(folder).glob(f"*.{escape(kernel.py_func.__qualname__)}-*{SUFFIX}"))
