"""Quantization and the ops on integers: bit for bit against loops, against PyTorch, and at the ends of the range."""

import numpy as np
import pytest

from npresnet import ops
from npresnet.ops import Quantized

from ..support import integer_loops as loops
from ..support import oracles

WHOLE = (0, 255)


def locked(*arrays):
    for a in arrays:
        a.flags.writeable = False
    return arrays


# --- the real line ----------------------------------------------------------------------------------------------------


def test_halves_go_to_the_even_level_and_the_ends_saturate():
    x = np.array([-9, -1, -0.5, 0.5, 1.5, 2.5, 9], np.float32)
    np.testing.assert_array_equal(ops.quantize(x, 1.0, 3, levels=(0, 7)), np.array([0, 2, 2, 4, 4, 6, 7], np.uint8))
    signed = ops.quantize(x, 1.0, levels=(-2, 2))
    assert signed.dtype == np.int8 and signed.tolist() == [-2, -1, 0, 0, 2, 2, 2]


def test_what_is_not_finite_has_a_level():
    x = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38], np.float32)
    with np.errstate(over="ignore"):
        assert ops.quantize(x, 1e-3, 7).tolist() == [0, 255, 0, 255, 0]


@pytest.mark.parametrize("zero_point", [0, 1, 127, 255])
def test_the_real_zero_and_every_level_come_back(zero_point):
    q = np.arange(256, dtype=np.uint8)
    for scale in (1e-6, 0.1, 0.037, 1.0, 3.3e4):
        r = ops.dequantize(q, scale, zero_point)
        assert r[zero_point] == 0 and r.dtype == np.float32
        np.testing.assert_array_equal(ops.quantize(r, scale, zero_point), q)


def test_a_scale_for_each_channel():
    (x,) = locked(np.random.default_rng(0).standard_normal((4, 3, 2, 2)).astype(np.float32))
    scale = np.array([0.01, 0.02, 0.04, 1.0], np.float32)[:, None, None, None]
    q = ops.quantize(x, scale, levels=(-127, 127))
    for i in range(4):
        np.testing.assert_array_equal(q[i], ops.quantize(x[i], float(scale[i, 0, 0, 0]), levels=(-127, 127)))
    assert q.min() == -127 and (np.abs(q[3]) < 5).all()


@pytest.mark.parametrize("levels", [(0, 127), WHOLE, (-127, 127)])
def test_quantize_equals_its_loop(levels):
    rng = np.random.default_rng(1)
    for zero_point in (max(levels[0], 0), 60, levels[1]):
        x, scale = rng.standard_normal(500).astype(np.float32), float(np.float32(10 ** rng.uniform(-3, 0)))
        halves = (np.arange(-50, 50) + np.float32(0.5)) * np.float32(scale)
        x = np.concatenate([x, halves]).astype(np.float32)
        due = [loops.to_level(v, scale, zero_point, levels) for v in x]
        np.testing.assert_array_equal(ops.quantize(x, scale, zero_point, levels=levels), due)


def test_wrong_arguments_are_named():
    x = np.zeros(2, np.float32)
    for wrong in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="scale must be positive"):
            ops.quantize(x, wrong)
    with pytest.raises(ValueError, match="zero point must be a level"):
        ops.quantize(x, 1.0, 128, levels=(0, 127))
    with pytest.raises(ValueError, match="levels must lie in"):
        ops.quantize(x, 1.0, levels=(-1, 255))
    with pytest.raises(TypeError, match="floating-point"):
        ops.quantize(np.zeros(2, int), 1.0)


# --- training through the stairs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fake_quantization_is_there_and_back_and_its_pullback_straight_through(dtype):
    rng = np.random.default_rng(2)
    x, dy = locked(*(rng.standard_normal((4, 8, 5, 5)).astype(dtype) for _ in range(2)))
    y, pullback = ops.fake_quantize(x, 0.05, 20, levels=(0, 40))
    q = ops.quantize(x, 0.05, 20, levels=(0, 40))
    np.testing.assert_array_equal(y, ops.dequantize(q, 0.05, 20, dtype=dtype))
    assert y.dtype == dtype and len(np.unique(y)) == 41
    inside = (x > -1.02) & (x < 1.02)
    edge = np.abs(np.abs(x) - 1) < 0.03
    dx = pullback(dy)
    assert dx.dtype == dtype and 0 < inside.mean() < 1
    np.testing.assert_array_equal(dx[~edge], np.where(inside, dy, 0)[~edge])
    np.testing.assert_array_equal(pullback(dy), dx)


