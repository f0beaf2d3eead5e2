"""Machine code on disk that is damaged, foreign or cannot be written never reaches a process, nor ends one."""

import os
import pickle
import time
import warnings

import pytest

pytest.importorskip("numba")

from numba import njit

from npresnet.kernels.cpu.codegen import disk_cache
from npresnet.kernels.cpu.codegen.disk_cache import SUFFIX, Entries, is_cached
from npresnet.kernels.cpu.codegen.jit import cached


class Planted:
    """Says when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (os.environ["PLANTED"],)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty directory for kernels, and no warning given yet."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "kernels"))
    monkeypatch.setattr(disk_cache, "_warned", [])
    monkeypatch.setenv("PLANTED", str(tmp_path / "planted"))
    return tmp_path / "kernels"


def kernel():
    """A function as a new process would compile it."""

    def doubled(x):
        return 2 * x

    return cached(njit)(doubled)


def hits(function) -> int:
    assert function(21) == 42
    return sum(function.stats.cache_hits.values())


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_kernel_is_compiled_once(folder):
    first = kernel()
    assert not is_cached(first) and hits(first) == 0
    assert is_cached(first) and hits(kernel()) == 1
    assert [path.suffix for path in files(folder)] == [SUFFIX]


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGE = {
    "empty": lambda c: b"",
    "ten bytes": lambda c: c[:10],
    "half": lambda c: c[: len(c) // 2],
    "one short": lambda c: c[:-1],
    "digest": lambda c: flipped(c, 3),
    "machine code": lambda c: flipped(c, len(c) // 2),
    "other bytes": lambda c: bytes(range(256)) * 8,
    "longer": lambda c: c + b"x",
    "pickle": lambda c: pickle.dumps(Planted()),
    "pickle behind a digest": lambda c: c[:32] + pickle.dumps(Planted()),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_compiled_again(folder, damage):
    hits(kernel())
    (path,) = files(folder)
    content = path.read_bytes()
    path.write_bytes(damage(content))
    with pytest.warns(UserWarning, match="is damaged: that kernel is compiled again"):
        assert hits(kernel()) == 0
    assert hits(kernel()) == 1  # and the file is as it should be again
    assert not (folder.parent / "planted").exists()


def test_every_byte_counts(tmp_path):
    store = Entries(tmp_path, "name")
    store.save("key", ["machine code"])
    (path,) = files(tmp_path)
    content = path.read_bytes()
    assert store.load("key") == ["machine code"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for at in range(len(content)):
            path.write_bytes(flipped(content, at))
            assert store.load("key") is None, at


def test_the_file_of_another_kernel_is_foreign(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_cache, "_warned", [])
    store = Entries(tmp_path, "name")
    store.save("one", 1)
    store.save("two", 2)
    one, two = (store._path(key) for key in ("one", "two"))
    two.replace(one)
    with pytest.warns(UserWarning, match="is damaged"):
        assert store.load("one") is None and store.load("two") is None


def test_what_lies_in_the_way_is_no_entry(folder):
    hits(kernel())
    (path,) = files(folder)
    path.unlink()
    path.mkdir()
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert hits(kernel()) == 0
    assert not files(folder)  # no half-written file is left


def test_on_a_full_disk_kernels_are_not_kept(folder, monkeypatch):
    def full(path, content):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.warns(UserWarning, match="No space left on device.*NUMBA_CACHE_DIR") as said:
        assert [hits(kernel()) for _ in range(3)] == [0, 0, 0]
    assert len(said) == 1 and not files(folder)


def test_entries_can_be_forgotten(folder):
    function = kernel()
    hits(function)
    function.recompile()
    assert hits(function) == 0 and hits(kernel()) == 1


def test_what_other_sources_left_goes_a_month_after_its_last_use(folder):
    hits(kernel())
    (path,) = files(folder)
    function, _, rest = path.name.split("-", 2)
    old, used, another = (path.with_name(name) for name in (
        f"{function}-01234567-{rest}", f"{function}-89abcdef-{rest}", f"{function}s-01234567-{rest}"))  # fmt: skip
    months_ago = time.time() - 2 * disk_cache.MONTH
    for left in (old, used, another, path):
        left.write_bytes(path.read_bytes())
        os.utime(left, (months_ago, months_ago))
    os.utime(used, (time.time(), months_ago))
    path.unlink()
    assert hits(kernel()) == 0
    assert files(folder) == sorted([used, another, path])
