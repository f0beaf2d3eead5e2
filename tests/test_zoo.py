"""create_model and load_model: models with weights."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

import npresnet
from npresnet import WeightsError, create_model, load_model, save_weights
from npresnet.data import class_names
from npresnet.zoo import shipped

CARD = Path(__file__).parents[1] / "weights/README.md"
PRETRAINED = Path(__file__).parents[1] / "../shared/data/pretrained"
needs_pretrained = pytest.mark.skipif(not PRETRAINED.is_dir(), reason="no ../shared/data/pretrained")


def test_the_same_seed_gives_the_same_weights_and_eval_mode():
    one, two, other = create_model("resnet20"), create_model("resnet20", seed=0), create_model("resnet20", seed=1)
    for key, array in one.state_dict().items():
        np.testing.assert_array_equal(array, two.state_dict()[key])
    assert not np.array_equal(one.conv1.weight.value, other.conv1.weight.value)
    assert not any(module.training for module in one.modules())


def test_zero_init_residual_makes_each_block_its_shortcut():
    model = create_model("resnet20", zero_init_residual=True)
    x = np.abs(np.random.default_rng(0).standard_normal((2, 16, 8, 8), dtype=np.float32))
    np.testing.assert_array_equal(getattr(model.layer1, "0")(x), x)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth"])
def test_a_saved_model_comes_back_whole(tmp_path, suffix):
    model = create_model("resnet20", num_classes=3, in_channels=1, shortcut="B", seed=5)
    model.classes, model.preprocessing = ("a", "b", "c"), "cifar10"
    path = tmp_path / f"net{suffix}"
    save_weights(model, path)
    again = load_model(path)
    assert (again.spec, again.classes, again.preprocessing) == (model.spec, model.classes, model.preprocessing)
    x = np.random.default_rng(0).standard_normal((2, 1, 32, 32), dtype=np.float32)
    np.testing.assert_array_equal(again(x), model(x))
    np.testing.assert_array_equal(create_model("resnet20", weights=path, shortcut="B")(x), model(x))


@pytest.mark.parametrize("options", [{"stride_on": "1x1"}, {"eps": 1e-3}, {"dialect": "paper", "pool": "ceil"}])
def test_a_model_by_name_is_built_as_its_file_records(tmp_path, options):
    model = create_model("resnet50", num_classes=5, seed=1, **options)
    path = save_weights(model, tmp_path / "net.safetensors")
    again = create_model("resnet50", weights=path, momentum=0.01)  # which no score depends on
    assert again.spec.dialect == model.spec.dialect and again.spec.options == {**model.spec.options, "momentum": 0.01}
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64), dtype=np.float32)
    np.testing.assert_array_equal(again(x), model(x))


def test_an_option_that_contradicts_the_file_is_refused_unless_the_arrays_come_alone(tmp_path):
    path = save_weights(create_model("resnet20", seed=1), tmp_path / "net.npz")
    assert create_model("resnet20", weights=path, shortcut="A").spec.options == {"shortcut": "A"}  # its usual one
    with pytest.raises(WeightsError, match="the file records shortcut='A', eps=1e-05: leave that out"):
        create_model("resnet20", weights=path, shortcut="A-appended", eps=1e-3)
    arrays = dict(npresnet.read_weights(path))
    assert create_model("resnet20", weights=arrays, shortcut="A-appended").spec.options == {"shortcut": "A-appended"}


def test_what_keys_cannot_tell_is_said(tmp_path):
    path = tmp_path / "plain.npz"
    np.savez(path, **create_model("resnet50", num_classes=2).state_dict())
    model = load_model(path)
    assert model.spec.name == "resnet50" and model.classes is None
    assert any("stride_on='1x1'" in note for note in model.notes)


def test_a_file_without_class_names_gets_none(tmp_path):
    path = tmp_path / "ten.safetensors"
    from safetensors.numpy import save_file

    save_file(create_model("resnet20").state_dict(), path)
    assert load_model(path).classes is None


@needs_pretrained
@pytest.mark.parametrize("name, file", [("resnet20", "resnet20-12fca82f.th"), ("resnet32", "resnet32-d509ac18.th")])
def test_a_published_file_is_known_by_its_hash(name, file):
    model = load_model(PRETRAINED / file)
    assert (model.spec.name, model.preprocessing, model.classes[3]) == (name, "cifar10", "cat")
    assert create_model(name, weights=PRETRAINED / file).classes == model.classes


@needs_pretrained
def test_the_wrong_model_is_told_which_fits():
    with pytest.raises(WeightsError, match="these are the weights of resnet32, not of resnet20"):
        create_model("resnet20", weights=PRETRAINED / "resnet32-d509ac18.th")


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="resnet50"):
        create_model("resnet5O")
    with pytest.raises(ValueError, match="stride_on"):
        create_model("resnet50", stride="1x1")
    with pytest.raises(ValueError, match="torchvision"):
        create_model("resnet50", dialect="tensorflow")


def test_every_public_name_is_there():
    for name in npresnet.__all__:
        assert callable(getattr(npresnet, name)), name


def test_the_network_that_ships_knows_ten_classes_and_its_card_describes_the_file():
    model, content = load_model(), shipped().read_bytes()
    assert (model.spec.name, model.preprocessing, model.classes) == ("resnet20", "cifar10", class_names("cifar10"))
    assert not any(module.training for module in model.modules())
    if CARD.exists():  # an installed package leaves it behind
        card = CARD.read_text()
        assert hashlib.sha256(content).hexdigest() in card and f"{len(content):,} bytes" in card


def test_arrays_of_group_norms_load_where_group_norms_are_asked_for():
    """No array shows the groups, so that the file alone is refused; create_model is told."""
    options = {"norm": "group", "norm_groups": 4, "activation": "silu"}
    model = create_model("resnet20", num_classes=5, **options)
    state, x = model.state_dict(), np.ones((1, 3, 8, 8), np.float32)
    again = create_model("resnet20", weights=state, num_classes=5, **options)
    np.testing.assert_array_equal(again(x), model(x))
    other = create_model("resnet20", weights=state, num_classes=0, in_channels=1, **options)
    assert other(x[:, :1]).shape == (1, 64) and len(other.notes) == 2
    with pytest.raises(WeightsError, match="only the head differs"):
        create_model("resnet20", weights=state, **options)
    with pytest.raises(WeightsError, match="group norms, whose groups no array shows"):
        create_model("resnet20", weights=state)
