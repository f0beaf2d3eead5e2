"""Law 5 for the training kernels, at shapes that they take: values, gradients, extras, strides, what they save."""

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet import create_model, ops
from npresnet.backend import use
from npresnet.kernels.cpu.activation import add_numba, relu_numba
from npresnet.kernels.cpu.arrays import IDLE, empty, give_back
from npresnet.kernels.cpu.codegen.vector import LANES
from npresnet.kernels.cpu.conv.op import conv2d_numba
from npresnet.kernels.cpu.norm import (
    batch_norm_add_relu_numba,
    batch_norm_relu_conv2d_numba,
    batch_norm_relu_numba,
    batch_norm_train_numba,
)
from npresnet.kernels.cpu.optimizer import momentum_step_numba
from npresnet.kernels.cpu.pooling import max_pool2d_numba

from ..support import laws

C, F = 2 * LANES, 5 * LANES
DIRECT, WINOGRAD = 3e-6, 2e-5           # the largest error, as a part of the largest value


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def in_order(x, order):
    """The same images with another order in memory, read-only."""
    if order == "channels last":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    elif order == "a slice":
        wide = np.zeros((*x.shape[:3], 2 * x.shape[3]), x.dtype)
        wide[..., ::2] = x
        x = wide[..., ::2]
    else:
        x = x.copy()
    x.flags.writeable = False
    return x


def close(got, wanted, bound):
    assert got.dtype == np.float32 and got.shape == wanted.shape
    assert abs(got - wanted).max() <= bound * abs(wanted).max()


def double(*arrays):
    return [None if a is None else a.astype(np.float64) for a in arrays]


ORDERS = ["channels first", "channels last", "a slice"]
CONVOLUTIONS = [  # channels, filters, kernel, stride, padding, height, width, biased, bound
    (C, F, 1, 1, 0, 7, 9, True, DIRECT), (C, F, 1, 2, 0, 7, 8, False, DIRECT), (C, F, 1, 1, 1, 5, 6, False, DIRECT),
    (C, F, 3, 1, 1, 9, 13, True, WINOGRAD), (C, F, 3, 1, 0, 9, 6, False, WINOGRAD),
    (C, F, 3, 1, ((0, 2), (3, 1)), 7, 9, False, WINOGRAD), (C, F, 3, 2, 1, 10, 9, False, WINOGRAD),
    (C, C, 3, 2, 1, 9, 12, True, WINOGRAD), (3, F, 7, 2, 3, 21, 24, False, DIRECT),
    (3, LANES, 3, 1, 1, 9, 9, True, DIRECT), (C, C, (3, 2), (2, 3), 1, 9, 8, True, DIRECT),
    (C, C, 5, 2, 0, 12, 11, False, DIRECT), (C, C, 2, 1, 3, 4, 5, False, DIRECT),
    (LANES, C, 3, 1, 1, 10, 16, True, DIRECT), (C, LANES, 3, 1, 1, 3, 30, False, DIRECT),
    (LANES, LANES, 3, 1, ((0, 2), (3, 1)), 9, 30, True, DIRECT), (C, 4 * LANES, 2, 3, 1, 8, 9, False, DIRECT),
]


@pytest.mark.parametrize("c, f, kernel, stride, padding, h, w, biased, bound", CONVOLUTIONS)
@pytest.mark.parametrize("order", ORDERS)
def test_conv2d(c, f, kernel, stride, padding, h, w, biased, bound, order):
    x, filters = random(3, c, h, w), random(f, c, *ops.window.pair(kernel), seed=1)
    b = random(f) if biased else None
    xd, wd, bd = double(x, filters, b)
    wanted, wanted_pullback = ops.conv2d.reference(xd, wd, bd, stride=stride, padding=padding)
    y, pullback = conv2d_numba(in_order(x, order), filters, b, stride=stride, padding=padding)
    close(y, wanted, bound)
    dy = random(*wanted.shape, seed=2)
    for got, expected in zip(pullback(in_order(dy, order)), wanted_pullback(dy.astype(np.float64)), strict=True):
        if expected is not None:
            close(got, expected, bound)


def test_conv2d_keeps_channels_last_strides_and_saves_its_arguments():
    x, w = random(2, C, 6, 6), random(F, C, 3, 3)
    y, pullback = conv2d_numba(x, w, padding=1)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    assert {name for name, _ in laws.held_arrays(pullback)} == {"x", "w"} == laws.declared(conv2d_numba)
    assert pullback(y, skip={"x", "w", "b"}) == (None, None, None)


