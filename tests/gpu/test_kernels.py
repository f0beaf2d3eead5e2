"""Law 5 on CUDA kernels: each equals its reference, on the whole table of cases and where several blocks are filled."""

from functools import partial
from unittest import mock

import numpy as np
import pytest

from npresnet import ops
from npresnet.backend import load_kernels

from ..support import fake_cupy, laws
from ..support.cases import CASES, Case, conv, loss, norm_train, unary

LARGER = [  # packs of every width, rows that fill several blocks, columns in several parts
    conv("many channels", (3, 16, 9, 10), (24, 16, 3, 3), padding=1),
    conv("many channels 1x1", (3, 24, 7, 5), (16, 24, 1, 1), bias=True),
    conv("strided 1x1", (2, 8, 9, 8), (16, 8, 1, 1), stride=2),
    conv("padding beyond the kernel", (2, 16, 5, 6), (16, 16, 3, 3), padding=((3, 0), (0, 4))),
    conv("dilated and tall", (2, 16, 9, 10), (24, 16, 3, 2), padding=2, dilation=(2, 3)),
    conv("three channels to many", (2, 3, 11, 9), (24, 3, 7, 7), bias=True, stride=2, padding=3),
    conv("two large groups", (2, 32, 6, 7), (48, 16, 3, 3), bias=True, padding=1, groups=2),
    conv("groups of four", (2, 32, 6, 7), (32, 4, 3, 3), padding=1, groups=8),
    conv("groups of eight", (2, 32, 7, 6), (16, 8, 3, 3), padding=1, groups=4, stride=2),
    norm_train("many rows", (5, 8, 13, 17)),
    norm_train("many channels", (7, 296, 3, 2)),
    norm_train("three channels", (9, 3, 31, 5)),
    Case(
        "batch_norm_eval",
        "many rows",
        {"x": (4, 24, 9, 11), "gamma": (24,), "beta": (24,)},
        {"eps": 1e-5},
        {"mean": (24,), "var": (24,)},
    ),
    unary("max_pool2d", "many channels", (2, 24, 11, 9), kernel=3, stride=2, padding=1),
    unary("avg_pool2d", "many channels", (2, 24, 11, 9), kernel=3, stride=2, padding=1),
    unary("global_avg_pool2d", "many channels", (3, 40, 7, 7)),
    unary("relu", "many", (5, 24, 7, 9)),
    loss("many classes", 5, 1000, label_smoothing=0.1),
    Case("add", "images", {"a": (2, 8, 4, 5), "b": (2, 8, 4, 5)}, {}),
    Case("add", "rows", {"a": (3, 7), "b": (3, 7)}, {}),
]
OPS = laws.OPS | {"add": ops.add}
REFERENCES = {
    "winograd_conv2d",
    "sigmoid",
    "scale_channels",
    "softmax",
    "zero_pad2d",
    "constant_pad2d",
    "zero_pad_channels",
    "subsample",
    "adaptive_avg_pool2d",
    "log_softmax",
    "leaky_relu",
    "gelu",
    "silu",
    "group_norm",
    "blur_pool2d",
    "conv_channels",
    "all_reduce_sum",
    "sync_batch_norm_train",
    "batch_norm_relu_conv2d",
}  # the last runs through the kernels of its parts
WITH_KERNELS = [case for case in CASES + LARGER if case.op not in REFERENCES]
DTYPES = [np.float16, np.float32, np.float64]
HALF = 4e-3  # a few roundings of 5e-4 each, of sums and of what goes into them
every_case = pytest.mark.parametrize("case", WITH_KERNELS, ids=str)


def faster(case):
    load_kernels("cupy")
    return OPS[case.op].faster["cupy"]


def dispatched(case):
    """The kernel where it supports the case, else the reference, without the checks of arguments around them."""
    load_kernels("cupy")
    return partial(OPS[case.op].run_on, "cupy")


