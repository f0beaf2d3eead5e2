"""What goes wrong on one rank ends all of them soon, says why, and costs no more than the steps since a checkpoint."""

import json
import random
import time

import numpy as np
import pytest
from PIL import Image

from npresnet import read_weights, use

from .launch import launch, needs_mpi
from .program import train

pytestmark = needs_mpi
SECONDS = 10  # that a fault may take to end all ranks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of small images of three classes."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(60):
        pixels = rng.integers(0, 160, (32, 32, 3))
        pixels[:, :, number % 3] += 80
        (root / f"class{number % 3}").mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"class{number % 3}/{number}.png")
    return root


def words(folder, out, *more):
    """An npresnet train of 3 epochs of 3 steps; no kernel is compiled for it."""
    how = {"data": folder, "model": "resnet20", "epochs": 3, "batch": 20, "lr": 0.01, "backend": "numpy", "out": out}
    return [
        "train",
        *[word for name, value in how.items() for word in (f"--{name}", value)],
        "--augment",
        "none",
        *more,
    ]


def struck(tmp_path, folder, fault, rank, step, ranks=2, *more):
    """(what a run said that was struck by a fault, seconds from there to its end)"""
    mark = tmp_path / "when"
    done = launch(ranks, "tests.distributed.faulty", fault, rank, step, mark, *words(folder, tmp_path / "run", *more))
    return done, time.time() - float(mark.read_text())


MESSAGES = {
    ("KILL", 1): "",  # it has no time to say anything; mpiexec does
    ("STOP", 1): "rank 1 has given no sign of life",
    ("full disk", 0): "rank 0: checkpoint.safetensors: No space left on device",
    ("broken image", 1): "rank 1: photo.jpg: cannot be read",
    ("error", 1): "rank 1: ZeroDivisionError",
    ("NaN", 1): "the images hold values that are not finite",
}


@pytest.mark.parametrize("fault, rank", MESSAGES.keys(), ids=str)
def test_a_fault_ends_all_ranks_with_its_own_message(tmp_path, folder, fault, rank):
    done, seconds = struck(tmp_path, folder, fault, rank, 4)
    assert done.returncode != 0
    assert seconds < SECONDS, f"{seconds:.1f} s"
    assert MESSAGES[fault, rank] in done.stderr, done.stderr
    if fault != "error":
        assert "Traceback" not in done.stderr
    read_weights(tmp_path / "run/checkpoint.safetensors")  # whole


@pytest.mark.parametrize("rank", [0, 1])
def test_an_interrupt_leaves_a_checkpoint_from_which_the_run_goes_on_as_if_nothing_had_happened(tmp_path, folder, rank):
    done, _ = struck(tmp_path, folder, "INT", rank, 4)
    assert done.returncode == 130 and "stopped; resume with" in done.stderr, done.stderr
    assert launch(2, "npresnet", "train", "--out", tmp_path / "run", "--resume").returncode == 0
    assert launch(2, "npresnet", *words(folder, tmp_path / "whole")).returncode == 0
    whole, resumed = (read_weights(tmp_path / name / "final.safetensors") for name in ("whole", "run"))
    for key, value in whole.items():
        np.testing.assert_array_equal(resumed[key], value, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_random_rank_is_killed_at_a_random_moment(tmp_path, folder, seed):
    rng = random.Random(seed)
    done, seconds = struck(tmp_path, folder, "KILL", rng.randrange(3), rng.randrange(1, 9), 3)
    assert done.returncode != 0 and seconds < SECONDS
    resumed = launch(3, "npresnet", "train", "--out", tmp_path / "run", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert launch(3, "npresnet", *words(folder, tmp_path / "whole")).returncode == 0
    whole, found = (read_weights(tmp_path / name / "final.safetensors") for name in ("whole", "run"))
    for key, value in whole.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def test_a_run_of_two_ranks_goes_on_with_three(tmp_path):
    stopped = launch(2, "tests.distributed.program", tmp_path / "none.npz", f'out="{tmp_path / "run"}"', "stop=7")
    assert stopped.returncode == 0, stopped.stderr
    again = launch(3, "tests.distributed.program", tmp_path / "state.npz", f'out="{tmp_path / "run"}"')
    assert again.returncode == 0, again.stderr
    with use("numpy"):
        trainer, _ = train()
    with np.load(tmp_path / "state.npz") as found:
        for key, wanted in trainer.model.state_dict().items():
            np.testing.assert_allclose(found[key], wanted, rtol=0, atol=1e-10 * np.abs(wanted).max(), err_msg=key)


def test_ranks_that_would_train_something_else_are_told_so(tmp_path):
    done = launch(2, "tests.distributed.program", tmp_path / "none.npz", "lr=[0.05, 0.06]")
    assert done.returncode != 0 and "lr: 0.06 on rank 1, 0.05 on rank 0" in done.stderr, done.stderr
    assert not (tmp_path / "none.npz").exists()


def test_the_history_is_written_once(tmp_path, folder):
    done = launch(3, "npresnet", *words(folder, tmp_path / "run", "--json"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["total"] == 6 and sum(map(sum, result["confusion"])) == 6
    assert "3 ranks work together" in done.stderr and done.stderr.count("epoch 1/3") == 1
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 3
