"""On real images the engine's predictions are those of the reference in float64."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet import load_model, optimize
from npresnet.backend import use
from npresnet.data import ImageFolder

DATA = Path(__file__).parents[3] / "shared/data"
ERROR = 1e-4  # of the largest score: what the engine states

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="../shared/data is absent")


def compare(file, limit):
    """(images, scores' error in parts of the largest, predictions that differ beyond what that error explains)."""
    model = load_model(DATA / "pretrained" / file)
    engine, exact = optimize(model), model.astype(np.float64)
    total, error, differ = 0, 0.0, 0
    for x, _ in ImageFolder(DATA / "cifar10/cifar10-test-jpeg.zip").batches(model, 100, limit=limit):
        with use("numpy"):
            truth = exact(x.astype(np.float64))
        scores, scale = engine(x), abs(truth).max()
        margin = np.diff(np.sort(truth, axis=1)[:, -2:])[:, 0]
        differ += int((scores.argmax(axis=1) != truth.argmax(axis=1))[margin > 2 * ERROR * scale].sum())
        total, error = total + len(x), max(error, abs(scores - truth).max() / scale)
    return total, error, differ


def test_every_fortieth_image():
    total, error, differ = compare("resnet20-12fca82f.th", 250)
    assert total == 250 and error < ERROR and differ == 0


@pytest.mark.slow
@pytest.mark.parametrize("file, count", [("resnet20-12fca82f.th", 10_000), ("resnet32-d509ac18.th", 2_500)])
def test_all_images(file, count):
    """All of them with one network, every fourth with the deeper one: most of the time is the reference's."""
    total, error, differ = compare(file, count)
    assert total == count and error < ERROR and differ == 0