def moved(cupy, arrays, layout):
    """The same arrays on the device, in another order in memory."""
    there = {}
    for name, a in arrays.items():
        held = cupy.asarray(a)
        if layout == "channels last" and a.ndim == 4:
            held = cupy.ascontiguousarray(held.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        elif layout == "a slice" and a.ndim:
            wider = cupy.zeros((*a.shape[:-1], 2 * a.shape[-1]), dtype=a.dtype)
            wider[..., ::2] = held
            held = wider[..., ::2]
        there[name] = held
    return there


@pytest.mark.parametrize("dtype", DTYPES)
@every_case
def test_a_kernel_equals_its_reference(cupy, case, dtype):
    arrays, constants = case.draw(dtype)
    exact = [{k: a.astype(np.float64) if a.dtype.kind == "f" else a for k, a in g.items()} for g in (arrays, constants)]
    y_due, cotangents_due, extras_due = laws.run(OPS[case.op].reference, case, *exact)
    bound = HALF if dtype == np.float16 else 2 * laws.tolerance(case.op, dtype)
    dy = laws.cotangent(y_due).astype(dtype)
    due = cotangents_due(dy.astype(np.float64))
    for layout in ("channels first", "channels last", "a slice"):
        there = [moved(cupy, group, layout) for group in (arrays, constants)]
        y, cotangents, extras = laws.run(dispatched(case), case, *there)
        found = cotangents(moved(cupy, {"dy": dy}, layout)["dy"] if dy.ndim else dy[()])
        assert fake_cupy.transfers == []
        for array, truth in zip((y, *extras), (y_due, *extras_due), strict=True):
            laws.assert_close(array.get(), np.asarray(truth, dtype), bound, "value")
            fake_cupy.transfers.clear()
        for name, truth in due.items():
            laws.assert_close(found[name].get(), truth.astype(dtype), bound, f"d{name}")
            fake_cupy.transfers.clear()


@every_case
def test_nothing_is_written_to(cupy, case):
    arrays, constants = case.draw(np.float32)
    there = [{k: cupy.asarray(a) for k, a in group.items()} for group in (arrays, constants)]
    y, cotangents, _ = laws.run(dispatched(case), case, *there)
    dy = cupy.asarray(laws.cotangent(y.get()))
    kept = [a.get() for a in (y, dy)]
    first = {name: d.get() for name, d in cotangents(dy).items()}
    second = cotangents(dy)
    for old, new in zip(kept, (y, dy)):
        np.testing.assert_array_equal(new.get(), old)
    for group, held in zip((arrays, constants), there):
        for name, a in group.items():
            np.testing.assert_array_equal(held[name].get(), a, err_msg=name)
    for name, d in first.items():
        np.testing.assert_array_equal(second[name].get(), d, err_msg=f"d{name} the second time")


@pytest.mark.parametrize("case", [c for c in WITH_KERNELS if len(c.shapes) > 1 and c.op != "add"], ids=str)
def test_a_skipped_gradient_is_none(cupy, case):
    arrays, constants = case.draw(np.float32)
    there = [{k: cupy.asarray(a) for k, a in group.items()} for group in (arrays, constants)]
    y, cotangents, _ = laws.run(dispatched(case), case, *there)
    dy = cupy.asarray(laws.cotangent(y.get()))
    complete = cotangents(dy)
    for skip in arrays:
        found = cotangents(dy, skip={skip})
        assert found.pop(skip) is None
        for name, d in found.items():
            np.testing.assert_array_equal(d.get(), complete[name].get())


BACKWARDS = [case for case in WITH_KERNELS[::-1] if all(0 not in shape for shape in case.shapes.values())]
COMPLETE = {case.op: case for case in sorted(BACKWARDS, key=lambda case: len(case.shapes))}.values()


@pytest.mark.parametrize("case", COMPLETE, ids=str)  # of each op the first case with all its arrays
def test_a_kernel_saves_what_its_docstring_says(cupy, case):
    arrays, constants = case.draw(np.float32)
    there = {k: cupy.asarray(a) for group in (arrays, constants) for k, a in group.items()}
    _, pullback, *_ = faster(case)(*there.values(), **case.static)
    assert {name for name, _ in laws.held_arrays(pullback, kind=cupy.ndarray)} == laws.declared(faster(case))


SEVERAL = {case.op: case for case in WITH_KERNELS if len(case.shapes) + len(case.constants) > 1}.values()


@pytest.mark.parametrize("case", SEVERAL, ids=str)
def test_arrays_of_the_host_raise_with_the_cure(cupy, case):
    arrays, constants = case.draw(np.float32)
    for group in (arrays, constants):
        for name in group:
            there = [{k: a if k == name else cupy.asarray(a) for k, a in g.items()} for g in (arrays, constants)]
            if name != next(iter(arrays)):  # the first argument chooses the kernel
                with pytest.raises(TypeError, match=r"different devices; move them with to_device\(\)"):
                    laws.run(dispatched(case), case, *there)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_a_momentum_step(cupy, nesterov, first):
    load_kernels("cupy")
    rng = np.random.default_rng(0)
    w, g, v = rng.standard_normal((3, 24, 5))
    given = w, g, None if first else v, 0.1
    static = {"momentum": 0.9, "nesterov": nesterov, "decay": 0.01}
    there = [cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in given]
    for rate in (0.1, cupy.asarray(0.1)):
        found = ops.momentum_step.faster["cupy"](*there[:3], rate, **static)
        for array, due in zip(found, ops.momentum_step.reference(*given, **static), strict=True):
            np.testing.assert_allclose(array.get(), due, atol=1e-12)


@pytest.mark.parametrize("channels", [24, 5])
def test_moving_statistics(cupy, channels):
    load_kernels("cupy")
    given = np.random.default_rng(0).uniform(1, 2, (4, channels))
    static = {"momentum": 0.1, "correction": 1.25}
    found = ops.moving_statistics.faster["cupy"](*map(cupy.asarray, given), **static)
    for array, due in zip(found, ops.moving_statistics.reference(*given, **static), strict=True):
        np.testing.assert_allclose(array.get(), due, atol=1e-12)


def test_batch_norm_of_halves_has_statistics_in_float32(cupy):
    load_kernels("cupy")
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((4, 16, 6, 5)) * 3 + 50).astype(np.float16)  # a mean far from 0
    gamma, beta = rng.standard_normal((2, 16), np.float32)
    there = [cupy.asarray(a) for a in (x, gamma, beta)]
    y, pullback, extras = ops.batch_norm_train_cast.faster["cupy"](*there, eps=1e-5)
    y_due, pullback_due, extras_due = ops.batch_norm_train(*(a.astype(np.float64) for a in (x, gamma, beta)), eps=1e-5)
    laws.assert_close(y.get(), y_due.astype(np.float16), 1e-3)
    for found, due in zip(extras, extras_due, strict=True):
        laws.assert_close(found.get(), due.astype(np.float32), 1e-6)
    dy = rng.standard_normal(x.shape).astype(np.float16)
    dx, *sums = pullback(cupy.asarray(dy))
    dx_due, *sums_due = pullback_due(dy.astype(np.float64))
    laws.assert_close(dx.get(), dx_due.astype(np.float16), 1e-3)
    for found, due in zip(sums, sums_due, strict=True):
        laws.assert_close(found.get(), due.astype(np.float32), 1e-5)


