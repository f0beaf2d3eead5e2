"""Networks found in shapes alone: bodies, norms, heads, what stands beside, and what is refused."""

import numpy as np
import pytest

from npresnet.models import build
from npresnet.weights import WeightsError
from npresnet.weights.match.choose import choose
from npresnet.weights.match.search import MOST_ARRAYS, Search
from npresnet.weights.match.translate import translate


def arrays_of(name, **options):
    """A small network's arrays, each of other numbers."""
    rng = np.random.default_rng(0)
    state = build(name, num_classes=5, **{"width": 4, **options}).state_dict()
    return {key: rng.standard_normal(np.shape(array)).astype(np.float32) for key, array in state.items()}


def found_in(arrays):
    search = Search({key: array.shape for key, array in arrays.items()})
    return search, [search.network(candidate) for candidate in search.found]


NETWORKS = {
    "basic": ("resnet18", {"depths": (1, 2, 1, 1)}),
    "bottleneck": ("resnet50", {"depths": (1, 2, 1, 1)}),
    "projected everywhere": ("resnet18", {"depths": (2, 1, 1), "shortcut": "C"}),
    "padded": ("resnet20", {"depths": (2, 1, 1)}),
    "grouped": ("resnet50", {"depths": (1, 1, 1, 1), "groups": 4, "base_width": 32, "width": 8}),
    "biased": ("resnet18", {"depths": (1, 1, 1), "conv_bias": True}),
    "pre-activation": ("preresnet18", {"depths": (1, 2, 1)}),
    "pre-activation bottleneck": ("preresnet164", {"depths": (2, 1, 1)}),
}


@pytest.mark.parametrize("order", ["as it is", "sorted", "reversed"])
@pytest.mark.parametrize("label", NETWORKS)
def test_each_array_finds_its_place_whatever_the_prefix_and_the_order(label, order):
    name, options = NETWORKS[label]
    ours = arrays_of(name, **options)
    keys = {"as it is": list, "sorted": sorted, "reversed": lambda keys: list(keys)[::-1]}[order](ours)
    theirs = {f"some.prefix.{key}": ours[key] for key in keys}
    _, (network,) = found_in(theirs)
    state, paths = translate(network, theirs)
    assert state.keys() == ours.keys()
    assert all(np.array_equal(state[key], ours[key]) for key in ours)
    assert network.scope == ("some", "prefix") and network.aside == [] and paths["conv1"] == "some.prefix.conv1"


def test_what_is_beside_a_network_is_set_aside():
    arrays = arrays_of("resnet18", depths=(1, 1, 1))
    beside = {"loss.weight": np.ones(5), "fc2.weight": np.ones((3, 16)), "queue": np.ones((7, 9))}
    _, (network,) = found_in(arrays | beside)
    assert sorted(network.aside) == sorted(beside) and network.head[0].path == "fc"


def test_averages_and_optimizers_are_no_second_network():
    arrays = arrays_of("resnet18", depths=(1, 1, 1))
    both = {f"{name}.{key}": array for name in ("student", "teacher") for key, array in arrays.items()}
    moments = {f"optimizer.state.{i}.exp_avg": array for i, array in enumerate(arrays.values())}
    search = Search({key: array.shape for key, array in (both | moments).items()})
    assert [candidate.name for candidate in search.found] == ["student", "teacher"]
    notes = []
    assert choose(search.found, None, notes).name == "student" and "teacher" in notes[0]
    assert choose(search.found, "teacher").name == "teacher"
    with pytest.raises(WeightsError, match="no network is called 'x'; there are 'student', 'teacher'"):
        choose(search.found, "x")


def test_two_networks_of_equal_right_are_listed():
    arrays = arrays_of("resnet18", depths=(1, 1, 1))
    search = Search({f"{name}.{key}": array.shape for name in ("a", "b") for key, array in arrays.items()})
    with pytest.raises(WeightsError, match=r"holds 2 networks: 'a', 'b'; .*--select"):
        choose(search.found)


def test_a_chain_of_blocks_whose_stages_do_not_double_is_no_network_beside_one_that_is():
    arrays = arrays_of("resnet18", depths=(1, 1, 1))
    chain = {f"part.{i}.conv{j}.weight": np.ones((16, 16 if i or j else 3, 3, 3)) for i in range(4) for j in range(2)}
    search = Search({key: array.shape for key, array in (chain | {f"net.{k}": a for k, a in arrays.items()}).items()})
    assert [candidate.name for candidate in search.found] == ["net"]


def test_one_network_under_two_names_is_one():
    arrays = arrays_of("resnet18", depths=(1, 1, 1))
    both = {f"{name}.{key}": array for name in ("a", "b") for key, array in arrays.items()}
    search = Search({key: array.shape for key, array in both.items()}, lambda key: both[key].tobytes())
    assert [candidate.name for candidate in search.found] == ["a"]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"layer1.0.extra.weight": np.ones((4, 4))}, "'layer1.0.extra' is no part of a block"),
        ({"layer1.0.convs.0.weight": np.ones((4, 4, 3, 3))}, "Res2Net"),
        ({"age.weight": np.ones((5, 16)), "b.weight": np.ones((2, 16)), "fc.weight": None}, "several classifiers fit"),
        ({"fc.weight": np.ones((5, 32))}, "takes 32 numbers and the network gives 16"),
        ({"to_rgb.weight": np.ones((3, 1, 1, 1))}, "stands before the network"),
        (
            {"lost.weight": np.ones((8, 4, 1, 1)), "layer2.0.downsample": None, "layer3.0.downsample": None},
            "fits a shortcut",
        ),
    ],
)
def test_what_has_no_place_is_named(change, words):
    arrays = arrays_of("resnet18", depths=(1, 1, 1))
    gone = tuple(key for key, array in change.items() if array is None)
    kept = {key: array for key, array in arrays.items() if not gone or not key.startswith(gone)}
    with pytest.raises(WeightsError, match=words):
        found_in(kept | {key: array for key, array in change.items() if array is not None})


def test_nothing_is_found_where_there_is_nothing():
    assert Search({}).found == [] and Search({"a": (3,), "b.weight": (4, 3, 3, 3)}).found == []
    with pytest.raises(WeightsError, match="arrays; no network of the family has more"):
        Search({str(i): (1,) for i in range(MOST_ARRAYS + 1)})
