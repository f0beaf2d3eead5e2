"""Activations, softmax, the loss, the classifier and the parts of shortcut A: kinks, overflow, and bad arguments."""

import math

import numpy as np
import pytest

from npresnet.ops import (
    constant_pad2d,
    gelu,
    leaky_relu,
    linear,
    log_softmax,
    relu,
    scale_channels,
    silu,
    softmax,
    softmax_cross_entropy,
    subsample,
    zero_pad2d,
    zero_pad_channels,
)
from npresnet.ops.erf import erf

from ..support import fake_cupy


def test_relu_at_the_kink_and_at_nan():
    x = np.array([-1.0, -0.0, 0.0, 2.0, np.nan, np.inf, -np.inf])
    y, pullback = relu(x)
    np.testing.assert_array_equal(y, [0, 0, 0, 2, np.nan, np.inf, 0])
    np.testing.assert_array_equal(pullback(np.full(7, 3.0)), [0, 0, 0, 3, 0, 3, 0])
    assert not np.isnan(pullback(np.array([np.inf, np.nan, 0, 0, 0, 0, 0]))).any()  # chosen, not multiplied


def test_leaky_relu_at_the_kink_and_at_nan():
    x = np.array([-1.0, -0.0, 0.0, 2.0, np.nan, np.inf, -np.inf])
    y, pullback = leaky_relu(x, negative_slope=0.5)
    np.testing.assert_array_equal(y, [-0.5, 0, 0, 2, np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(pullback(np.full(7, 3.0)), [1.5, 1.5, 1.5, 3, 1.5, 3, 1.5])
    np.testing.assert_array_equal(leaky_relu(x[:4], negative_slope=0)[0], relu(x[:4])[0])
    with pytest.raises(ValueError, match="negative_slope must be finite and at least 0"):
        leaky_relu(x, negative_slope=-0.1)


@pytest.mark.parametrize("activation", [gelu, silu])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_smooth_activations_are_a_relu_far_from_zero(activation, dtype):
    big = np.finfo(dtype).max / 4
    x = np.array([big, 800, -800, -big, np.nan], dtype)
    with np.errstate(over="raise", invalid="raise"):
        y, pullback = activation(x)
        dx = pullback(np.full(5, 2, dtype))
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    np.testing.assert_array_equal(dx, [2, 2, 0, 0, np.nan])
    assert y.dtype == dx.dtype == dtype


@pytest.mark.parametrize("dtype, bound", [(np.float32, 2e-7), (np.float64, 4e-16)])
def test_erf_is_exact_to_rounding(dtype, bound):
    x = np.concatenate([np.linspace(-7, 7, 20001), [0.46875, 1e-30, 1e30]]).astype(dtype)
    with np.errstate(over="raise", invalid="raise"):
        found = erf(x)
    np.testing.assert_allclose(found, [math.erf(value) for value in x], rtol=0, atol=bound)
    assert found.dtype == dtype
    np.testing.assert_allclose(found[-2], x[-2] * 2 / np.pi**0.5, rtol=1e-6)  # small numbers keep their digits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_of_huge_scores(dtype):
    big = np.finfo(dtype).max / 4
    z = np.array([[big, big, 0], [-big, 0, -big], [1000, 1001, 1002]], dtype)
    with np.errstate(over="raise", invalid="raise"):
        p, _ = softmax(z)
    np.testing.assert_allclose(p[:2], [[0.5, 0.5, 0], [0, 1, 0]])
    np.testing.assert_allclose(p[2], softmax(np.array([[0.0, 1, 2]]))[0][0], rtol=1e-6)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 0), (0,), (2, 3, 4)])
