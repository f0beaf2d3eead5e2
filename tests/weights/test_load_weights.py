"""load_weights: strict, all or nothing, and clear about everything that does not fit."""

from pathlib import Path

import numpy as np
import pytest

from npresnet import create_model
from npresnet.models import build
from npresnet.weights import Checkpoint, WeightsError, load_weights, save_weights

PRETRAINED = Path(__file__).parents[2] / "../shared/data/pretrained"


def drawn(name="resnet20", seed=0, **options):
    rng = np.random.default_rng(seed)
    return {
        key: rng.standard_normal(array.shape).astype(array.dtype) if array.dtype.kind == "f" else array + 5
        for key, array in build(name, **options).state_dict().items()
    }


def assert_holds(model, state):
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[key], err_msg=key)


def test_arrays_are_copied_in_and_cast_to_the_model_s_dtype():
    state, model = drawn(), build("resnet20").astype(np.float64)
    load_weights(model, state)
    assert_holds(model, state)
    for key, array in model.state_dict().items():
        assert array.dtype == (np.float64 if state[key].dtype.kind == "f" else np.int64)
        assert not np.shares_memory(array, state[key]) and array.flags.writeable


def test_a_file_is_loaded_and_reported(tmp_path):
    state, model = drawn(), build("resnet20")
    path = tmp_path / "w.npz"
    save_weights({f"module.{key}": array for key, array in state.items()}, path)
    found = load_weights(model, path)
    assert_holds(model, state)
    assert isinstance(found, Checkpoint) and found.path == path and found.format == "npz"
    assert found.notes == [f"dropped the prefix 'module.' from {len(state)} keys"]


def test_a_file_that_holds_no_network_of_the_family_is_named(tmp_path):
    odd = {f"layer1.odd.{role}": np.ones(7, np.float32) for role in ("weight", "bias", "running_mean", "running_var")}
    state = {f"a.{key}": array for key, array in (drawn() | odd).items()}
    path = save_weights(state, tmp_path / "odd.npz")
    for load in (
        lambda: load_weights(build("resnet20"), path),
        lambda: create_model("resnet20", weights=path),
        lambda: create_model("resnet20", weights=path, num_classes=3),
    ):
        with pytest.raises(WeightsError, match=r"odd\.npz: "):
            load()


def test_counters_may_be_missing_and_then_stay():
    state, model = drawn(), build("resnet20")
    load_weights(model, {key: array for key, array in state.items() if not key.endswith("num_batches_tracked")})
    assert model.bn1.num_batches_tracked.value == 0
    np.testing.assert_array_equal(model.bn1.running_var.value, state["bn1.running_var"])


def test_every_bad_key_is_listed_at_once_and_the_model_is_untouched():
    state, model = drawn(), build("resnet20")
    before = {key: array.copy() for key, array in model.state_dict().items()}
    del state["bn1.weight"], state["layer2.1.conv1.weight"]
    state["extra.weight"] = np.ones(3)
    state["layer1.0.conv1.weight"] = np.ones((16, 16, 1, 1))
    state["layer3.0.bn1.bias"] = np.ones(64, np.int64)
    with pytest.raises(WeightsError) as caught:
        load_weights(model, state)
    first, *rest = str(caught.value).splitlines()
    assert first.startswith("these weights: does not fit: 2 missing, 1 misshapen, 1 mistyped, 1 unexpected key(s)")
    for line in (
        "missing     bn1.weight",
        "missing     layer2.1.conv1.weight",
        "unexpected  extra.weight",
        "misshapen   layer1.0.conv1.weight: the model has (16, 16, 3, 3), the file (16, 16, 1, 1)",
        "mistyped    layer3.0.bn1.bias: the model has float32, the file int64",
    ):
        assert f"  {line}" in rest
    assert len(rest) == 5
    assert_holds(model, before)


def test_the_wrong_network_is_named():
    with pytest.raises(WeightsError, match=r"these are the weights of resnet32, not of resnet20"):
        load_weights(build("resnet20"), drawn("resnet32"))


def test_another_head_is_refused_unless_it_is_reset_by_name():
    state, model = drawn(num_classes=7), build("resnet20")
    model.fc.weight.value = model.fc.weight.value + 3
    head = model.fc.weight.value.copy()
    with pytest.raises(WeightsError, match=r'only the head differs: .*load_weights.* reset=\("fc",\)'):
        load_weights(model, state)
    assert load_weights(build("resnet20"), state, reset="fc").notes == ["kept the model's own arrays under 'fc'"]
    found = load_weights(model, state, reset=("fc",))
    np.testing.assert_array_equal(model.fc.weight.value, head)
    np.testing.assert_array_equal(model.conv1.weight.value, state["conv1.weight"])
    assert found.notes == ["kept the model's own arrays under 'fc'"]
    load_weights(model, {key: array for key, array in state.items() if not key.startswith("fc.")}, reset=("fc",))
    with pytest.raises(WeightsError, match="nothing called head"):
        load_weights(model, state, reset=("head",))


def test_a_head_of_another_kind_is_not_taken_for_one_of_other_classes():
    state = drawn()
    state["fc.bias"] = state["fc.bias"] + 0j
    with pytest.raises(WeightsError, match=r"1 mistyped key\(s\); these are the weights of resnet20") as caught:
        load_weights(build("resnet20"), state)
    assert "classes" not in str(caught.value)


def test_the_keys_of_cifar_checkpoints_are_translated():
    state, model = drawn(), build("resnet20")
    load_weights(model, {key.replace("fc.", "linear."): array for key, array in state.items()})
    assert_holds(model, state)


def test_tensors_of_other_libraries_are_refused_with_the_cure():
    state = drawn()
    state["fc.bias"] = [0.0] * 10
    with pytest.raises(WeightsError, match=r"fc\.bias: a list is no array; convert it with numpy\(\)"):
        load_weights(build("resnet20"), state)


def test_halves_are_widened_into_the_model():
    state, model = drawn(), build("resnet20")
    halves = {key: array.astype(np.float16) if array.ndim > 1 else array for key, array in state.items()}
    load_weights(model, halves)
    assert model.conv1.weight.value.dtype == np.float32
    assert_holds(model, halves)


@pytest.mark.skipif(not PRETRAINED.is_dir(), reason="no ../shared/data/pretrained")
def test_a_published_checkpoint_loads_strictly():
    found = load_weights(build("resnet20"), PRETRAINED / "resnet20-12fca82f.th")
    assert found.notes[-1] == "translated the keys of CIFAR checkpoints (linear for fc)" and "fc.weight" in found