def test_the_straight_line_is_the_adjoint_of_the_clamp():
    """<u, Jv> = <J'u, v> for the map that the pullback stands for, x clamped to what the levels can say."""
    rng = np.random.default_rng(3)
    x, u, v = (rng.standard_normal(200) for _ in range(3))
    s, z, (first, last) = 0.05, 20, (0, 40)
    low, high = s * (first - z - 0.5), s * (last - z + 0.5)  # rounding lets half a level more in
    h = 1e-7
    jv = (np.clip(x + h * v, low, high) - np.clip(x - h * v, low, high)) / (2 * h)
    _, pullback = ops.fake_quantize(x, s, z, levels=(first, last))
    assert abs(u @ jv - pullback(u) @ v) <= 1e-6 * np.linalg.norm(u) * np.linalg.norm(jv)
    assert np.count_nonzero(pullback(u)) not in (0, len(x))


def test_pytorch_fakes_alike():
    torch = oracles.torch()
    rng = np.random.default_rng(4)
    x, dy = (rng.standard_normal((3, 4, 5, 5)).astype(np.float32) for _ in range(2))
    there = torch.tensor(x, requires_grad=True)
    due = torch.fake_quantize_per_tensor_affine(there, 0.013, 100, 0, 255)
    due.backward(torch.tensor(dy))
    y, pullback = ops.fake_quantize(x, 0.013, 100)
    np.testing.assert_allclose(y, due.detach().numpy(), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(pullback(dy), there.grad.numpy())
    scale = rng.uniform(0.005, 0.02, 3).astype(np.float32)
    there = torch.tensor(x, requires_grad=True)
    due = torch.fake_quantize_per_channel_affine(
        there, torch.tensor(scale), torch.zeros(3, dtype=torch.int32), 0, -127, 127
    )
    due.backward(torch.tensor(dy))
    y, pullback = ops.fake_quantize(x, scale[:, None, None, None], levels=(-127, 127))
    np.testing.assert_allclose(y, due.detach().numpy(), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(pullback(dy), there.grad.numpy())


def test_pytorch_quantizes_to_the_same_integers():
    torch = oracles.torch()
    rng = np.random.default_rng(5)
    for scale, zero_point in ((0.02, 128), (0.013, 0), (0.11, 255), (0.08729080110788345, 66)):
        halves = (rng.integers(-300, 300, 100_000) + 0.5) * scale * (1 + rng.integers(-6, 7, 100_000) * 6e-8)
        x = np.concatenate([3 * rng.standard_normal(10_000), halves]).astype(np.float32)  # all that rounding can do
        due = torch.quantize_per_tensor(torch.tensor(x), scale, zero_point, torch.quint8).int_repr().numpy()
        np.testing.assert_array_equal(ops.quantize(x, scale, zero_point), due)


# --- layers on integers -----------------------------------------------------------------------------------------------


def ends(rng):
    """A zero point, often at an end of the range."""
    return int(rng.choice([0, 255, rng.integers(1, 255)]))


def integers(rng, shape, dtype=np.uint8):
    """Random integers of 8 bits, sometimes only the two ends."""
    info = np.iinfo(dtype)
    if rng.random() < 0.3:
        return rng.choice(np.array([info.min, info.max], dtype), shape)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def random_convolution(rng):
    groups = int(rng.integers(1, 4))
    c, f = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    kernel = tuple(map(int, rng.integers(1, 4, 2)))
    x = integers(rng, (int(rng.integers(1, 3)), c, *map(int, rng.integers(3, 6, 2))))
    w = integers(rng, (f, c // groups, *kernel), np.int8)
    static = {"stride": int(rng.integers(1, 3)), "padding": int(rng.integers(0, 2)), "groups": groups}
    return x, w, {**static, "zero_point": ends(rng)}


def check_random_layer(rng):
    """A convolution, a requantization, a sum and a mean, each equal to its loop in every bit."""
    x, w, static = random_convolution(rng)
    a = ops.integer_conv2d(*locked(x, w), **static)
    np.testing.assert_array_equal(a, loops.conv2d(x, w, **static))
    assert a.dtype == np.int32

    f, zero_point = len(w), ends(rng)
    levels = (zero_point, 255) if rng.random() < 0.5 and zero_point < 255 else WHOLE
    spread = 127 / max(1, np.abs(a).max())
    multiplier = (spread * 2 ** rng.uniform(-2, 2, f)).astype(np.float32)
    bias = (rng.standard_normal(f) / spread * 50).astype(np.float32)
    q = ops.requantize(*locked(a, multiplier, bias), zero_point=zero_point, levels=levels)
    due = [loops.requantize(a[i], multiplier[i[1]], bias[i[1]], zero_point, levels) for i in np.ndindex(*a.shape)]
    np.testing.assert_array_equal(q, np.reshape(due, a.shape))
    assert q.dtype == np.uint8

    other = integers(rng, q.shape)
    scales = [float(np.float32(2 ** rng.uniform(-8, 2))) for _ in range(3)]
    zeros = (ends(rng), ends(rng), zero_point)
    total = ops.quantized_add(
        Quantized(q, scales[0], zeros[0]),
        Quantized(other, scales[1], zeros[1]),
        scale=scales[2],
        zero_point=zero_point,
        levels=levels,
    )
    np.testing.assert_array_equal(total.q, loops.add(q, other, scales, zeros, levels))
    np.testing.assert_array_equal(ops.quantized_mean(Quantized(q, 1.0, zeros[0])).q, loops.mean(q, zeros[0]))


def test_random_layers_equal_their_loops_bit_for_bit():
    rng = np.random.default_rng(6)
    for _ in range(150):
        check_random_layer(rng)


@pytest.mark.slow
def test_ten_thousand_random_layers_equal_their_loops_bit_for_bit():
    rng = np.random.default_rng(7)
    for _ in range(10_000):
        check_random_layer(rng)


def test_dilation_and_a_padding_of_its_own_for_each_side():
    rng = np.random.default_rng(8)
    x, w = integers(rng, (2, 3, 8, 9)), integers(rng, (4, 3, 3, 2), np.int8)
    static = {"stride": (2, 1), "padding": ((0, 1), (2, 3)), "dilation": (2, 3), "zero_point": 200}
    np.testing.assert_array_equal(ops.integer_conv2d(x, w, **static), loops.conv2d(x, w, **static))


def test_linear_equals_its_loop():
    rng = np.random.default_rng(9)
    for zero_point in (0, 13, 255):
        x, w = integers(rng, (3, 40)), integers(rng, (5, 40), np.int8)
        a = ops.integer_linear(*locked(x, w), zero_point=zero_point)
        np.testing.assert_array_equal(a, loops.linear(x, w, zero_point=zero_point))
        assert a.dtype == np.int32


def test_the_largest_sum_fits_and_a_larger_one_is_refused():
    most = (2**31 - 1) // (255 * 128)
    x, w = np.full((1, most), 255, np.uint8), np.full((1, most), -128, np.int8)
    assert ops.integer_linear(x, w).item() == -255 * 128 * most
    with pytest.raises(ValueError, match="may not fit 32 bits"):
        ops.integer_linear(np.ones((1, most + 1), np.uint8), np.ones((1, most + 1), np.int8))
    with pytest.raises(TypeError, match="uint8 images and int8 weights"):
        ops.integer_linear(w, w)


def test_pooling_and_relu_keep_the_scale():
    rng = np.random.default_rng(10)
    (q,) = locked(integers(rng, (2, 3, 7, 6)))
    for zero_point in (0, 255, 100):
        x = Quantized(q, 0.25, zero_point)
        pooled = ops.quantized_max_pool2d(x, 3, stride=2, padding=1)
        np.testing.assert_array_equal(pooled.q, loops.max_pool2d(q, 3, 2, 1))
        assert pooled[1:] == (0.25, zero_point) and pooled.q.dtype == np.uint8
        np.testing.assert_array_equal(ops.quantized_relu(x).q, np.maximum(q, zero_point))
        whole = ops.quantized_avg_pool2d(x, (7, 6), stride=1)
        assert np.abs(whole.q[..., 0, 0].astype(int) - ops.quantized_mean(x).q).max() <= 1  # two ways to halve


def test_a_real_layer_is_its_integers_to_within_half_a_step():
    """The two sides of the equation at the top of ops/quantized.py."""
    rng = np.random.default_rng(11)
    x, w = Quantized(integers(rng, (2, 3, 6, 6)), 0.02, 31), integers(rng, (4, 3, 3, 3), np.int8)
    s_w = rng.uniform(0.001, 0.01, 4).astype(np.float32)
    bias = rng.standard_normal(4).astype(np.float32)
    real, _ = ops.conv2d(
        ops.dequantize(*x, dtype="float64"),
        w * s_w[:, None, None, None].astype(np.float64),
        bias.astype(float),
        padding=1,
    )
    s_y = float(np.abs(real).max() / 127)
    a = ops.integer_conv2d(x.q, w, zero_point=31, padding=1)
    y = ops.requantize(a, s_w * 0.02 / s_y, bias / (s_w * 0.02), zero_point=128)
    assert np.abs(ops.dequantize(y, s_y, 128) - real).max() <= 0.5001 * s_y


def test_two_paths_of_two_shapes_are_refused():
    x = Quantized(np.zeros((1, 2, 3, 3), np.uint8), 1.0)
    with pytest.raises(ValueError, match="one shape"):
        ops.quantized_add(x, x._replace(q=x.q[:, :1]), scale=1.0)
