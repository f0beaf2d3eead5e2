"""Small networks of all layers in any order: the engine gives what the model gives, or refuses what it refuses."""

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet import nn, optimize
from npresnet.backend import use
from npresnet.models.squeeze import SqueezeExcite

from .test_engine import filled

BOUND = 1e-4
CHANNELS = (1, 3, 5, 8, 16, 24, 32)


class Maker:
    """Random layers that follow each other; ``channels`` is what the last one leaves, ``flat`` whether as scores."""

    def __init__(self, rng):
        self.rng, self.channels, self.flat = rng, int(rng.choice(CHANNELS)), False
        self.weights = {
            "conv": 6,
            "norm": 4,
            "group_norm": 2,
            "relu": 4,
            "activation": 2,
            "residual": 3,
            "max_pool": 2,
            "avg_pool": 1,
            "subsample": 2,
            "pad_channels": 2,
            "pad": 1,
            "identity": 1,
            "squeeze": 1,
            "mean": 0.5,
            "softmax": 0.3,
            "linear": 0.2,
        }

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def chain(self, most, keep=False):
        """Up to ``most`` layers; with ``keep`` only such as keep an image's size, and its channels in the end."""
        names, weights = list(self.weights), np.array(list(self.weights.values()))
        first, parts = self.channels, []
        for _ in range(self.rng.integers(0 if keep else 1, most + 1)):
            name = self.rng.choice(names, p=weights / weights.sum())
            parts.append(self.keeping(name) if keep else getattr(self, name)())
        if keep and self.channels != first and self.rng.random() < 0.95:
            parts.append(nn.Conv2d(self.channels, first, 1))
            self.channels = first
        return nn.Sequential(*parts)

    def keeping(self, name):
        """A layer that keeps the size of an image: inside a residual."""
        if name in ("norm", "group_norm", "relu", "activation", "pad_channels", "identity", "squeeze", "residual"):
            return getattr(self, name)()
        return self.conv(stride=1, padding="same")

    def conv(self, stride=None, padding=None):
        c = self.channels
        groups = int(self.pick(1, 1, 1, c, *[g for g in (2, 4) if c % g == 0]))
        f = int(self.rng.choice(CHANNELS)) if groups == 1 else self.pick(c, 2 * c)
        kernel, pads = self.pick(1, 1, 3, 3, 3, 5, (1, 3), (3, 2), 7), (0, 1, 1, 2, "same", (0, 2), ((0, 1), (2, 0)))
        self.channels = f
        return nn.Conv2d(
            c,
            f,
            kernel,
            stride or self.pick(1, 1, 1, 2, (2, 1), 3),
            padding or self.pick(*pads),
            dilation=self.pick(1, 1, 1, 2),
            groups=groups,
            bias=self.pick(True, False),
        )

    def norm(self):
        return nn.BatchNorm2d(
            self.channels if self.rng.random() > 0.02 else int(self.rng.choice(CHANNELS)), eps=self.pick(1e-5, 0.1)
        )

    def group_norm(self):
        groups = self.pick(*[g for g in range(1, self.channels + 1) if self.channels % g == 0])
        return nn.GroupNorm(groups, self.channels, eps=self.pick(1e-2, 0.1))

    def relu(self):
        return nn.ReLU()

    def activation(self):
        return self.pick(nn.LeakyReLU(self.pick(0.01, 0.3, 0.0)), nn.GELU(), nn.SiLU())

    def residual(self):
        branch, shortcut = self.chain(3, keep=True), self.pick(nn.Identity(), nn.Identity(), None)
        return nn.Residual(branch, shortcut or self.chain(2, keep=True))

    def max_pool(self):
        return nn.MaxPool2d(
            self.pick(2, 3, (3, 2)),
            self.pick(1, 2, 3),
            self.pick(0, 1, "same"),
            dilation=self.pick(1, 1, 2),
            ceil_mode=self.pick(False, False, True),
        )

    def avg_pool(self):
        return nn.AvgPool2d(2, self.pick(1, 2), ceil_mode=self.pick(False, True))

    def subsample(self):
        return nn.Subsample(stride=self.pick(1, 2, (1, 2)))

    def pad_channels(self):
        before, after = (int(k) for k in self.rng.integers(0, 4, 2))
        self.channels += before + after
        return nn.ZeroPadChannels(before=before, after=after)

    def pad(self):
        return nn.Identity() if self.flat else nn.ZeroPad2d(padding=self.pick(1, ((0, 1), (1, 0))))

    def identity(self):
        return nn.Identity()

    def squeeze(self):
        return SqueezeExcite(self.channels)

    def mean(self):
        self.flat = True
        return nn.GlobalAvgPool2d()

    def softmax(self):
        return nn.Softmax()

    def linear(self):
        c, self.channels = self.channels, int(self.rng.choice(CHANNELS))
        return nn.Linear(c, self.channels)


