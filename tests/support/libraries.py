"""What the tests of the dialects share: the original libraries, and how far an output may be from theirs."""

import os

import numpy as np
import pytest

from .oracles import torchvision_models

os.environ.setdefault("KERAS_BACKEND", "torch")

IMAGE = (3, 64, 64)


@pytest.fixture
def keras():
    """Keras 3 on its PyTorch backend."""
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras runs on another backend than PyTorch: set KERAS_BACKEND=torch")
    keras.utils.set_random_seed(0)
    return keras


@pytest.fixture
def tf_keras():
    """TensorFlow's legacy Keras, which the first two tutorials were written for."""
    pytest.importorskip("tensorflow")
    return pytest.importorskip("tf_keras")


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch


@pytest.fixture
def library(torch):
    """timm or transformers by name; both import torchvision."""
    torchvision_models()
    return pytest.importorskip


def images(n=2, dtype=np.float32, shape=IMAGE):
    return np.random.default_rng(7).standard_normal((n, *shape)).astype(dtype)


def randomise_keras(model):
    """Weights and running statistics far from their first values, and of a size that keeps activations in range."""
    rng = np.random.default_rng(3)
    roles = [weight.name.split("/")[-1].split(":")[0] for weight in model.weights]
    values = [random_array(rng, role, tuple(weight.shape)) for role, weight in zip(roles, model.weights)]
    model.set_weights([value.astype(old.dtype) for value, old in zip(values, model.get_weights())])


def random_array(rng, role, shape):
    if role == "kernel":
        dense = 0.1 if len(shape) == 2 else 1  # a softmax must not be of one class only
        return dense * rng.standard_normal(shape) * (2 / np.prod(shape[:-1])) ** 0.5
    if role in ("gamma", "moving_variance"):
        return rng.uniform(0.5, 1.0, shape)
    return 0.2 * rng.standard_normal(shape)


def randomise_torch(model):
    """The same for a PyTorch module."""
    import torch

    for name, value in model.state_dict().items():
        if value.is_floating_point():
            positive = name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight"))
            role = "kernel" if value.ndim > 1 else "gamma" if positive else "bias"
            fresh = random_array(np.random.default_rng(len(name) + value.numel()), role, tuple(value.shape)[::-1]).T
            value.copy_(torch.from_numpy(np.ascontiguousarray(fresh)))
    return model.eval()


def assert_close(ours, theirs, tolerance):
    """Equal to ``tolerance`` of the largest of theirs."""
    assert ours.shape == theirs.shape and np.isfinite(ours).all() and theirs.std() > 1e-3 * abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * abs(theirs).max())
