"""What the command-line tests share: a way to run, a small network's file, a few images."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

import npresnet
from npresnet.cli import main
from npresnet.data import class_names

SHARED = Path(__file__).parents[2] / "../shared/data"


class Result(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def complaint(self):
        """The one line on standard error that begins with npresnet."""
        lines = [line for line in self.err.splitlines() if line.startswith("npresnet")]
        assert len(lines) == 1 and "Traceback" not in self.err, self.err
        return lines[0]


@pytest.fixture
def run(capsys):
    """run("summary", "resnet18") → status, standard output and standard error."""

    def run(*argv):
        status = main([str(arg) for arg in argv])
        return Result(status, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def network():
    """A resnet20 with drawn weights and CIFAR-10's class names."""
    model = npresnet.create_model("resnet20", seed=3)
    model.classes = class_names("cifar10")
    return model


@pytest.fixture(scope="session")
def weights(network, tmp_path_factory):
    return npresnet.save_weights(network, tmp_path_factory.mktemp("weights") / "drawn.safetensors")


@pytest.fixture(scope="session")
def photo(tmp_path_factory):
    """An image that is neither square nor of the network's size."""
    pixels = np.random.default_rng(5).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="session")
def pretrained():
    """The folder of public CIFAR checkpoints."""
    if not SHARED.exists():
        pytest.skip("../shared/data is absent")
    return SHARED / "pretrained"


@pytest.fixture(scope="session")
def cifar_test():
    if not SHARED.exists():
        pytest.skip("../shared/data is absent")
    return SHARED / "cifar10/cifar10-test-jpeg.zip"