def test_a_softmax_without_classes_raises(shape):
    for op in (softmax, log_softmax):
        with pytest.raises(ValueError, match=rf"^{op.__name__} takes z \(N, K\) with at least one class"):
            op(np.ones(shape))
    assert (softmax(np.ones((2, 1)))[0] == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_loss_of_huge_scores(dtype):
    with np.errstate(over="raise", invalid="raise"):
        z = np.array([[1e4, 0], [0, 1e4], [-1e4, -1e4]], dtype)
        loss, pullback = softmax_cross_entropy(z, np.array([0, 0, 1]))
        dz = pullback()
    np.testing.assert_allclose(loss, (0 + 1e4 + np.log(2)) / 3, rtol=1e-6)
    assert loss.dtype == dtype
    np.testing.assert_allclose(dz, np.array([[0, 0], [-1, 1], [0.5, -0.5]]) / 3, rtol=1e-6)


def test_the_loss_of_no_preference_is_log_k():
    loss, pullback = softmax_cross_entropy(np.zeros((4, 10)), np.arange(4))
    np.testing.assert_allclose(loss, np.log(10))
    np.testing.assert_allclose(pullback(), (0.1 - np.eye(4, 10)) / 4)
    np.testing.assert_allclose(pullback(3.0), 3 * pullback())
    np.testing.assert_allclose(pullback(np.float64(-1)), -pullback(1.0))


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
def test_labels_are_integers_of_any_kind(dtype):
    z = np.random.default_rng(0).standard_normal((3, 4))
    labels = np.array([0, 3, 1], dtype)
    assert softmax_cross_entropy(z, labels)[0] == -np.mean(np.log(softmax(z)[0])[range(3), [0, 3, 1]])


def test_a_class_that_cannot_be_costs_nothing():
    z, labels = np.array([[2.0, 1.0, -np.inf]]), np.array([0])
    loss, pullback = softmax_cross_entropy(z, labels)
    due, pullback_due = softmax_cross_entropy(z[:, :2], labels)
    assert loss == due
    np.testing.assert_array_equal(pullback(), [[*pullback_due()[0], 0]])


def test_what_is_ignored_counts_for_nothing():
    z = np.random.default_rng(0).standard_normal((4, 3))
    z[1] = [np.inf, -np.inf, 0]
    labels, kept = np.array([2, -100, 0, -100]), [0, 2]
    for reduction in ("mean", "sum"):
        options = {"label_smoothing": 0.1, "reduction": reduction}
        due, pullback_due = softmax_cross_entropy(z[kept], labels[kept], **options)
        with np.errstate(invalid="ignore"):  # ∞ − ∞ in the row that is ignored
            loss, pullback = softmax_cross_entropy(z, labels, ignore_index=-100, **options)
        np.testing.assert_allclose(loss, due)
        np.testing.assert_allclose(pullback(2.0)[kept], pullback_due(2.0))
        assert not pullback()[3].any()
    with pytest.raises(ValueError, match="0 … 2; found -100 … 2"):
        softmax_cross_entropy(z, labels, ignore_index=255)
    with pytest.raises(ValueError, match="0 … 2; found 0 … 3"):
        softmax_cross_entropy(z, np.array([-100, 3, 0, 1]), ignore_index=-100)


def test_without_anything_to_count_there_is_a_sum_and_no_mean():
    z, labels = np.ones((2, 3)), np.array([1, 1])
    for options in ({"ignore_index": 1}, {"weight": np.array([1.0, 0.0, 1.0])}):
        with pytest.raises(ValueError, match="no mean over an empty batch, nor over images that are all ignored or of"):
            softmax_cross_entropy(z, labels, **options)
        loss, pullback = softmax_cross_entropy(z, labels, reduction="sum", **options)
        assert loss == 0 and not pullback().any()


def test_an_empty_batch_has_no_mean_on_any_device():
    with fake_cupy.installed() as cupy, pytest.raises(ValueError, match="no mean over an empty batch"):
        softmax_cross_entropy(cupy.asarray(np.ones((0, 3))), cupy.asarray(np.zeros(0, int)))


def test_a_weight_multiplies_its_class():
    z, labels = np.random.default_rng(0).standard_normal((3, 2)), np.array([0, 1, 1])
    plain, pullback = softmax_cross_entropy(z, labels, reduction="none")
    loss, weighted = softmax_cross_entropy(z, labels, np.array([1.0, 3.0]), reduction="none")
    np.testing.assert_allclose(loss, plain * [1, 3, 3])
    dy = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(weighted(dy), pullback(dy * [1, 3, 3]))
    mean, _ = softmax_cross_entropy(z, labels, np.array([1.0, 3.0]))
    np.testing.assert_allclose(mean, loss.sum() / 7)


@pytest.mark.parametrize("weight", [np.ones(2), np.ones((3, 1)), np.ones((1, 3))])
def test_there_is_one_weight_a_class(weight):
    with pytest.raises(ValueError, match="weight must hold one number for each of the 3 classes"):
        softmax_cross_entropy(np.ones((3, 3)), np.array([0, 1, 2]), weight)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_softmax_of_huge_scores(dtype):
    z = np.array([[1e4, 0], [-1e4, -1e4], [0, -np.inf]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y, pullback = log_softmax(z)
        dz = pullback(np.ones_like(z))
    np.testing.assert_allclose(y, [[0, -1e4], [-np.log(2), -np.log(2)], [0, -np.inf]])
    np.testing.assert_allclose(dz, [[-1, 1], [0, 0], [-1, 1]])


@pytest.mark.parametrize(
    "logits, labels, error, message",
    [
        (np.zeros((2, 3)), np.array([0, 3]), ValueError, "0 … 2; found 0 … 3"),
        (np.zeros((2, 3)), np.array([-1, 2]), ValueError, "0 … 2; found -1 … 2"),
        (np.zeros((0, 3)), np.zeros(0, int), ValueError, "no mean over an empty batch"),
        (np.zeros((2, 3)), np.array([0]), ValueError, r"logits \(N, K\) and labels \(N,\)"),
        (np.zeros((2, 3)), np.array([[0], [1]]), ValueError, r"logits \(N, K\) and labels \(N,\)"),
        (np.zeros((2, 3, 1)), np.array([0, 1]), ValueError, r"logits \(N, K\) and labels \(N,\)"),
        (np.zeros((2, 3)), np.array([0.0, 1.0]), TypeError, "float64 is no integer type"),
        (np.zeros((2, 3)), np.array([True, False]), TypeError, "bool is no integer type"),
        (np.zeros((2, 3), int), np.array([0, 1]), TypeError, "logits is int64"),
    ],
)
def test_bad_labels_raise(logits, labels, error, message):
    with pytest.raises(error, match=message):
        softmax_cross_entropy(logits, labels)


@pytest.mark.parametrize(
    "x, w, b",
    [
        ((3, 4), (5, 3), None),
        ((3, 4, 1), (5, 4), None),
        ((4,), (5, 4), None),
        ((3, 4), (4,), None),
        ((3, 4), (5, 4), (4,)),
        ((3, 4), (5, 4), (5, 1)),
    ],
)
def test_linear_shapes_that_do_not_fit_raise(x, w, b):
    with pytest.raises(ValueError, match=r"linear takes x \(N, D\), w \(M, D\) and b \(M,\)"):
        linear(np.ones(x), np.ones(w), None if b is None else np.ones(b))


@pytest.mark.parametrize("x, s", [((2, 3, 4), (2, 3)), ((2, 3, 4, 5), (2, 4)), ((2, 3, 4, 5), (2, 3, 1, 1))])
def test_gates_that_do_not_fit_raise(x, s):
    with pytest.raises(ValueError, match=r"scale_channels takes x \(N, C, H, W\) and s \(N, C\)"):
        scale_channels(np.ones(x), np.ones(s))


def test_pads_and_strides_that_cannot_be_raise():
    x = np.ones((1, 2, 3, 4))
    with pytest.raises(ValueError, match="padding must be at least 0, not -1"):
        zero_pad2d(x, -1)
    with pytest.raises(ValueError, match="pair"):
        subsample(x, (1, 2, 3))
    with pytest.raises(ValueError, match="stride must be at least 1, not 0"):
        subsample(x, 0)
    with pytest.raises(ValueError, match="before must be at least 0, not -3"):
        zero_pad_channels(x, -3, 0)


@pytest.mark.parametrize("value", [-np.inf, np.inf, 7, np.float64(0.1), np.float32(-0.5)])
def test_a_frame_of_any_value(value):
    x = np.ones((1, 1, 1, 2), np.float32)
    y, pullback = constant_pad2d(x, ((1, 0), (0, 1)), value=value)
    np.testing.assert_array_equal(y[0, 0], np.array([[value] * 3, [1, 1, value]], np.float32))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(pullback(np.arange(6, dtype=np.float32).reshape(y.shape))[0, 0], [[3, 4]])


def test_subsample_is_a_view_and_sends_zero_to_what_it_left_out():
    x = np.arange(30.0).reshape(1, 1, 5, 6)
    y, pullback = subsample(x, 2)
    assert np.shares_memory(x, y) and y.shape == (1, 1, 3, 3)
    dx = pullback(np.ones_like(y))
    assert dx.sum() == 9 and (dx[0, 0, ::2, ::2] == 1).all()
