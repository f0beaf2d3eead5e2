"""The page on many machines does what it says, where its commands need one machine alone."""

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import npresnet
from npresnet.data import Preprocessing

from .launch import command, environment, needs_mpi

PAGE = Path(__file__).parents[2] / "docs/many-machines.md"


@needs_mpi
@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(20):
        path = tmp_path / "photos" / ("cat", "dog")[k % 2] / f"{k}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (48, 56, 3)).astype(np.uint8)).save(path)
    model = npresnet.create_model("resnet18", width=8, num_classes=10)
    model.preprocessing = Preprocessing(40, 32)
    npresnet.save_weights(model, tmp_path / "resnet18.pth")
    (block,) = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M)
    lines = [line.removeprefix("$ ") for line in block.splitlines()]
    for line in lines:
        mpiexec, n, ranks, npresnet_, *words = shlex.split(line)
        assert (mpiexec, n, npresnet_) == ("mpiexec", "-n", "npresnet")
        done = subprocess.run(
            command(ranks, "npresnet", *words),
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(),
            timeout=300,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
    assert len(lines) == 4 and len((tmp_path / "classes.jsonl").read_text().splitlines()) == 20
