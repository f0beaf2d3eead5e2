"""recognise: metadata, then the hash, then keys and shapes; ties are resolved as documented and named in ``also``."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from npresnet.models import FAMILY, build
from npresnet.weights import CATALOGUE, Checkpoint, WeightsError, load_weights, read_weights, recognise

PRETRAINED = Path(__file__).parents[2] / "../shared/data/pretrained"
BIG = ("resnet1202", "preresnet1001")


def shapes_of(name, **options):
    """A state dict whose arrays take no memory."""
    return {
        key: np.broadcast_to(np.float32(0), array.shape) for key, array in build(name, **options).state_dict().items()
    }


@pytest.mark.parametrize("name", [name for name in FAMILY if name not in BIG])
def test_every_network_is_known_by_its_keys_and_shapes(name):
    found = recognise(shapes_of(name, num_classes=7, in_channels=4))
    expected = name.replace("plain", "resnet") if len(FAMILY[name].structure.depths) == 3 else name
    assert (found.name, found.num_classes, found.in_channels, found.source) == (expected, 7, 4, "keys")
    assert found.classes is None and found.dataset is None
    rebuilt = build(found.name, found.num_classes, in_channels=4, dialect=found.dialect, **found.options)
    assert {k: v.shape for k, v in rebuilt.state_dict().items()} == {
        k: v.shape for k, v in shapes_of(name, num_classes=7, in_channels=4).items()
    }
    assert name == found.name or name in found.alternatives


@pytest.mark.parametrize(
    "name, options, read, also",
    [
        ("resnet20", {"shortcut": "B"}, {"shortcut": "B"}, []),
        ("resnet20", {"shortcut": "C"}, {"shortcut": "C"}, []),
        ("resnet20", {}, {}, ["A-appended", "plain20"]),
        ("resnet50", {}, {}, ["stride_on='1x1'", "imagenet-v2"]),
        ("resnet50", {"stride_on": "1x1"}, {}, ["stride_on='1x1'"]),
        ("resnet50", {"shortcut": "A"}, {"shortcut": "A"}, ["A-appended"]),
        ("resnet34", {"shortcut": "C"}, {"shortcut": "C"}, []),
        ("plain18", {}, {}, ["resnet18 with shortcut='A'"]),
        ("resnet18", {"conv_bias": True}, {"conv_bias": True}, []),
    ],
)
def test_options_are_read_off_and_ties_are_told(name, options, read, also):
    found = recognise(shapes_of(name, **options))
    assert (found.name, found.options) == (name, read)
    for words in also:
        assert any(words in other for other in found.alternatives)


@pytest.mark.parametrize(
    "options",
    [
        {"depths": (1, 1, 1, 1)},
        {"width": 16},
        {"stem": "deep", "avg_down": True},
        {"conv_bias": True},
        {"squeeze": True},
    ],
)
def test_a_network_that_torchvision_has_not_is_none_of_its_v2_weights(options):
    found = recognise(shapes_of("resnet50", **options))
    assert found.name == "resnet50" and not any("imagenet-v2" in other for other in found.alternatives)


def test_the_catalogue_s_hash_decides_a_tie():
    for entry in CATALOGUE:
        found = recognise(Checkpoint(shapes_of(entry.model), sha256=entry.sha256_prefix.ljust(64, "0")))
        assert (found.name, found.preprocessing, found.source) == (entry.model, entry.preprocessing, "catalogue")
        assert found.dataset == "imagenet" and found.alternatives == ()
    other = Checkpoint(shapes_of("resnet34"), sha256=CATALOGUE[0].sha256)
    assert recognise(other).source == "keys"  # a hash cannot turn one network into another


@pytest.mark.skipif(not PRETRAINED.is_dir(), reason="no ../shared/data/pretrained")
def test_the_published_cifar_networks_are_known():
    for name, file in (("resnet20", "resnet20-12fca82f.th"), ("resnet32", "resnet32-d509ac18.th")):
        found = recognise(read_weights(PRETRAINED / file))
        assert (found.name, found.dataset, found.preprocessing, found.options) == (name, "cifar10", "cifar10", {})


def metadata(**changes):
    spec = {"name": "plain20", "num_classes": 10, "in_channels": 3, "dialect": "torchvision", "options": {}}
    fields = {"version": 1, "spec": spec, "preprocessing": "cifar10", "classes": [str(i) for i in range(10)]}
    return {"npresnet": json.dumps({**fields, **changes, "spec": {**spec, **changes.get("spec", {})}})}


def test_metadata_are_believed_first():
    found = recognise(Checkpoint(shapes_of("plain20"), metadata=metadata()))
    assert (found.name, found.source, found.classes[3], found.alternatives) == ("plain20", "metadata", "3", ())


def test_metadata_may_leave_out_the_classes_and_the_preprocessing():
    fields = json.loads(metadata()["npresnet"])
    del fields["classes"], fields["preprocessing"]
    found = recognise(Checkpoint(shapes_of("plain20"), metadata={"npresnet": json.dumps(fields)}))
    assert (found.name, found.classes, found.preprocessing) == ("plain20", None, None)


@pytest.mark.parametrize(
    "bad",
    [
        {"npresnet": "{"},
        {"npresnet": "[]"},
        {"npresnet": "[" * 100_000},
        {"npresnet": '{"version": 1}'},
        metadata(version=2),
        metadata(spec={"name": "resnet9000"}),
        metadata(spec={"num_classes": 10**12}),
        metadata(spec={"num_classes": True}),
        metadata(spec={"in_channels": 4}),
        metadata(spec={"dialect": "klingon"}),
        metadata(spec={"more": 1}),
        metadata(spec={"options": {"eps": "tiny"}}),
        metadata(spec={"options": {"nope": 1}}),
        metadata(spec={"options": {"eps": [1]}}),
        metadata(classes=["one"]),
        metadata(classes=list(range(10))),
        metadata(preprocessing=3),
        metadata(preprocessing={"resize": 256, "nope": 1}),
        metadata(preprocessing={"mean": 3}),
    ],
)
def test_metadata_that_cannot_be_are_refused(bad):
    with pytest.raises(WeightsError):
        recognise(Checkpoint(shapes_of("plain20"), metadata=bad))


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"a": np.ones(3)},
        {"conv1.weight": np.ones((64, 3, 7, 7)), "fc.weight": np.ones((2, 2))},
        {**shapes_of("resnet20"), "fc.weight": np.ones((10, 65))},
        {**shapes_of("resnet20"), "fc.weight": np.ones(10)},
        {**shapes_of("resnet20"), "layer1.0.conv2.weight": np.ones((16, 0, 3, 3))},
        {**shapes_of("resnet20"), "layer9.0.conv2.weight": np.ones(1)},
        {**shapes_of("resnet20"), "conv1.weight": np.ones((0, 3, 3, 3))},
    ],
)
def test_what_is_of_no_network_of_the_family_is_said_to_be_none(state):
    with pytest.raises(WeightsError):
        recognise(state)


@pytest.mark.parametrize("name", ["resnet20", "resnet50", "resnext50_32x4d", "preresnet18"])
def test_no_size_of_any_array_makes_a_mistake(name):
    """Each array with each of its sizes 0 or another: its network, or what is wrong with it, from no other exception
    than those that an array may cause."""
    state = shapes_of(name)
    for key in [key for key in state if key.startswith(("conv1.", "layer1.0.", "layer2.0.", "fc."))]:
        shape = state[key].shape
        for axis, size in itertools.product(range(len(shape)), (0, 1, 3)):
            changed = np.broadcast_to(np.float32(0), (*shape[:axis], size, *shape[axis + 1 :]))
            try:
                recognise({**state, key: changed})
            except WeightsError as error:
                assert isinstance(error.__cause__, KeyError | IndexError | ValueError | None), (key, axis, size)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20", "preresnet18"])
def test_a_head_of_another_name_is_the_classifier_and_a_file_may_have_none(name):
    state = build(name, num_classes=3).state_dict()
    trunk = {key: array for key, array in state.items() if not key.startswith("fc.")}
    head = {"fc.1.weight": state["fc.weight"], "fc.1.bias": state["fc.bias"]}
    for others, classes in ((head, 3), ({}, 0), ({"fc.1.weight": state["fc.weight"]}, 3)):
        found = recognise(trunk | others)
        assert (found.name, found.num_classes, found.options) == (name, classes, {})
        model = build(name, classes)
        load_weights(model, trunk | others)


def test_any_prefix_and_what_stands_beside_it_is_passed_over():
    state = {f"net.{key}": array for key, array in build("resnet18", num_classes=3).state_dict().items()}
    for more in ({}, {"loss.weight": np.ones(3)}):
        found = recognise(state | more)
        assert (found.name, found.num_classes) == ("resnet18", 3)
        notes = load_weights(build("resnet18", num_classes=3), state | more).notes
        assert any("set aside" in note and "loss.weight" in note for note in notes) == bool(more)


@pytest.mark.parametrize(
    "shapes",
    [
        {"layer1.0.conv1.weight": ()},
        {"a.conv1.weight": ()},
        {"conv1.weight": (3,)},
        {"layer1.0.conv1.weight": (), "layer1.0.conv2.weight": (0, 0, 0, 0), "conv1.weight": (1, 2)},
        {"layer9.x": (1,), "layer1.0.conv1.weight": (4,)},
    ],
)
def test_a_few_keys_of_a_network_are_refused_in_one_line(shapes):
    with pytest.raises(WeightsError, match="not those of a ResNet"):
        recognise({key: np.zeros(shape) for key, shape in shapes.items()})
