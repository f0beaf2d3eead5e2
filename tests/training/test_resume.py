"""A run that was killed goes on as if nothing had happened, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from npresnet import WeightsError, read_weights, use
from npresnet.training import Callback, Recipe, Stopped, Trainer, read_checkpoint, restore
from npresnet.training.checkpoint import FILE, WRITTEN

from ..support.drawn import drawn_source, small_model

RICH = Recipe(
    epochs=3,
    batch_size=12,
    lr=0.05,
    schedule="one-cycle",
    nesterov=True,
    average=0.9,
    mixup=0.3,
    jitter=0.2,
    clip=1.0,
    accumulate=2,
    label_smoothing=0.1,
)
ADAM = Recipe(epochs=2, batch_size=12, lr=1e-3, schedule="cosine", optimizer="adamw")


class StopAt(Callback):
    """Ask for an end after so many steps."""

    def __init__(self, step):
        self.left = step

    def batch(self, trainer, images_per_second):
        self.left -= 1
        if self.left == 0:
            self.stop = signal.SIGTERM


def fresh(recipe=RICH, seed=0, source=None):
    source = source or drawn_source()
    return Trainer(small_model(), recipe, source, source.subset(np.arange(9)), seed=seed, about={"note": "kept"})


def files(folder):
    """Every array of every file of weights, and the metrics without their timings."""
    arrays = {
        f"{path.name}:{key}": array
        for path in sorted(folder.glob("*.safetensors"))
        for key, array in read_weights(path).items()
    }
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return arrays, [{key: value for key, value in row.items() if key != "images_per_second"} for row in rows]


def assert_equal(a, b):
    assert a[1] == b[1] and a[0].keys() == b[0].keys()
    for key, array in a[0].items():
        np.testing.assert_array_equal(array, b[0][key], err_msg=key)


@pytest.mark.parametrize("recipe", [RICH, ADAM], ids=["rich", "adamw"])
@pytest.mark.parametrize("step", [1, 4, 6])
def test_a_stop_at_any_step_loses_nothing(recipe, step, tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    whole.mkdir()
    halves.mkdir()
    with use("numpy"):
        fresh(recipe).fit(whole)
        with pytest.raises(Stopped):
            fresh(recipe).fit(halves, StopAt(step))
        second = fresh(recipe)
        restore(second, read_checkpoint(halves), halves)
        assert 4 * second.epoch + second.step == step
        second.fit(halves)
    assert_equal(files(whole), files(halves))


class Killed(Exception):
    """Nothing was written when it came."""


class KillAt(StopAt):
    """End without a checkpoint after so many steps."""

    def batch(self, trainer, images_per_second):
        super().batch(trainer, images_per_second)
        if self.stop:
            raise Killed


@pytest.mark.parametrize("minutes, found", [(1e-9, (1, 1)), (0, (1, 0)), (10, (1, 0))])
def test_a_checkpoint_by_time_is_one_like_any_other(minutes, found, tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    whole.mkdir()
    halves.mkdir()
    with use("numpy"):
        fresh().fit(whole)
        with pytest.raises(Killed):
            fresh().fit(halves, KillAt(6), checkpoint_minutes=minutes)
        second = fresh()
        restore(second, read_checkpoint(halves), halves)
        assert (second.epoch, second.step) == found
        second.fit(halves)
    assert_equal(files(whole), files(halves))


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_of_more_epochs_is_extended(finished, tmp_path):
    """At a constant rate to what the longer run is from the start; else its rates are the longer run's from there."""
    steady = replace(RICH, schedule="constant", epochs=2)
    results = {}
    for name, first in (("steady", steady), ("cycle", replace(RICH, epochs=2))):
        longer, out = replace(first, epochs=4), tmp_path / name
        out.mkdir()
        with use("numpy"):
            if finished:
                fresh(first).fit(out)
            else:
                with pytest.raises(Stopped):
                    fresh(first).fit(out, StopAt(6))
            second = fresh(longer)
            restore(second, read_checkpoint(out), out)
            with pytest.raises(Stopped):  # and an extended run resumes like any other
                second.fit(out, StopAt(3))
            third = fresh(longer)
            restore(third, read_checkpoint(out), out)
            third.fit(out)
        results[name] = files(out)
        assert [row["lr"] for row in third.history[-2:]] == [longer.rate(4 * k - 1, 4) for k in (3, 4)]
    (tmp_path / "whole").mkdir()
    with use("numpy"):
        fresh(replace(steady, epochs=4)).fit(tmp_path / "whole")
    whole = files(tmp_path / "whole")
    assert_equal(whole, results["steady"])
    assert results["cycle"][1] != whole[1]


