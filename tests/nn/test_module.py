"""Names, state and copies."""

import numpy as np
import pytest

from npresnet.nn import (
    BatchNorm2d,
    Buffer,
    Conv2d,
    Linear,
    Module,
    Parameter,
    ReLU,
    Residual,
    Sequential,
    freeze_batch_norm,
    initialize,
    zero_last_gamma,
)
from npresnet.nn.module import once

from ..support.modules import Leaf, fill, made


def model():
    return fill(Sequential(Conv2d(2, 3, 1), BatchNorm2d(3), Sequential(ReLU(), Conv2d(3, 1, 1, bias=True))))


KEYS = [
    "0.weight",
    "1.weight",
    "1.bias",
    "1.running_mean",
    "1.running_var",
    "1.num_batches_tracked",
    "2.1.weight",
    "2.1.bias",
]


def test_parameters_come_before_buffers_before_children():
    assert [name for name, _ in Leaf().named_arrays()] == ["scale", "shift", "count", "inner.weight", "inner.bias"]
    assert [name for name, _ in Leaf().named_arrays("a.")][-1] == "a.inner.bias"
    assert [name for name, _ in Leaf().named_parameters()] == ["scale", "shift", "inner.weight", "inner.bias"]
    assert [name for name, _ in model().named_arrays()] == KEYS
    assert list(model().state_dict()) == KEYS


def test_children_and_modules():
    m = model()
    assert list(m.children()) == ["0", "1", "2"]
    assert [name for name, _ in m.named_modules()] == ["", "0", "1", "2", "2.0", "2.1"]
    assert [name for name, _ in m.named_modules("net")] == ["net", "net.0", "net.1", "net.2", "net.2.0", "net.2.1"]
    assert [type(part) for part in m.modules()] == [Sequential, Conv2d, BatchNorm2d, Sequential, ReLU, Conv2d]
    assert m.parameters() == [parameter for _, parameter in m.named_parameters()]
    assert all(isinstance(parameter, Parameter) for parameter in m.parameters()) and len(m.parameters()) == 5


def test_train_and_eval_reach_every_module():
    m = model()
    assert not any(part.training for part in m.modules())
    assert m.train() is m and all(part.training for part in m.modules())
    assert m.eval() is m and not any(part.training for part in m.modules())
    assert m.train(True).training and not m.train(False).training


def test_gradients_accumulate_in_a_new_array():
    parameter = Parameter(np.zeros(2))
    assert parameter.grad is None and parameter.trainable and not Parameter(np.zeros(1), trainable=False).trainable
    first, second = np.ones(2), np.array([1.0, 2.0])
    parameter.accumulate(first)
    parameter.accumulate(second)
    np.testing.assert_array_equal(parameter.grad, [2, 3])
    np.testing.assert_array_equal(first, [1, 1])
    np.testing.assert_array_equal(second, [1, 2])
    m = Sequential(Linear(2, 2))
    m.children()["0"].weight.accumulate(first)
    m.zero_grad()
    assert all(parameter.grad is None for parameter in m.parameters())
    m.zero_grad()


def test_trainable_means_that_something_inside_wants_a_gradient():
    assert model().trainable and not Sequential(ReLU()).trainable and not Module().trainable
    m = model()
    for parameter in m.parameters():
        parameter.trainable = False
    assert not m.trainable
    m.children()["2"].children()["1"].bias.trainable = True
    assert m.trainable and not m.children()["0"].trainable
    leaf = Leaf()
    for parameter in leaf.inner.parameters():
        parameter.trainable = False
    assert leaf.trainable  # its own scale
    leaf.scale.trainable = False
    assert not leaf.trainable


