"""What holds for every module of the table."""

import numpy as np
import pytest

from npresnet import to_device

from ..support import fake_cupy, laws
from ..support.modules import TABLE, lock, made

every_module = pytest.mark.parametrize("name", TABLE)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every_module
def test_calling_equals_recording_bit_for_bit(name, dtype):
    module, x = made(name, dtype)
    lock(module)
    x.flags.writeable = False
    copy = module.map_arrays(np.copy)
    y, recorded = module(x), copy.vjp(x)[0]
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, recorded)
    for (key, array), (_, other) in zip(module.named_arrays(), copy.named_arrays()):
        np.testing.assert_array_equal(array.value, other.value, err_msg=key)


@every_module
def test_the_pullback_is_the_adjoint_for_the_input_and_each_parameter(name):
    module, x = made(name)
    rng = np.random.default_rng(2)
    y, pullback = module.vjp(x)
    u = rng.standard_normal(y.shape)
    dx = pullback(u)
    values = {"x": x} | {key: parameter.value for key, parameter in module.named_parameters()}
    found = {"x": dx} | {key: parameter.grad for key, parameter in module.named_parameters() if parameter.trainable}
    for key, gradient in found.items():
        v = rng.standard_normal(values[key].shape)

        def along(h, key=key, v=v):
            copy = module.map_arrays(np.copy)
            for other, parameter in copy.named_parameters():
                parameter.value = parameter.value + h * v if other == key else parameter.value
            return copy(x + h * v if key == "x" else x)

        def slope(h, along=along):
            return (along(h) - along(-h)) / (2 * h)

        jv = (4 * slope(laws.STEP / 10) - slope(laws.STEP / 5)) / 3
        assert gradient.shape == v.shape and gradient.dtype == v.dtype
        error = abs(np.vdot(u, jv) - np.vdot(gradient, v))
        assert error <= 1e-9 * np.linalg.norm(u) * np.linalg.norm(jv) + 1e-12, f"d{key}: {error}"


@every_module
def test_everything_may_be_read_only_and_nothing_changes(name):
    module, x = made(name)
    lock(module)
    x.flags.writeable = False
    before = x.copy()
    y, pullback = module.vjp(x)
    kept = np.copy(y)
    dy = np.random.default_rng(0).standard_normal(y.shape)
    dy.flags.writeable = False
    dx = pullback(dy)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(y, kept)
    assert dx.shape == x.shape


@every_module
def test_without_input_grad_only_dx_is_missing(name):
    module, x = made(name)
    copy = module.map_arrays(np.copy)
    y, pullback = module.vjp(x)
    y_other, pullback_other = copy.vjp(x, input_grad=False)
    dy = np.random.default_rng(0).standard_normal(y.shape)
    np.testing.assert_array_equal(y, y_other)
    assert pullback(dy) is not None
    assert pullback_other(dy) is None
    for (key, parameter), (_, other) in zip(module.named_parameters(), copy.named_parameters()):
        assert (parameter.grad is None) == (other.grad is None)
        if parameter.grad is not None:
            np.testing.assert_array_equal(parameter.grad, other.grad, err_msg=key)


@pytest.mark.parametrize("name", sorted(TABLE.keys() - {"identity"}))
def test_a_pullback_runs_once(name):
    module, x = made(name)
    y, pullback = module.vjp(x)
    pullback(y)
    with pytest.raises(RuntimeError, match=r"runs once.*call vjp again"):
        pullback(y)


@every_module
def test_gradients_add_up_over_calls(name):
    module, x = made(name)
    once, twice = module.map_arrays(np.copy), module.map_arrays(np.copy)
    dy = np.random.default_rng(0).standard_normal(module(x).shape)
    once.vjp(x)[1](dy)
    firsts = []
    for _ in range(2):
        twice.vjp(x)[1](dy)
        firsts.append([(p.grad, np.copy(p.grad)) for p in twice.parameters() if p.grad is not None])
    for parameter, other in zip(once.parameters(), twice.parameters()):
        if parameter.grad is not None:
            np.testing.assert_allclose(other.grad, 2 * parameter.grad, rtol=1e-12)
    for grad, copy in firsts[0]:
        np.testing.assert_array_equal(grad, copy)  # the old sum was not written to


@every_module
def test_calling_keeps_nothing_and_leaves_no_gradient(name):
    module, x = made(name)
    module(x)
    assert all(parameter.grad is None for parameter in module.parameters())


@every_module
def test_scores_are_the_value_unless_a_softmax_follows(name):
    module, x = made(name)
    np.testing.assert_array_equal(module.map_arrays(np.copy).logits(x), module.map_arrays(np.copy)(x))
    copy = module.map_arrays(np.copy)
    wanted = module.map_arrays(np.copy).vjp(x)[1]
    y, pullback = copy.logits_vjp(x)
    np.testing.assert_array_equal(y, module.map_arrays(np.copy)(x))
    np.testing.assert_array_equal(pullback(y), wanted(y))
    assert copy.logits_vjp(x, input_grad=False)[1](y) is None


@every_module
def test_the_same_lines_run_on_another_device(name):
    module, x = made(name)
    y, pullback = module.map_arrays(np.copy).vjp(x)
    dy = np.random.default_rng(0).standard_normal(y.shape)
    dx = pullback(dy)
    copy = module.map_arrays(np.copy)
    copy.vjp(x)[1](dy)
    with fake_cupy.installed() as cupy:
        there = to_device(module, "cuda")
        assert all(isinstance(array.value, cupy.ndarray) for _, array in there.named_arrays())
        fake_cupy.transfers.clear()
        y_there, pullback_there = there.vjp(cupy.asarray(x))
        dx_there = pullback_there(cupy.asarray(dy))
        assert fake_cupy.transfers == []
        np.testing.assert_array_equal(y_there.get(), y)
        np.testing.assert_array_equal(dx_there.get(), dx)
        for (key, array), (_, other) in zip(there.named_arrays(), copy.named_arrays()):
            assert isinstance(array.value, cupy.ndarray), key
            np.testing.assert_array_equal(array.value.get(), other.value, err_msg=key)
            if getattr(other, "grad", None) is not None:
                np.testing.assert_array_equal(array.grad.get(), other.grad, err_msg=f"d{key}")
        there.load_state_dict({key: cupy.asarray(a) for key, a in copy.state_dict().items()})
        assert all(isinstance(array.value, cupy.ndarray) for _, array in there.named_arrays())
