"""No kernel writes beside its arrays: each lies between two walls, which still stand afterwards."""

import sys
from math import prod

import numpy as np
import pytest

from npresnet import ops, use
from npresnet.backend import load_kernels

WALL, BRICK = 4096, 0xAB
SIZES = [(1, 1), (2, 3), (7, 7), (9, 8), (17, 15), (16, 16), (33, 30), (4, 40)]
rng = np.random.default_rng(0)


@pytest.fixture
def walled(monkeypatch):
    """Every array that a kernel asks for; called, it looks at their walls."""
    pytest.importorskip("numba")
    load_kernels("numba")
    from npresnet.kernels.cpu import memory
    made, plain = [], memory.empty

    def empty(shape, dtype=np.float32):
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        size = prod(shape) * np.dtype(dtype).itemsize
        around = np.full(size + 2 * WALL + memory.LINE, BRICK, np.uint8)
        start = WALL - (around.ctypes.data + WALL) % memory.LINE + memory.LINE
        made.append((around[:start], around[start + size:], shape))
        return around[start:start + size].view(dtype).reshape(shape)

    for name, module in list(sys.modules.items()):
        if name.startswith("npresnet.kernels.cpu.") and getattr(module, "empty", None) is plain:
            monkeypatch.setattr(module, "empty", empty)

    def stand():
        assert made, "no kernel has run"
        for before, after, shape in made:
            assert (before == BRICK).all() and (after == BRICK).all(), shape
        made.clear()

    with use("numba"):
        yield stand


def ordered(a, last):
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if last else a


def same(found, due, bound):
    for a, b in zip(found, due, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=bound * max(abs(b).max(), 1e-6))


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kernel, stride", [(1, 1), (3, 1), (3, 2), (1, 2)])
@pytest.mark.parametrize("c, f", [(3, 16), (16, 16), (16, 32), (32, 32), (64, 64), (32, 64)])
def test_convolutions(walled, c, f, kernel, stride, size, last):
    x, w = rng.standard_normal((2, c, *size), np.float32), rng.standard_normal((f, c, kernel, kernel), np.float32)
    how = {"stride": stride, "padding": kernel // 2}
    y, pullback = ops.conv2d(ordered(x, last), w, **how)
    dy = rng.standard_normal(y.shape, np.float32)
    gradients = pullback(ordered(dy, last))[:2]
    walled()
    with use("numpy"):
        y_due, pullback_due = ops.conv2d(x, w, **how)
        same([y, *gradients], [y_due, *pullback_due(dy)[:2]], 5e-5)           # Winograd's dW, of few tiles


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
@pytest.mark.parametrize("size", SIZES[1:], ids=str)
@pytest.mark.parametrize("c, f, kernel, stride", [(16, 16, 3, 1), (16, 32, 3, 1), (32, 16, 3, 2), (64, 64, 3, 1),
                                                  (32, 64, 1, 1)])
def test_convolutions_behind_a_batch_norm(walled, c, f, kernel, stride, size, last):
    x, w = rng.standard_normal((2, c, *size), np.float32), rng.standard_normal((f, c, kernel, kernel), np.float32)
    how = {"eps": 1e-5, "stride": stride, "padding": kernel // 2}
    vectors = rng.standard_normal((2, c), np.float32)
    y, pullback, _ = ops.batch_norm_relu_conv2d(ordered(x, last), *vectors, w, **how)
    dy = rng.standard_normal(y.shape, np.float32)
    gradients = pullback(ordered(dy, last))[:4]
    walled()
    with use("numpy"):
        y_due, pullback_due, _ = ops.batch_norm_relu_conv2d(x, *vectors, w, **how)
        same([y, *gradients], [y_due, *pullback_due(dy)[:4]], 1e-4)


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
@pytest.mark.parametrize("size", SIZES[1:], ids=str)
@pytest.mark.parametrize("op, c", [("batch_norm_relu", 16), ("batch_norm_relu", 48), ("batch_norm_add_relu", 16),
                                   ("batch_norm_add_relu", 100), ("batch_norm_train", 64)])
def test_batch_norms(walled, op, c, size, last):
    x, s, dy = rng.standard_normal((3, 2, c, *size), np.float32)
    images, vectors = [x, s][:1 + ("add" in op)], list(rng.standard_normal((2, c), np.float32))
    y, pullback, _ = getattr(ops, op)(ordered(x, last), *vectors, *(ordered(a, last) for a in images[1:]), eps=1e-5)
    gradients = pullback(ordered(dy, last))
    if c % 16 == 0:                                    # others by the reference
        walled()
    with use("numpy"):
        y_due, pullback_due, _ = getattr(ops, op)(x, *vectors, *images[1:], eps=1e-5)
        same([y, *gradients], [y_due, *pullback_due(dy)], 1e-4)