def test_a_module_without_a_vjp_says_so():
    class Empty(Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty needs a vjp"):
        Empty()(1)


def test_once_passes_the_cotangent_and_lets_go():
    run = once(lambda dy: 2 * dy)
    assert run(3) == 6
    with pytest.raises(RuntimeError, match="runs once"):
        run(3)


def test_a_pullback_that_fails_has_still_run():
    def fails(dy):
        raise ZeroDivisionError

    run = once(fails)
    with pytest.raises(ZeroDivisionError):
        run(1)
    with pytest.raises(RuntimeError):
        run(1)


def state(m, seed=1):
    return {key: np.copy(a) for key, a in fill(m.map_arrays(np.copy), seed).state_dict().items()}


def test_loading_copies_in():
    m = model()
    new = state(m)
    assert m.load_state_dict(new) == ([], [])
    for key, array in new.items():
        found = m.state_dict()[key]
        np.testing.assert_array_equal(found, array)
        assert not np.shares_memory(found, array) and isinstance(found, np.ndarray)


def test_loading_casts_to_the_models_dtypes_and_accepts_lists_and_read_only_arrays():
    m = model()
    new = {key: a.astype(np.float64) if a.dtype.kind == "f" else a.astype(np.int32) for key, a in state(m).items()}
    new["2.1.bias"] = [0.25]
    new["0.weight"].flags.writeable = False
    m.load_state_dict(new)
    for key, array in m.state_dict().items():
        np.testing.assert_array_equal(array, np.asarray(new[key], array.dtype))
        assert array.dtype == (np.int64 if key.endswith("tracked") else np.float32)


def test_the_batch_counter_may_be_missing():
    m = model()
    m.children()["1"].num_batches_tracked.value = np.array(7)
    new = state(m)
    del new["1.num_batches_tracked"]
    assert m.load_state_dict(new) == ([], [])
    assert m.state_dict()["1.num_batches_tracked"] == 7


def test_every_bad_key_is_named_and_nothing_is_loaded():
    m = model()
    before = {key: np.copy(a) for key, a in m.state_dict().items()}
    new = state(m)
    del new["0.weight"], new["2.1.bias"]
    new["1.bias"] = np.zeros(4)
    new["1.running_mean"] = np.zeros((3, 1))
    new["fc.weight"] = np.zeros(1)
    with pytest.raises(ValueError) as caught:
        m.load_state_dict(new)
    assert str(caught.value).splitlines() == [
        "5 key(s) do not fit:",
        "  missing     0.weight",
        "  missing     2.1.bias",
        "  unexpected  fc.weight",
        "  shape       1.bias: the model has (3,), the state (4,)",
        "  shape       1.running_mean: the model has (3,), the state (3, 1)",
    ]
    for key, array in before.items():
        np.testing.assert_array_equal(m.state_dict()[key], array)


def test_without_strict_only_shapes_raise():
    m = model()
    old, new = m.state_dict(), state(m)
    del new["0.weight"]
    new["fc.weight"] = np.zeros(1)
    mismatch = m.load_state_dict(new, strict=False)
    assert mismatch.missing == ["0.weight"] and mismatch.unexpected == ["fc.weight"]
    np.testing.assert_array_equal(m.state_dict()["0.weight"], old["0.weight"])
    np.testing.assert_array_equal(m.state_dict()["2.1.bias"], new["2.1.bias"])
    new["1.bias"] = np.zeros(4)
    before = m.state_dict()
    with pytest.raises(ValueError, match=r"1 key\(s\) do not fit:\n  shape       1.bias"):
        m.load_state_dict(new, strict=False)
    assert all(m.state_dict()[key] is before[key] for key in before)


def test_map_arrays_makes_another_module_with_its_own_parameters():
    m = model().train()
    m.children()["0"].weight.trainable = False
    m.children()["1"].weight.grad = np.ones(3, np.float32)
    seen = []
    new = m.map_arrays(lambda a: seen.append(a) or a + 1)
    assert {id(a) for a in seen} == {id(a) for a in m.state_dict().values()} and len(seen) == len(KEYS)
    for (key, array), (_, mapped) in zip(m.named_arrays(), new.named_arrays()):
        assert array is not mapped
        np.testing.assert_array_equal(mapped.value, array.value + 1, err_msg=key)
    assert all(array.grad is None for array in new.parameters())
    assert m.children()["1"].weight.grad is not None
    assert new.training and not new.children()["0"].weight.trainable and new.children()["1"].weight.trainable
    new.eval()
    assert m.training
    assert type(new) is Sequential and new.children()["0"] is not m.children()["0"]


def test_a_copy_has_the_same_arrays():
    m = model()
    new = m.copy()
    assert all(new.state_dict()[key] is m.state_dict()[key] for key in KEYS)
    new.children()["0"].weight.value = np.zeros((3, 2, 1, 1), np.float32)
    assert m.children()["0"].weight.value.any()


def test_the_old_name_of_map_arrays_still_works():
    with pytest.warns(DeprecationWarning, match="map_arrays") as warned:
        new = model().mapped(lambda a: a + 1)
    assert warned[0].filename == __file__  # the line that is to be changed
    np.testing.assert_array_equal(new.state_dict()["0.weight"], model().state_dict()["0.weight"] + 1)


def test_a_module_tells_its_dtype_and_namespace():
    assert model().dtype == np.float32 and model().astype(np.float64).dtype == np.float64
    assert ReLU().dtype == np.float32 and model().namespace is ReLU().namespace is np
    m = model()
    m.children()["0"].weight.value = np.zeros((3, 2, 1, 1), np.float16)
    assert m.dtype == np.float16  # the first parameter's


def test_a_part_that_runs_twice_stays_one_part():
    m, x = made("a part twice")
    new = m.astype(np.float32)
    assert new.layers()[0] is new.layers()[2] is new.conv
    np.testing.assert_allclose(new(x.astype(np.float32)), m(x), rtol=1e-4, atol=1e-4)


def test_astype_casts_floats_and_counts_stay_integers():
    m = model()
    new = m.astype(np.float64)
    for key, array in new.state_dict().items():
        assert array.dtype == (np.int64 if key.endswith("tracked") else np.float64)
        np.testing.assert_array_equal(array, m.state_dict()[key])
    assert m.children()["0"].weight.value.dtype == np.float32
    same = m.astype(np.float32)
    same.children()["0"].weight.value[:] = 0
    assert m.children()["0"].weight.value.any()  # a copy even where nothing is cast


def test_boxes_hold_nothing_else():
    for array in (Parameter(np.zeros(1)), Buffer(np.zeros(1))):
        with pytest.raises(AttributeError):
            array.gradient = 0


def test_a_notebook_shows_the_model_open_and_its_parts_closed():
    html = model()._repr_html_()
    assert html.count("<details open>") == 1 and html.startswith("<details open>")
    assert html.count("<details>") == 1  # the inner chain; layers without parts do not open
    assert html.count("<div style='margin-left: 1.1em'>") == 4


def test_what_stands_in_two_places_is_one_parameter():
    layer = Linear(2, 2)
    layer.weight.value, layer.bias.value = np.ones((2, 2)), np.zeros(2)
    net = Sequential(layer, layer)
    assert list(dict(net.named_parameters())) == ["0.weight", "0.bias"]
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    calls = []
    new = net.map_arrays(lambda array: calls.append(1) or array + 1)
    assert len(calls) == 2 and new.state_dict()["1.weight"].tolist() == [[2, 2], [2, 2]]


@pytest.mark.parametrize("array", [np.array(["a", "b"]), np.array([1j, 2])])
def test_nothing_is_loaded_where_an_array_holds_no_real_numbers(array):
    net = Linear(2, 2)
    before = net.state_dict()
    with pytest.raises(ValueError, match=r"bias: .* holds no real numbers"):
        net.load_state_dict({"weight": np.full((2, 2), 7.0), "bias": array})
    for key, old in before.items():
        assert net.state_dict()[key] is old


class Tensor:
    """Another library's array: NumPy reads it, or is refused."""

    dtype = "torch.float32"

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        if self.values is None:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return np.array(self.values, dtype or np.float32)


class Elsewhere:
    """Another library's array, which NumPy may read when it is detached from its graph and on the CPU."""

    def __init__(self, values, steps=("detach", "cpu")):
        self.values, self.steps = values, steps

    def __getattr__(self, name):
        if name not in self.steps[:1]:
            raise AttributeError(name)
        return lambda: Elsewhere(self.values, self.steps[1:]) if self.steps[1:] else np.array(self.values)


def test_lists_and_other_libraries_tensors_are_loaded():
    net = Linear(2, 2)
    for bias in (Tensor([5, 6]), Elsewhere([5, 6])):
        net.load_state_dict({"weight": [[1, 2], [3, 4]], "bias": bias})
        assert net.weight.value.tolist() == [[1, 2], [3, 4]] and net.bias.value.tolist() == [5, 6]
        net.bias.value = np.zeros_like(net.bias.value)
    with pytest.raises(TypeError, match="bias is a Tensor that NumPy cannot read: move it to the CPU"):
        net.load_state_dict({"weight": [[0, 0], [0, 0]], "bias": Tensor(None)})
    with pytest.raises(TypeError, match="weight is a list that NumPy cannot read: its rows differ"):
        net.load_state_dict({"weight": [[0, 0], [0]], "bias": [0, 0]})
    assert net.weight.value.tolist() == [[1, 2], [3, 4]]


def test_what_is_passed_over_may_hold_anything():
    net = Linear(2, 2)
    state = net.state_dict() | {"note": np.array("a text")}
    assert net.load_state_dict(state, strict=False).unexpected == ["note"]


@pytest.mark.parametrize(
    "who, function",
    [
        ("a chain", Sequential),
        ("a chain", lambda thing: Sequential(ReLU(), thing)),
        ("a residual block", lambda thing: Residual(thing, "not looked at")),
        ("a residual block", lambda thing: Residual(ReLU(), thing)),
        ("initialize", initialize),
        ("zero_last_gamma", zero_last_gamma),
        ("freeze_batch_norm", freeze_batch_norm),
    ],
)
def test_what_is_no_model_raises(who, function):
    for thing, name in ((ReLU, "the class ReLU"), (np.ones(3), "ndarray"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"^{who} takes a model, not {name}$"):
            function(thing)


def test_what_a_model_cannot_do_raises():
    model = Linear(2, 3)
    for mode in (None, 0, 1, "eval"):
        with pytest.raises(ValueError, match=rf"^train\(\) takes True or False, not {mode!r}$"):
            model.train(mode)
    for dtype in (None, int, "int8", np.complex64):
        with pytest.raises(TypeError, match=r"^a model's arrays are floating-point numbers, not "):
            model.astype(dtype)
    for state in (None, [("weight", np.ones((3, 2)))], "weights.pth", np.ones(3)):
        with pytest.raises(TypeError, match=r"^load_state_dict takes a mapping key → array, not \w+$"):
            model.load_state_dict(state)
