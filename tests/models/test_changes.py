"""A network whose layers were changed after it was built is saved as it is, or not at all."""

import copy
import json

import numpy as np
import pytest

import npresnet
from npresnet import WeightsError, create_model, load_model, nn, read_weights, save_weights
from npresnet.models import build
from npresnet.models.changes import CLASSES, LAYERS, OURS, apply, changes
from npresnet.models.register import register_layer
from npresnet.weights.export_onnx import save_onnx

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 12, 12)).astype(np.float32)
SUFFIXES = (".safetensors", ".npz", ".pth")


@pytest.fixture(autouse=True)
def reference():
    """NumPy's own code, which need not be compiled."""
    with npresnet.use("numpy"):
        yield


def small(seed=0, **options):
    """A ResNet-20 whose batch norms do something."""
    model = create_model("resnet20", num_classes=4, seed=seed, **options)
    rng = np.random.default_rng(seed)
    for key, array in model.named_arrays():
        if "running" in key or ".bn" in key:
            array.value = (0.5 + rng.random(array.value.shape)).astype(array.value.dtype)
    return model


def drawn(layer, seed=1):
    return nn.initialize(layer, seed)


def pick(model, kind, rng):
    found = [part for part in model.modules() if type(part) is kind]
    return found[rng.integers(len(found))]


