"""One run at a time in a folder."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from npresnet import use
from npresnet.training import Recipe, Trainer, lock
from npresnet.training.lock import LOCK, locked

from ..support.drawn import drawn_source, small_model

HOLD = """
import sys, time
from npresnet.training.lock import locked
with locked(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds the folder "run"."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def test_a_folder_is_locked_until_its_process_ends_however(tmp_path, other):
    with (
        pytest.raises(BlockingIOError, match="another run is at work in this folder") as caught,
        locked(tmp_path / "run"),
    ):
        pass
    assert caught.value.filename == str(tmp_path / "run")
    other.send_signal(signal.SIGKILL)
    other.wait()
    with locked(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).exists()  # what the killed one left is taken over


def test_every_spelling_of_a_folder_is_the_same_folder(tmp_path, other):
    (tmp_path / "link").symlink_to(tmp_path / "run")
    for name in ("link", "run/../run/"):
        with pytest.raises(BlockingIOError), locked(tmp_path / name):
            pass


def test_threads_of_one_process_exclude_each_other(tmp_path):
    errors = []

    def enter():
        try:
            with locked(tmp_path):
                errors.append(None)
        except OSError as error:
            errors.append(error)

    with locked(tmp_path), locked(tmp_path):  # the same thread may
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
    assert isinstance(errors[0], BlockingIOError)


def test_nothing_is_left_behind(tmp_path):
    (tmp_path / "there").mkdir()
    for name in ("new/deep/run", "there"):
        with pytest.raises(ValueError, match="bad"), locked(tmp_path / name):
            raise ValueError("bad")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    with locked(tmp_path / "new/run"):
        (tmp_path / "new/run/kept").write_text("")
    assert [path.name for path in tmp_path.glob("new/run/*")] == ["kept"]


def test_a_lock_file_that_is_removed_meanwhile_protects_nobody(tmp_path, monkeypatch):
    """Between opening and locking the run before may end: then the file is locked, but has no name any more."""
    real, removed = lock.lock_file, []

    def once(handle):
        real(handle)
        if not removed:
            removed.append(os.unlink(tmp_path / LOCK))

    monkeypatch.setattr(lock, "lock_file", once)
    with locked(tmp_path):
        assert (tmp_path / LOCK).exists() and removed


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, capsys):
    def refuse(handle):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "lock_file", refuse)
    with locked(tmp_path):
        pass
    assert capsys.readouterr().err == f"{tmp_path}: this file system has no locks; let no other run write there\n"


def test_a_run_in_a_locked_folder_writes_nothing(tmp_path, other):
    (tmp_path / "run/metrics.jsonl").write_text("of the other run\n")
    with use("numpy"), pytest.raises(BlockingIOError):
        Trainer(small_model(), Recipe(epochs=1, batch_size=16), drawn_source()).fit(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {LOCK, "metrics.jsonl"}


@pytest.mark.parametrize("call", ["mkdir", "open"])
def test_a_folder_that_may_not_be_written_to_is_named_with_the_way_out(call, tmp_path, monkeypatch):
    def refuse(path, *rest, **more):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(*((Path, "mkdir") if call == "mkdir" else (lock.os, "open")), refuse)
    with pytest.raises(PermissionError, match=r"Permission denied.*choose another folder") as caught, locked(tmp_path):
        pass
    assert caught.value.filename == str(tmp_path)