def test_a_run_cannot_end_before_where_it_stands(tmp_path):
    with use("numpy"), pytest.raises(Stopped):
        fresh().fit(tmp_path, StopAt(6))
    with use("numpy"), pytest.raises(WeightsError, match="step 2 of 0"):
        restore(fresh(replace(RICH, epochs=1)), read_checkpoint(tmp_path), tmp_path)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"seed": 1}, "seed"),
        ({"recipe": Recipe(epochs=3)}, "batch_size: 12 in the checkpoint, 128 now"),
        ({"source": drawn_source(seed=9)}, "data"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(change, named, tmp_path):
    with use("numpy"), pytest.raises(Stopped):
        fresh().fit(tmp_path, StopAt(1))
    with use("numpy"), pytest.raises(WeightsError, match=f"(?s)another run.*{named}"):
        restore(fresh(**change), read_checkpoint(tmp_path), tmp_path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    with use("numpy"), pytest.raises(Stopped):
        fresh().fit(tmp_path, StopAt(1))
    other = fresh()
    other.model = small_model(classes=5)
    with use("numpy"), pytest.raises(WeightsError, match=r"(?s)another run.*model"):
        restore(other, read_checkpoint(tmp_path), tmp_path)


def test_weights_are_no_checkpoint(tmp_path):
    from npresnet import save_weights

    save_weights(small_model(), tmp_path / FILE)
    with pytest.raises(WeightsError, match="no state of a training run"):
        read_checkpoint(tmp_path)
    assert read_checkpoint(tmp_path / "nowhere") is None


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path):
    """A limit on the size of files fails a write half-way, as a full disk does."""
    import resource

    with use("numpy"), pytest.raises(Stopped):
        fresh().fit(tmp_path, StopAt(5))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    second = fresh()
    with use("numpy"):
        restore(second, read_checkpoint(tmp_path), tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with use("numpy"), pytest.raises(WeightsError, match=r"checkpoint\.safetensors: "):
            second.fit(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with use("numpy"):
        third = fresh()
        restore(third, read_checkpoint(tmp_path), tmp_path)
        assert third.fit(tmp_path)[-1]["epoch"] == 3


def test_what_a_killed_process_was_writing_is_cleared(tmp_path):
    for name in WRITTEN:
        (tmp_path / f"{name}.0a1b2c3d.tmp").write_bytes(b"half")
    (tmp_path / "mine.tmp").write_bytes(b"kept")
    with use("numpy"), pytest.raises(Stopped):
        fresh().fit(tmp_path, StopAt(1))
    assert [path.name for path in tmp_path.glob("*.tmp")] == ["mine.tmp"]


# --- the command line, killed -----------------------------------------------------------------------------------------

LONG, SHORT = 12, 5  # epochs: of a run that is killed at any moment, and of one that is stopped after its first


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three folders of eight small images."""
    root, source = tmp_path_factory.mktemp("images"), drawn_source(24)
    for number, label in enumerate(source.labels):
        (root / f"class{label}").mkdir(exist_ok=True)
        Image.fromarray(source.pixels[number]).save(root / f"class{label}/{number}.png")
    return root


def command(out, images, epochs, *more):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    argv = [
        sys.executable,
        "-m",
        "npresnet",
        "train",
        "--out",
        str(out),
        "--data",
        str(images),
        *more,
        "--model",
        "resnet20",
        "--epochs",
        str(epochs),
        "--batch-size",
        "6",
        "--held-out",
        "6",
        "--backend",
        "numpy",
        "--lr",
        "0.05",
    ]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def uninterrupted(out, images, epochs):
    """(its files, the seconds until the first step, the seconds it took)"""
    started = time.monotonic()
    process = command(out, images, epochs)
    while not (out / "metrics.jsonl").exists() and process.poll() is None:
        time.sleep(0.005)
    ready = time.monotonic() - started
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return files(out), ready, time.monotonic() - started


def killed_until_done(out, images, ready, whole, kills, seed):
    moments, happened = random.Random(seed), 0
    for _ in range(kills):
        process = command(out, images, LONG, "--resume")
        try:
            process.communicate(timeout=moments.uniform(0.7 * ready, ready + 0.15 * (whole - ready)))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            happened += 1
        for path in out.glob("*.safetensors"):
            assert read_weights(path)  # whole, whenever the kill came
        if (out / "metrics.jsonl").exists():
            assert all(json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines())
    process = command(out, images, LONG, "--resume")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return happened


@pytest.mark.slow
def test_kill_9_at_twenty_random_moments(images, tmp_path_factory, tmp_path):
    due, ready, whole = uninterrupted(tmp_path_factory.mktemp("whole"), images, LONG)
    happened = killed_until_done(tmp_path, images, ready, whole, kills=20, seed=0)
    assert happened >= 15
    assert_equal(due, files(tmp_path))


@pytest.fixture(scope="module")
def short(images, tmp_path_factory):
    """What a short run leaves that nobody disturbs."""
    return uninterrupted(tmp_path_factory.mktemp("short"), images, SHORT)[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_signals_write_a_checkpoint_and_say_how_to_go_on(number, images, short, tmp_path):
    process = command(tmp_path, images, SHORT)
    while not (tmp_path / "best.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "--resume" in err and "Traceback" not in err
    again = command(tmp_path, images, SHORT, "--resume")
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0 and "resuming after epoch" in err
    assert_equal(short, files(tmp_path))