@pytest.mark.parametrize("workspace", [1, 5000, 2**25])
def test_a_batch_goes_through_in_parts(cupy, monkeypatch, workspace):
    from npresnet.kernels.gpu import im2col as columns

    monkeypatch.setattr(columns, "WORKSPACE", workspace)
    test_a_kernel_equals_its_reference(cupy, LARGER[0], np.float32)


@pytest.mark.parametrize("side", [1, 3])
def test_tf32_is_only_used_where_it_is_allowed(cupy, side):
    """It reads 1 + 2⁻¹² as 1."""
    from npresnet.backend import tf32

    x = cupy.asarray(np.full((2, 8, 4, 4), 1 + 2**-12, np.float32))
    w = cupy.asarray(np.ones((8, 8, side, side), np.float32))

    def exact(forward):
        y, pullback = forward()
        with tf32():  # the pullback keeps to the choice of the forward call
            dx, dw, _ = pullback(x)
        return {name: float(a.ravel()[0]) % 1 != 0 for name, a in (("y", y), ("dx", dx), ("dw", dw))}

    assert all(exact(lambda: ops.conv2d(x, w, padding=side // 2)).values())
    with tf32():
        assert not any(exact(lambda: ops.conv2d(x, w, padding=side // 2)).values())


def test_a_stem_is_convolved_without_columns_in_memory(cupy):
    """Its three channels are stored as whole packs."""
    if cupy is not fake_cupy.MODULE:
        pytest.skip("only the stand-in for the GPU records what was launched")
    x, w = cupy.asarray(np.ones((1, 3, 8, 8), np.float32)), cupy.asarray(np.ones((16, 3, 3, 3), np.float32))
    y, pullback = ops.conv2d(x, w, padding=1)
    fake_cupy.launched.clear()
    _, dw, _ = pullback(y, skip={"x"})
    assert "filter_gradient" in fake_cupy.launched and "im2col" not in fake_cupy.launched
    assert dw.shape == w.shape


def test_a_class_that_cannot_be_costs_nothing(cupy):
    load_kernels("cupy")
    z, labels = np.array([[2.0, 1.0, -np.inf]]), np.array([0])
    loss, pullback = ops.softmax_cross_entropy.faster["cupy"](cupy.asarray(z), cupy.asarray(labels))
    due, pullback_due = ops.softmax_cross_entropy.reference(z, labels)
    np.testing.assert_allclose(loss.get(), due, rtol=1e-12)
    np.testing.assert_allclose(pullback().get(), pullback_due(), atol=1e-12)


def test_labels_out_of_range_make_the_loss_nan(cupy):
    loss, _ = ops.softmax_cross_entropy(cupy.asarray(np.ones((3, 4), np.float32)), cupy.asarray(np.array([0, 4, 1])))
    assert np.isnan(loss.get())


def test_arrays_of_another_gpu_raise_with_the_cure(cupy, monkeypatch):
    x, here = cupy.ones((2, 8, 4, 4), dtype=np.float32), cupy.cuda.runtime.getDevice()
    monkeypatch.setattr(cupy.cuda.runtime, "getDevice", lambda: here + 1)
    with pytest.raises(ValueError, match=rf"on GPU {here}, and GPU {here + 1} .* with cupy.cuda.Device\({here}\)"):
        ops.relu.faster["cupy"](x)


def test_what_is_known_of_one_gpu_is_not_taken_for_another():
    from npresnet.kernels.gpu.tiles import multiprocessors

    with fake_cupy.installed(kernels=True) as cupy:
        with mock.patch.object(cupy.cuda.Device, "attributes", {"MultiProcessorCount": 132}):
            assert multiprocessors(cupy) == 132
        with (
            mock.patch.object(cupy.cuda.Device, "attributes", {"MultiProcessorCount": 84}),
            mock.patch.object(cupy.cuda.runtime, "getDevice", lambda: 1),
        ):
            assert multiprocessors(cupy) == 84
