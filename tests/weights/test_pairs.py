"""Pruned and normalised weights are those that torch computes from the same arrays."""

import numpy as np
import pytest

from npresnet.weights.pairs import merge_pairs

from ..support import oracles


def prune(torch, net):
    from torch.nn.utils import prune

    for layer in (net[0], net[3]):
        prune.l1_unstructured(layer, "weight", 0.5)
    prune.random_structured(net[0], "weight", 0.3, dim=0)
    prune.random_unstructured(net[3], "bias", 0.5)


def weight_norm(torch, net, **options):
    torch.nn.utils.weight_norm(net[0], **options)
    torch.nn.utils.weight_norm(net[3], **options)


def spectral(torch, net, apply):
    apply(net[0])
    net(torch.ones(2, 3, 4, 4))  # which improves u and v


WAYS = {
    "pruned": prune,
    "weight norm": weight_norm,
    "weight norm of all": lambda torch, net: weight_norm(torch, net, dim=None),
    "weight norm over inputs": lambda torch, net: weight_norm(torch, net, dim=1),
    "weight norm, new": lambda torch, net: torch.nn.utils.parametrizations.weight_norm(net[0]),
    "spectral norm": lambda torch, net: spectral(torch, net, torch.nn.utils.spectral_norm),
    "spectral norm, new": lambda torch, net: spectral(torch, net, torch.nn.utils.parametrizations.spectral_norm),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WAYS)
def test_the_weight_is_torch_s(name):
    torch = oracles.torch()
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2)
    )
    plain = list(net.state_dict())
    WAYS[name](torch, net)
    net.eval()
    state = {key: tensor.numpy() for key, tensor in net.state_dict().items()}
    assert sorted(state) != sorted(plain)
    found, notes = merge_pairs(state)
    assert sorted(found) == sorted(plain) and len(notes) == 1
    for i in (0, 3):
        for part in ("weight", "bias"):
            wanted = getattr(net[i], part).detach().numpy()
            np.testing.assert_allclose(found[f"{i}.{part}"], wanted, rtol=1e-6, atol=1e-7)
            assert found[f"{i}.{part}"].dtype == np.float32


W = np.ones((2, 3, 1, 1), np.float32)
ALONE = {
    "nothing to merge": {"conv.weight": W, "bn.weight_decay": W},
    "a mask alone": {"conv.weight_mask": W},
    "an original alone": {"conv.weight_orig": W},
    "another shape": {"conv.weight_orig": W, "conv.weight_mask": W[:1]},
    "the weight beside": {"conv.weight": W, "conv.weight_orig": W, "conv.weight_mask": W},
    "norms of another shape": {"conv.weight_g": np.ones((3, 1, 1, 1), np.float32), "conv.weight_v": W},
    "norms of other axes": {"conv.weight_g": np.ones(2, np.float32), "conv.weight_v": W},
    "a parametrization that is unknown": {"conv.parametrizations.weight.original": W},
    "integers": {"a_orig": np.ones(2, int), "a_mask": np.ones(2, int)},
    "": {"": W, "_orig": W, "_mask": W},
}


@pytest.mark.parametrize("name", ALONE)
def test_what_does_not_fit_together_is_left(name):
    found, notes = merge_pairs(ALONE[name])
    assert list(found) == list(ALONE[name]) and not notes


def test_a_merged_weight_stands_where_the_first_of_its_arrays_stood():
    keys = ("a", "conv.bias", "conv.weight_orig", "b", "conv.weight_mask")
    assert list(merge_pairs(dict.fromkeys(keys, W))[0]) == ["a", "conv.bias", "conv.weight", "b"]
