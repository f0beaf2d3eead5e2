"""A small data set to train on, and a small network."""

import numpy as np
import pytest

from npresnet import create_model
from npresnet.data import Preprocessing
from npresnet.training import Dataset

SIDE = 8


def drawn_source(n=48, side=SIDE, classes=3, seed=0):
    """Noise, brighter in one channel for each class: there is something to learn."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    pixels = rng.integers(0, 160, (n, side, side, 3))
    pixels[np.arange(n), :, :, labels] += 80
    return Dataset(labels, [f"class{k}" for k in range(classes)], pixels=pixels.astype(np.uint8))


def small_model(seed=0, classes=3, side=SIDE):
    """A CIFAR network of one block in each stage."""
    return cifar_model(seed, classes, side, depths=(1, 1, 1))


def cifar_model(seed=0, classes=3, side=SIDE, **options):
    model = create_model("resnet20", num_classes=classes, seed=seed, **options)
    model.preprocessing = Preprocessing(side, side)
    return model


@pytest.fixture
def source():
    return drawn_source()


@pytest.fixture
def model():
    return small_model()
