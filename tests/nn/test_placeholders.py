"""Networks without memory for their arrays: all but their numbers is that of the real ones."""

import tracemalloc

import numpy as np
import pytest

import npresnet
from npresnet.models import build, list_models
from npresnet.nn import BatchNorm2d, Conv2d, GroupNorm, Linear, placeholders


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d", "preresnet50", "resnet20", "plain20"])
def test_a_network_of_placeholders_is_the_network(name):
    real = build(name)
    with placeholders():
        seen = build(name)
    assert seen.spec == real.spec and repr(seen) == repr(real)
    for (key, ours), (theirs, array) in zip(seen.state_dict().items(), real.state_dict().items(), strict=True):
        assert (key, ours.shape, ours.dtype) == (theirs, array.shape, array.dtype)
        np.testing.assert_array_equal(ours, array)
        assert ours.size == 1 or not any(ours.strides)


def test_none_takes_memory():
    tracemalloc.start()
    with placeholders():
        networks = [build(name) for name in list_models() if name != "resnet1202"]
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken < 1e-2 * sum(array.nbytes for net in networks for array in net.state_dict().values())


@pytest.mark.parametrize("make", [lambda: Conv2d(2, 3, 3), lambda: BatchNorm2d(4), lambda: GroupNorm(2, 4)])
def test_nobody_can_write_to_one(make):
    with placeholders():
        layer = make()
    with pytest.raises(ValueError, match="read-only"):
        layer.weight.value[...] = 1


def test_they_end_with_the_block():
    with pytest.raises(KeyError), placeholders():
        raise KeyError
    with placeholders():
        with placeholders(False):
            assert Linear(2, 3).weight.value.flags.writeable
        assert not Linear(2, 3).weight.value.flags.writeable
    assert Linear(2, 3).weight.value.flags.writeable


@pytest.mark.parametrize("counters", [True, False])
def test_a_loaded_model_has_none(counters, tmp_path):
    model = npresnet.create_model("resnet20")
    state = {key: array for key, array in model.state_dict().items() if counters or "num_batches" not in key}
    changed = npresnet.create_model("resnet20", num_classes=3)
    changed.conv1 = Conv2d(3, 16, 5, padding=2)
    for number, what in enumerate((model, state, changed)):
        path = npresnet.save_weights(what, tmp_path / f"{number}.npz")
        fields = {"num_classes": 5} if what is state else {}
        for loaded in (
            npresnet.load_model(path),
            npresnet.create_model("resnet20", weights=path, **fields),
            npresnet.create_model("resnet20", weights=dict(npresnet.read_weights(path)) if what is state else path),
        ):
            assert all(array.flags.writeable and array.flags.c_contiguous for array in loaded.state_dict().values())
