"""evaluate and classify over ranks: what one process prints, in the same order."""

import json

import numpy as np
import pytest
from PIL import Image

from .launch import launch, needs_mpi

pytestmark = needs_mpi


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven images in two class folders that the network which ships knows, and one that is none."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(7):
        (root / ["cat", "dog"][number % 2]).mkdir(exist_ok=True)
        image = Image.fromarray(rng.integers(0, 256, (32, 32, 3)).astype(np.uint8))
        image.save(root / ["cat", "dog"][number % 2] / f"{number}.png")
    return root


def printed(ranks, *words):
    done = launch(ranks, "npresnet", *words, "--backend", "numpy")
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("more", [(), ("--limit", "5")])
def test_evaluate_counts_every_image_once(folder, more):
    words = ("evaluate", "--data", folder, "--json", *more)
    alone, shared = printed(1, *words), printed(3, *words)
    assert alone[0] == shared[0] == 0, shared[2]
    assert json.loads(shared[1]) == json.loads(alone[1])
    assert "3 ranks work together" in shared[2]


def test_predictions_come_in_the_datasets_order(folder):
    words = ("evaluate", "--data", folder, "--jsonl")
    alone, shared = printed(1, *words), printed(3, *words)
    rows, wanted = ([json.loads(line) for line in found[1].splitlines()] for found in (shared, alone))
    assert [row.pop("probability") for row in rows] == pytest.approx(
        [row.pop("probability") for row in wanted], rel=1e-5
    )
    assert rows == wanted and len(rows) == 7


def test_classify_shares_the_images_and_reports_what_it_cannot_read(folder, tmp_path):
    broken = tmp_path / "z.png"
    broken.write_bytes(b"no image")
    words = ("classify", folder, broken, "--jsonl", "--top", "1")
    alone, shared = printed(1, *words), printed(3, *words)
    assert alone[0] == shared[0] == 2, shared[2]
    names = [[json.loads(line)["image"] for line in found[1].splitlines()] for found in (alone, shared)]
    assert names[0] == names[1] and len(names[0]) == 7
    assert shared[2].count("z.png") == 1


def test_more_ranks_than_images(folder):
    status, out, error = printed(3, "classify", folder / "cat/0.png", "--json", "--top", "1")
    assert status == 0, error
    assert len(json.loads(out)["images"]) == 1


def test_standard_input_is_for_one_process():
    status, _, error = printed(2, "classify", "-")
    assert status != 0 and "standard input goes to one rank alone" in error