NORMS = [("batch_norm_train", batch_norm_train_numba), ("batch_norm_relu", batch_norm_relu_numba),
         ("batch_norm_add_relu", batch_norm_add_relu_numba)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name, kernel", NORMS)
@pytest.mark.parametrize("mean, c", [(0, C), (300, C), (0, 3), (0, 608)])      # 608 floats: a pixel longer than a line
def test_batch_norm(order, name, kernel, mean, c):
    x, gamma, beta = random(4, c, 9, 11) * 2 + np.float32(mean), random(c), random(c, seed=1)
    others = [random(*x.shape, seed=2)] if "add" in name else []
    wanted, wanted_pullback, wanted_extras = getattr(ops, name).reference(*double(x, gamma, beta, *others), eps=1e-5)
    y, pullback, extras = kernel(in_order(x, order), gamma, beta, *[in_order(s, order) for s in others], eps=1e-5)
    bound = 1e-6 * (1 + mean / 20)             # x itself is known to mean · 6e-8
    close(y, wanted, bound)
    for got, expected in zip(extras, wanted_extras, strict=True):
        close(got, expected, 1e-6)
    dy = random(*x.shape, seed=3)
    if name != "batch_norm_train":             # off the kink, whose side rounding decides
        dy[abs(wanted) <= bound * abs(wanted).max()] = 0
    for got, expected in zip(pullback(in_order(dy, order)), wanted_pullback(dy.astype(np.float64)), strict=True):
        close(got, expected, bound)
    if c % LANES == 0:
        assert {name for name, _ in laws.held_arrays(pullback)} == laws.declared(kernel)


@pytest.mark.parametrize("name, kernel", NORMS[1:])
def test_a_fused_norm_gives_the_bits_of_its_parts(name, kernel):
    x, gamma, beta, s = random(4, C, 6, 7), random(C), random(C, seed=1), random(4, C, 6, 7, seed=2)
    others = [s] if "add" in name else []
    z = batch_norm_train_numba(x, gamma, beta, eps=1e-5)[0]
    np.testing.assert_array_equal(kernel(x, gamma, beta, *others, eps=1e-5)[0], np.maximum(sum(others, z), 0))


L = LANES
BENT = [(L, L, 3, 1, 1, 9, 32), (L, 2 * L, 3, 1, ((2, 0), (0, 1)), 20, 17), (2 * L, L, 3, 1, 0, 37, 34),
        (2 * L, 2 * L, 3, 1, 1, 16, 16), (C, C, 3, 1, 1, 9, 5), (C, F, 3, 1, 1, 9, 13), (4 * L, F, 3, 1, 1, 8, 8),
        (C, F, 3, 2, 1, 10, 9), (C, F, 1, 1, 0, 7, 9), (C, F, 1, 2, 0, 7, 8)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("c, f, kernel, stride, padding, h, w", BENT)
def test_a_convolution_behind_a_fused_norm(c, f, kernel, stride, padding, h, w, order):
    x, gamma, beta, filters = random(3, c, h, w), random(c), random(c, seed=1), random(f, c, kernel, kernel, seed=2)
    b, static = random(f) if kernel == 1 else None, {"stride": stride, "padding": padding}
    z, norm_pullback, moments = batch_norm_relu_numba(x, gamma, beta, eps=1e-5)
    wanted, conv_pullback = conv2d_numba(z, filters, b, **static)
    y, pullback, extras = batch_norm_relu_conv2d_numba(in_order(x, order), gamma, beta, filters, b, eps=1e-5, **static)
    np.testing.assert_array_equal(y, wanted)
    np.testing.assert_array_equal(extras, moments)
    dy = random(*y.shape, seed=3)
    dz, dw, db = conv_pullback(dy)
    assert {name for name, _ in laws.held_arrays(pullback)} == laws.declared(batch_norm_relu_conv2d_numba)
    for got, expected in zip(pullback(in_order(dy, order)), (*norm_pullback(dz), dw, db), strict=True):
        if expected is not None:
            close(got, expected, 1e-6)
    _, pullback, _ = batch_norm_relu_conv2d_numba(x, gamma, beta, filters, b, eps=1e-5, **static)
    assert pullback(dy, skip={"x", "gamma", "beta", "w", "b"}) == (None,) * 5


def test_a_block_of_memory_serves_one_array_at_a_time():
    first = empty((3, 50_000))
    part, where = first[1:], first.ctypes.data
    del first
    second = empty((3, 50_000))
    assert not np.shares_memory(part, second) and second.ctypes.data % 64 == 0     # a view keeps its block
    del part
    assert empty((50_000, 3)).ctypes.data == where                                 # and gives it back at its end
    for _ in range(2 * IDLE):
        empty(5)
    assert not memory_held(600_000)


def test_idle_blocks_are_given_back_when_asked():
    empty((3, 50_000))
    assert memory_held(600_000)
    give_back()
    assert not memory_held(0)


def test_arrays_of_many_sizes_leave_no_more_than_was_in_use_at_once():
    give_back()
    sizes = np.random.default_rng(0).integers(1 << 12, 1 << 18, (100, 5))
    held = []
    for some in sizes:
        arrays = [empty(int(size)) for size in some]
        del arrays
        held.append(bytes_held())
    assert max(held) <= 2 * 4 * max(sum(some) for some in sizes) < 4 * sizes.sum() / 10
    blocks = {array.ctypes.data for array in [empty(int(size)) for size in sizes[-1]]}
    assert {array.ctypes.data for array in [empty(int(size)) for size in sizes[-1]]} == blocks    # the last are there
    give_back()


def bytes_held():
    from npresnet.kernels.cpu import arrays as memory
    return sum(size * len(blocks) for size, blocks in memory._free.items())


def memory_held(size):
    from npresnet.kernels.cpu import arrays as memory
    return sum(len(blocks) for bytes_, blocks in memory._free.items() if bytes_ >= size)


@pytest.mark.parametrize("order", ORDERS)
def test_relu(order):
    x = random(3, C, 5, 7)
    x[0, 0, 0, :3] = np.nan, -np.inf, 0
    wanted, wanted_pullback = ops.relu.reference(x)
    y, pullback = relu_numba(in_order(x, order))
    np.testing.assert_array_equal(y, wanted)
    dy = random(*x.shape, seed=1)
    for cotangent in ORDERS:
        np.testing.assert_array_equal(pullback(in_order(dy, cotangent)), wanted_pullback(dy))


@pytest.mark.parametrize("first", ORDERS)
@pytest.mark.parametrize("second", ORDERS)
def test_add(first, second):
    a, b = random(3, C, 5, 7), random(3, C, 5, 7, seed=1)
    y, pullback = add_numba(in_order(a, first), in_order(b, second))
    np.testing.assert_array_equal(y, a + b)
    assert all(d is a for d in pullback(a))


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("shape", [(5, 7), (70, 4, 9, 9)])
def test_momentum_step(shape, nesterov):
    w, g, v = (random(*shape, seed=seed) for seed in range(3))
    static = {"momentum": 0.9, "nesterov": nesterov, "decay": 1e-2}
    for before in (v, None):
        found = momentum_step_numba(w, g, before, 0.1, **static)
        for got, wanted in zip(found, ops.momentum_step.reference(w, g, before, 0.1, **static), strict=True):
            close(got, wanted, 3e-7)


POOLS = [(3, 2, 1), (2, 2, 0), (3, 1, 1), ((3, 2), (2, 1), (1, 0)), (3, 3, ((0, 1), (1, 0)))]


@pytest.mark.parametrize("kernel, stride, padding", POOLS)
@pytest.mark.parametrize("order", ORDERS)
def test_max_pool(kernel, stride, padding, order):
    x = np.round(random(3, C, 9, 10) * 2)                       # many ties: the first wins
    x[0, 1, 2, 2] = np.nan
    wanted, wanted_pullback = ops.max_pool2d.reference(x, kernel, stride=stride, padding=padding)
    y, pullback = max_pool2d_numba(in_order(x, order), kernel, stride=stride, padding=padding)
    np.testing.assert_array_equal(y, wanted)
    dy = random(*y.shape, seed=1)
    np.testing.assert_allclose(pullback(in_order(dy, order)), wanted_pullback(dy), atol=1e-5)


@pytest.mark.parametrize("name, size", [("resnet20", 32), ("resnet18", 64), ("resnet50", 64)])
def test_a_whole_network_has_the_references_gradients(name, size):
    x = random(4, 3, size, size)
    found = []
    for backend in ("numba", "numpy"):
        model = create_model(name, num_classes=10).train()
        with use(backend):
            y, pullback = model.vjp(x, input_grad=False)
            pullback(random(*y.shape, seed=4) / 4)
        found.append((y, {key: box.grad for key, box in model.named_parameters()}))
    close(found[0][0], found[1][0], 1e-3)
    for key, grad in found[1][1].items():
        difference = np.linalg.norm(found[0][1][key] - grad) / np.linalg.norm(grad)
        assert difference < 0.1, key             # rounding moves a few values over the kinks of ReLU; a fault gives 1
