"""Mixup and CutMix against torchvision's: with two images its partner of each is ours, the other one."""

import numpy as np
import pytest

from npresnet.data.mixing import cut_box, cut_mix, mix_up

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 12, 10)).astype(np.float32)
X.flags.writeable = False


@pytest.fixture
def torchvisions(transforms, monkeypatch):
    """torchvision's result for images, and its label shares, with these random numbers."""
    import torch
    from torchvision.transforms import v2

    def mix(kind, x, share, places=()):
        places = list(places)
        monkeypatch.setattr(torch, "randint", lambda high, size: torch.tensor([int(places.pop() * high)]))
        transform = getattr(v2, kind)(num_classes=2)
        monkeypatch.setattr(transform._dist, "sample", lambda size: torch.tensor(share))
        mixed, labels = transform(torch.from_numpy(x.copy()), torch.arange(len(x)))
        return mixed.numpy(), labels.numpy()

    return mix


def test_mix_up_is_torchvisions(torchvisions):
    due, shares = torchvisions("MixUp", X, 0.75)
    np.testing.assert_allclose(mix_up(X, 0.75), due, rtol=1e-6)
    np.testing.assert_allclose(shares, [[0.75, 0.25], [0.25, 0.75]])


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.5, 0.5), (0.99, 0.3), (0.1, 0.99)])
def test_cut_mix_is_torchvisions(share, centre, torchvisions):
    due, shares = torchvisions("CutMix", X, share, centre)
    box, left = cut_box(share, centre, X.shape[2:])
    np.testing.assert_array_equal(cut_mix(X, box), due)
    np.testing.assert_allclose([[left, 1 - left], [1 - left, left]], shares, atol=1e-6)


def test_each_image_is_mixed_with_its_mirror_in_the_batch():
    x = RNG.standard_normal((5, 3, 4, 4)).astype(np.float32)
    mixed, cut = mix_up(x, 0.75), cut_mix(x, (1, 0, 3, 2))
    assert mixed.dtype == cut.dtype == np.float32
    np.testing.assert_allclose(mixed[1], 0.75 * x[1] + 0.25 * x[3], rtol=1e-6)
    np.testing.assert_array_equal(mix_up(x, 1.0), x)
    np.testing.assert_array_equal(cut[1, :, 1:3, :2], x[3, :, 1:3, :2])
    cut[:, :, 1:3, :2] = x[:, :, 1:3, :2]
    np.testing.assert_array_equal(cut, x)