def result(function, x):
    """What it gives, or that it refuses."""
    try:
        return function(x)
    except (ValueError, TypeError, IndexError):
        return None


def differs(seed) -> str:
    """How the engine and the model differ for the network of this seed, or nothing; None where both refuse."""
    rng = np.random.default_rng(seed)
    maker = Maker(rng)
    x = rng.standard_normal((rng.integers(1, 4), maker.channels, *rng.integers(4, 14, 2))).astype(np.float32)
    model = filled(maker.chain(7), seed)
    with use("numpy"):
        exact = result(model.astype(np.float64), x.astype(np.float64))
    found = result(lambda x: optimize(model, threads=2)(x), x)
    if exact is None or found is None:
        return None if exact is found else f"seed {seed}: only {'the model' if exact is None else 'the engine'} refuses"
    if found.shape != exact.shape:
        return f"seed {seed}: {found.shape} is not {exact.shape}"
    error = np.nan_to_num(abs(found - exact)).max(initial=0) / max(1e-3, abs(exact[np.isfinite(exact)]).max(initial=0))
    same = np.array_equal(np.isfinite(found), np.isfinite(exact))
    return "" if error < BOUND and same else f"seed {seed}: off by {error:.1e}"


def test_the_engine_gives_what_the_model_gives():
    found = [differs(seed) for seed in range(300)]
    assert not [text for text in found if text]
    assert found.count("") > 200  # most are networks that can be


class Doubled(nn.Module):
    """Two images of each."""

    def __call__(self, x):
        return np.concatenate([x, x])


@pytest.mark.parametrize(
    "model, words",
    [
        (nn.Sequential(nn.GlobalAvgPool2d(), Doubled()), "1 makes .2, 5. of one image"),
        (nn.Sequential(nn.Conv2d(5, 4, 1), nn.BatchNorm2d(1)), "1 expects 1 channels; its input has 4"),
        (nn.Sequential(nn.Conv2d(5, 1, 1), nn.BatchNorm2d(4)), "1 expects 4 channels; its input has 1"),
        (nn.Sequential(nn.Linear(5, 4)), r"0 takes scores \(N, C\); its input is images"),
        (nn.Sequential(nn.GlobalAvgPool2d(), nn.Linear(5, 4), nn.MaxPool2d(1, 1)), r"2 takes images .* is scores"),
        (nn.Residual(nn.Conv2d(5, 4, 1), nn.Identity()), "the two paths of a sum need one shape"),
        (nn.Residual(nn.Identity(), nn.Conv2d(5, 5, 1, 2)), "the two paths of a sum need one shape"),
    ],
)
def test_networks_that_cannot_be_are_refused(model, words):
    with pytest.raises(ValueError, match=words):
        optimize(model)(np.zeros((2, 5, 6, 6), np.float32))


def test_channels_are_not_taken_away():
    with pytest.raises(ValueError, match="before must be at least 0, not -1"):
        optimize(nn.Sequential(nn.Subsample(stride=2), nn.ZeroPadChannels(before=-1, after=3)))


@pytest.mark.parametrize("pads", [[(1, 2), (3, 4)], [(2, 0), (0, 2)], [(0, 0), (1, 0), (0, 3)]])
def test_channels_padded_twice(pads):
    layers = [nn.ZeroPadChannels(before=before, after=after) for before, after in pads]
    for first in ([nn.Subsample(stride=2)], []):
        model, x = nn.Sequential(*first, *layers), np.random.default_rng(0).standard_normal((2, 5, 6, 6), np.float32)
        np.testing.assert_array_equal(optimize(model)(x), model(x))
