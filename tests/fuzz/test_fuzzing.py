"""A few seconds of the fuzzing that README.md describes, and that the harness finds what it is meant to find."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from . import target
from .mutate import mutate
from .seeds import CORPUS

ROOT = Path(__file__).parents[2]
RUNS = 3000
SEEDS = sorted(CORPUS.iterdir())


def fuzz(tmp_path, *arguments):
    found = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", f"-artifact_prefix={tmp_path}/", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return found.returncode, found.stderr


def test_a_bounded_run_finds_nothing(tmp_path):
    pytest.importorskip("atheris", reason="Atheris, of the extra 'parity', is not installed")
    (tmp_path / "new").mkdir()
    # Linux hands a parent's peak of memory down to what it starts, and that of a whole test run is past the limit; the
    # address space of the run is limited all the same.
    status, log = fuzz(tmp_path, f"-runs={RUNS}", "-seed=1", "-rss_limit_mb=0", tmp_path / "new", CORPUS)
    assert status == 0, log[-3000:]
    assert int(re.search(r"Done (\d+) runs", log)[1]) >= RUNS
    assert int(re.findall(r"cov: (\d+)", log)[-1]) > 500


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged images
def test_the_seeds_are_read_and_their_mutants_are_arrays_or_errors(seed):
    """Without Atheris the mutations that know the container still work; some leave a readable file."""
    rng, data, readable = random.Random(seed.name), seed.read_bytes(), 0
    readers = [read for name, (seeds, read) in target.READERS.items() if name != "weights" and seed.match(seeds)]
    assert len(readers) == 1 and readers[0](data)
    for _ in range(100):
        readable += readers[0](mutate(data, rng, lambda part: flipped(part, rng))) is not None
    assert 5 <= readable < 100 or seed.name.startswith("image-")


def flipped(data, rng):
    data = bytearray(data or b"\0")
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


@pytest.mark.parametrize("mistake", [AttributeError, NameError, MemoryError, AssertionError, ZeroDivisionError])
def test_a_mistake_of_the_reader_is_a_finding(mistake, monkeypatch):
    def planted(*args):
        raise mistake("planted")

    monkeypatch.setattr(target, "read_memory", planted)
    with pytest.raises(target.Finding, match=r"mistake: input: damaged .*planted"):
        target.read(b"")


@pytest.mark.parametrize(
    "planted, message",
    [
        (lambda data, budget: {"a": np.ones((2, 2), np.float32).T}, "no plain array"),
        (lambda data, budget: {"a": np.frombuffer(data, np.uint8)}, "a view of the input"),
        (lambda data, budget: compile("1", "planted", "eval") and {}, "the input caused .*compile"),
        (lambda data, budget: sorted(range(3_000_000), key=lambda i: -i) and {}, "took .* s"),
        (lambda data, budget: bytearray(2**26) and {}, "took 67,.* bytes"),
    ],
)
def test_what_no_input_may_do_is_a_finding(planted, message, monkeypatch):
    monkeypatch.setattr(target, "read_memory", planted)
    monkeypatch.setattr(target, "SECONDS", 0.05)
    monkeypatch.setattr(target, "SAMPLED", 1 if "bytes" in message else 2)
    with pytest.raises(target.Finding, match=message):
        target.watched(b"1234", target.Watch())