def dilate(model, rng):
    conv = pick(model.layer2, nn.Conv2d, rng)
    conv.dilation, conv.padding = 2, 2 * (conv.weight.value.shape[2] // 2)


def replace_a_relu(model, rng):
    block = model.layer1.layers()[rng.integers(3)]
    block.relu = nn.Identity() if rng.random() < 0.5 else nn.Sequential(nn.ReLU(), nn.MaxPool2d((3, 1), 1, (1, 0)))


def other_first_convolution(model, rng):
    kernel = int(rng.choice([1, 3, 5]))
    model.conv1 = drawn(nn.Conv2d(3, 16, kernel, 1, ((0, kernel - 1), (kernel // 2, kernel // 2)), bias=True))


EDITS = {
    "another eps": lambda m, rng: setattr(pick(m, nn.BatchNorm2d, rng), "eps", float(rng.random())),
    "another momentum": lambda m, rng: setattr(pick(m, nn.BatchNorm2d, rng), "momentum", None),
    "a biased variance": lambda m, rng: setattr(pick(m, nn.BatchNorm2d, rng), "unbiased", False),
    "a dilation": dilate,
    "'same' padding": lambda m, rng: setattr(m.layer2.layers()[0].conv1, "padding", "same"),
    "a stride of NumPy's": lambda m, rng: setattr(m.conv1, "stride", np.int64(rng.integers(1, 3))),
    "another activation": replace_a_relu,
    "a leaky ReLU": lambda m, rng: setattr(m.layer1.layers()[0], "relu", nn.LeakyReLU(float(rng.random()))),
    "a GELU": lambda m, rng: setattr(m.layer2.layers()[0], "relu", nn.GELU()),
    "a SiLU": lambda m, rng: setattr(m, "relu", nn.SiLU()),
    "a group norm": lambda m, rng: setattr(m.layer3.layers()[0], "bn1", nn.GroupNorm(int(rng.choice([1, 4])), 64, 0.1)),
    "no batch norm": lambda m, rng: setattr(m.layer3.layers()[1], "bn2", nn.Identity()),
    "a head of two layers": lambda m, rng: setattr(
        m, "fc", drawn(nn.Sequential(nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 5)))
    ),
    "more classes, no bias": lambda m, rng: setattr(m, "fc", drawn(nn.Linear(64, 11, bias=False))),
    "no head": lambda m, rng: setattr(m, "fc", nn.Identity()),
    "another first convolution": other_first_convolution,
    "a bias taken off": lambda m, rng: setattr(m.fc, "bias", None) if hasattr(m.fc, "bias") else None,
    "a block less": lambda m, rng: vars(m.layer1).pop("2", None),
    "a layer more": lambda m, rng: setattr(m.layer1, "9", nn.ZeroPad2d(padding=((1, 0), (0, 2)))),
    "a pooling more": lambda m, rng: setattr(m, "maxpool", nn.MaxPool2d(2, 2)),
    "another pooling": lambda m, rng: setattr(m.layer2, "8", nn.AvgPool2d(2, 2, ceil_mode=True)),
    "a softmax": lambda m, rng: setattr(m, "softmax", nn.Softmax()),
    "a projection": lambda m, rng: setattr(m.layer1.layers()[0], "downsample", drawn(nn.Conv2d(16, 16, 1, bias=True))),
    "frozen batch norms": lambda m, rng: npresnet.freeze_batch_norm(m.layer2),
    "a frozen trunk": lambda m, rng: setattr(m.conv1.weight, "trainable", False),
}


def same_parts(again, model):
    assert again.spec == model.spec and list(again.state_dict()) == list(model.state_dict())
    assert not list(changes(model, again))
    assert [p.trainable for p in again.parameters()] == [p.trainable for p in model.parameters()]
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[key], array)


def same(again, model):
    """The same parts, and the same numbers, now and when it is trained."""
    same_parts(again, model)
    np.testing.assert_array_equal(again(X), model(X))
    np.testing.assert_array_equal(again.train()(X), copy.deepcopy(model).train()(X))


@pytest.mark.parametrize("name", EDITS)
def test_each_change_comes_back(name, tmp_path):
    model, rng = small(), np.random.default_rng(3)
    EDITS[name](model, rng)
    text = name.startswith(("another momentum", "a stride")) and model.conv1.stride == 1  # may cancel out
    path = save_weights(model, tmp_path / "net.safetensors")
    if name == "another momentum":
        assert not list(changes(model, load_model(path)))  # None: how it trains is batch norm's own business
        return
    same(load_model(path), model)
    version = json.loads(read_weights(path).metadata["npresnet"])["version"]
    assert version == 2 or text or name == "a stride of NumPy's"


@pytest.mark.parametrize("seed", range(12))
def test_any_changes_come_back_bit_for_bit_or_are_refused(seed, tmp_path):
    rng = np.random.default_rng(seed)
    model = small(seed, shortcut=str(rng.choice(["A", "B"])))
    for name in rng.choice([name for name in EDITS if name != "another momentum"], rng.integers(1, 6), replace=False):
        EDITS[name](model, rng)
    path = tmp_path / f"net{SUFFIXES[seed % 3]}"
    save_weights(model, path)
    same(load_model(path), model)
    same_parts(create_model("resnet20", weights=path), model)
    save_weights(read_weights(path), tmp_path / "again.npz")
    same_parts(load_model(tmp_path / "again.npz"), model)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "preresnet18", "plain18", "preresnet110"])
def test_a_network_as_it_was_built_has_no_changes(name):
    assert not list(changes(build(name), build(name)))


@pytest.mark.parametrize(
    "dialect",
    [
        {"dialect": "keras"},
        {"dialect": "timm", "stem": "deep", "avg_down": True},
        {"squeeze": True, "pool": "zeros"},
        {"shortcut": "A", "pool": "ceil"},
    ],
)
def test_each_layer_of_the_family_can_be_told(dialect, tmp_path):
    model = create_model("resnet50", num_classes=3, **dialect)
    for part in model.modules():
        if type(part) is nn.BatchNorm2d:
            part.eps = 0.25
    model.maxpool = nn.Sequential(nn.ZeroPad2d(padding=1), nn.Subsample(stride=2), nn.MaxPool2d(3, 2))
    model.layer1.layers()[0].downsample = nn.Sequential(nn.Identity(), nn.ZeroPadChannels(before=96, after=96))
    if model.spec.options.get("stem") == "deep":
        getattr(model.conv1, "0").stride = 1
    again = load_model(save_weights(model, tmp_path / "net.pth"))
    np.testing.assert_array_equal(again(X), model(X))


def test_the_notes_say_what_a_loaded_network_is_without_or_does_not_train(tmp_path):
    """Batch norms that are frozen or folded into convolutions, other frozen parameters, other layers."""
    model = npresnet.freeze_batch_norm(create_model("resnet18"))
    frozen = "frozen, which matters only to training: batch norms 20"
    assert load_model(save_weights(model, tmp_path / "net.npz")).notes == [frozen]
    model.conv1.weight.trainable, model.maxpool = False, nn.Identity()
    assert load_model(save_weights(model, tmp_path / "other.npz")).notes == [
        frozen + ", other parameters 1",
        "layers other than those of resnet18: Identity 1",
    ]
    assert load_model(save_onnx(create_model("resnet18"), tmp_path / "net.onnx", fold=True)).notes == [
        "folded into the convolutions before them: batch norms 20"
    ]


def test_a_file_of_an_unchanged_network_is_as_it_was(tmp_path):
    fields = json.loads(read_weights(save_weights(small(), tmp_path / "net.npz")).metadata["npresnet"])
    assert fields.keys() == {"version", "spec", "preprocessing", "classes"} and fields["version"] == 1


def test_a_new_head_and_first_convolution_count_at_once(tmp_path):
    model = create_model("resnet18")
    model.fc, model.conv1 = drawn(nn.Linear(512, 5)), drawn(nn.Conv2d(1, 64, 7, 2, 3))
    assert (model.spec.num_classes, model.spec.in_channels) == (5, 1)
    model.classes = tuple("abcde")
    again = load_model(save_weights(model, tmp_path / "net.npz"))
    assert again.classes == model.classes and again.notes == []
    np.testing.assert_array_equal(again(X[:, :1]), model(X[:, :1]))


class Mine(nn.ReLU):
    pass


REFUSED = {
    "a class of one's own": (lambda m: setattr(m, "relu", Mine()), "relu is a Mine"),
    "a block appended": (lambda m: setattr(m.layer1, "3", copy.deepcopy(m.layer1.layers()[2])), "layer1.3 is a Basic"),
    "a block in a head": (
        lambda m: setattr(m, "fc", nn.Sequential(nn.Residual(nn.ReLU(), nn.Identity()))),
        "fc.0 is a Residual",
    ),
    "a part nobody runs": (lambda m: setattr(m, "extra", nn.ReLU()), "the network is a ResNet"),
    "a method replaced": (lambda m: setattr(m.relu, "vjp", lambda x, input_grad=True: (x, None)), "relu has a vjp"),
    "an op replaced": (lambda m: setattr(m.relu, "op", abs), "relu has a op"),
    "half a stride": (lambda m: setattr(m.conv1, "stride", 1.5), "conv1: stride of a Conv2d cannot be '1.5'"),
    "no first convolution": (lambda m: setattr(m, "conv1", None), "cannot be without its 'conv1'"),
    "a block used twice": (lambda m: setattr(m.layer1, "1", m.layer1.layers()[0]), "one and would come back as two"),
    "an array used twice": (lambda m: setattr(m.bn1, "bias", m.bn1.weight), "one and would come back as two"),
    "a negative eps": (lambda m: setattr(m.bn1, "eps", -1.0), "eps of a BatchNorm2d"),
    "an array more": (lambda m: setattr(m.conv1, "scale", nn.Parameter(np.ones(3))), "has other arrays"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_told_is_refused_with_the_way_out(name, tmp_path):
    model = small()
    change, message = REFUSED[name]
    change(model)
    with pytest.raises(WeightsError, match=message) as caught:
        save_weights(model, tmp_path / "net.npz")
    assert "\n" not in str(caught.value) and "save_weights(model.state_dict(), path)" in str(caught.value)
    assert not list(tmp_path.iterdir())


HOSTILE = [
    {"path": "fc", "class": "Trainer", "options": {}},
    {"path": "fc", "class": "Module", "options": {}},
    {"path": "fc", "class": "__class__", "options": {}},
    {"path": "", "class": "Identity", "options": {}},
    {"path": "vjp", "class": "Identity", "options": {}},
    {"path": "layer1.eval", "class": "Identity", "options": {}},
    {"path": "layer1.a b", "class": "Identity", "options": {}},
    {"path": "not.at.all", "class": None, "options": {}},
    {"path": "conv1", "class": None, "options": {}},
    {"path": 3, "class": None, "options": {}},
    {"path": "conv1.weight", "class": "Identity", "options": {}},
    {"path": "conv1", "class": "Conv2d", "options": {}},
    {"path": "bn2", "class": "Identity", "options": {}},
    {"path": "conv1", "class": "Conv2d", "options": {"stride": True, "padding": 1, "dilation": 1, "groups": 1}},
    {"path": "conv1", "class": "Conv2d", "options": {"stride": 1, "padding": -1, "dilation": 1, "groups": 1}},
    {"path": "conv1", "class": "Conv2d", "options": {"stride": 1, "padding": 10**9, "dilation": 1, "groups": 1}},
    {"path": "conv1", "class": "Conv2d", "options": {"stride": [1] * 3, "padding": 1, "dilation": 1, "groups": 1}},
    {"path": "conv1", "class": "Linear", "options": {}},
    {"path": "conv1", "class": "Conv2d", "options": []},
    {"path": "relu", "class": "Linear", "options": {}},
    {"path": "relu", "class": "ReLU", "options": {"x": 1}},
    {"path": "relu", "class": "MaxPool2d", "options": {"stride": 2}},
    ["relu"],
    None,
    5,
    {
        "path": "bn1",
        "class": "BatchNorm2d",
        "options": {"eps": 1e400, "momentum": 0.1, "unbiased": True, "frozen": False},
    },
    {"path": "layer1.0" + ".0" * 20, "class": "Identity", "options": {}},
    {"path": "fc", "class": ["Identity"], "options": {}},
    {"path": "fc", "class": "Identity"},
]


@pytest.mark.parametrize("entry", HOSTILE, ids=lambda entry: str(entry)[:60])
def test_a_list_that_no_network_has_is_one_clear_line(entry, tmp_path):
    fields = {
        "version": 2,
        "spec": json.loads(small().spec.to_json()),
        "preprocessing": None,
        "classes": None,
        "changes": [entry],
        "frozen": [],
    }
    path = save_weights(small().state_dict(), tmp_path / "net.npz", metadata={"npresnet": json.dumps(fields)})
    for read in (load_model, lambda path: create_model("resnet20", weights=path)):
        with pytest.raises(WeightsError) as caught:
            read(path)
        assert "damaged" not in str(caught.value)
    with pytest.raises(WeightsError) as caught:
        load_model(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < len(str(path)) + 300 and "damaged" not in message


@pytest.mark.parametrize(
    "extra",
    [
        {"changes": {}},
        {"frozen": [1]},
        {"frozen": None},
        {"changes": None},
        {"version": 3},
        {"frozen": ["conv9.weight"]},
        {"changes": [{"path": "fc", "class": "Identity", "options": {}}] * 2},
    ],
)
def test_metadata_of_another_shape_are_refused(extra, tmp_path):
    fields = {
        "version": 2,
        "spec": json.loads(small().spec.to_json()),
        "preprocessing": None,
        "classes": None,
        "changes": [],
        "frozen": [],
    } | extra
    path = save_weights(small().state_dict(), tmp_path / "net.npz", metadata={"npresnet": json.dumps(fields)})
    with pytest.raises(WeightsError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value) and "damaged" not in str(caught.value)


def test_sizes_are_those_of_the_arrays_and_never_allocated_beyond_them(tmp_path):
    spec = json.loads(small().spec.to_json()) | {"num_classes": 10**12}
    fields = {
        "version": 2,
        "spec": spec,
        "preprocessing": None,
        "classes": None,
        "changes": [{"path": "pool", "class": "Identity", "options": {}}],
        "frozen": [],
    }
    path = save_weights(small().state_dict(), tmp_path / "net.npz", metadata={"npresnet": json.dumps(fields)})
    with pytest.raises(WeightsError, match="there is no part 'pool'"):
        load_model(path)
    fields["changes"][0]["path"] = "relu"
    path = save_weights(small().state_dict(), tmp_path / "net.npz", metadata={"npresnet": json.dumps(fields)})
    with pytest.raises(WeightsError, match="of 4 classes and 3 channels, not of 1000000000000 and 3"):
        load_model(path)


def test_only_layers_of_nn_are_known():
    assert all(
        issubclass(kind, nn.Module) and getattr(nn, kind.__name__) is kind for kind in LAYERS if kind.__name__ in OURS
    )
    with pytest.raises(ValueError, match="no class that is known"):
        apply(small(), [{"path": "fc", "class": "Parameter", "options": {}}], {})


def test_a_run_is_resumed_with_its_changed_layers(tmp_path):
    from npresnet.data.dataset import Dataset
    from npresnet.training import Recipe, Trainer
    from npresnet.training.checkpoint import build_model, read_checkpoint, restore, save_checkpoint
    from npresnet.zoo import with_new_head

    model = small()
    EDITS["a dilation"](model, np.random.default_rng(0))
    model.conv1.weight.trainable = False
    data = Dataset(np.arange(8) % 4, "abcd", pixels=RNG.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8))
    trainer = Trainer(model, Recipe(epochs=1, batch_size=8, augment="none"), data)
    save_checkpoint(trainer, tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    again = Trainer(build_model(checkpoint), trainer.recipe, data)
    restore(again, checkpoint, tmp_path)
    same(again.model, model.eval())
    headed = with_new_head(model, "ab", seed=1)
    headed.fc = model.fc
    same(headed, model)


def test_an_export_with_changed_layers_is_refused(tmp_path):
    from npresnet.weights import export_weights

    model = create_model("resnet18", num_classes=3)
    model.maxpool = nn.Identity()
    with pytest.raises(WeightsError, match="maxpool") as caught:
        export_weights(model, tmp_path / "net.pth", "torchvision")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())
    model = npresnet.freeze_batch_norm(create_model("resnet18", num_classes=3))
    model.bn1.momentum = 0.5  # what no score depends on is carried along
    same_scores = load_model(export_weights(model, tmp_path / "net.pth", "huggingface"))
    np.testing.assert_array_equal(same_scores(X), model(X))


# -- layers from outside the package ---------------------------------------------------------------------------------


class Scaled(nn.Module):
    """y = s x + shift, with a learned s for each channel."""

    def __init__(self, channels, shift=0.0, on=True):
        self.channels, self.shift, self.on = channels, shift, on
        self.weight = nn.Parameter(np.full(channels, 0.5, np.float32))

    def vjp(self, x, input_grad=True):
        scale = self.weight.value[:, None, None] if self.on else 1
        return x * scale + x.dtype.type(self.shift), lambda dy: dy * scale


@pytest.fixture
def registered():
    """Scaled, known to files during a test."""
    yield register_layer(Scaled, channels=int, shift=float, on=bool)
    LAYERS.pop(CLASSES.pop("Scaled", None), None)


def with_scaled():
    model = small()
    model.layer1.children()["0"].bn2 = nn.Sequential(model.layer1.children()["0"].bn2, Scaled(16, 0.25))
    return model


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_registered_layer_is_saved_and_read_again(suffix, registered, tmp_path):
    model = with_scaled()
    save_weights(model, tmp_path / f"scaled{suffix}")
    found = load_model(tmp_path / f"scaled{suffix}")
    layer = found.layer1.children()["0"].bn2.children()["1"]
    assert type(layer) is Scaled and (layer.channels, layer.shift, layer.on) == (16, 0.25, True)
    np.testing.assert_array_equal(found(X), model(X))


def test_without_its_class_the_file_is_refused_and_its_arrays_are_read(registered, tmp_path):
    model, path = with_scaled(), tmp_path / "scaled.safetensors"
    save_weights(model, path)
    LAYERS.pop(CLASSES.pop("Scaled"))
    with pytest.raises(WeightsError, match="no class that is known here: 'Scaled'"):
        load_model(path)
    again = with_scaled()
    again.load_state_dict(read_weights(path))
    np.testing.assert_array_equal(again(X), model(X))
    with pytest.raises(WeightsError, match="register_layer"):
        save_weights(model, tmp_path / "again.safetensors")
    assert not (tmp_path / "again.safetensors").exists()


@pytest.mark.parametrize("options", [{"channels": "16"}, {"channels": 10**9}, {"shift": None}, {"on": 1}, {"more": 1}])
def test_a_file_gives_a_registered_layer_only_options_of_its_kinds(options, registered):
    whole = {"channels": 16, "shift": 0.0, "on": True} | options
    entry = {"path": "layer1.0.bn1", "class": "Scaled", "options": whole}
    with pytest.raises(ValueError, match=r"Scaled"):
        apply(build("resnet20"), [entry], {"layer1.0.bn1.weight": (16,)})


def test_what_can_be_registered(registered):
    with pytest.raises(TypeError, match="a class of Modules"):
        register_layer(Scaled(3), channels=int)
    with pytest.raises(ValueError, match="ReLU is a layer of this package"):
        register_layer(type("ReLU", (nn.Module,), {}))
    with pytest.raises(TypeError, match="not names"):
        register_layer(Scaled, names=list)
    later = type("Scaled", (Scaled,), {})
    assert register_layer(later, channels=int) is later and CLASSES["Scaled"] is later and Scaled not in LAYERS
