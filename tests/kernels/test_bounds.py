"""No kernel reads or writes beside its arrays: each lies between walls, see :mod:`.walls`."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from npresnet import ops, use

ROOT = Path(__file__).parents[2]
SIZES = [(1, 1), (2, 3), (7, 7), (9, 8), (17, 15), (16, 16), (33, 30), (4, 40)]
rng = np.random.default_rng(0)


@pytest.fixture
def walled():
    """Walls around every array that a kernel asks for; called, it looks whether they stand."""
    pytest.importorskip("numba")
    from ..support.walls import build, pull_down

    walls, before = build()

    def stand():
        assert walls.made, "no kernel has run"
        walls.stand()

    with use("numba"):
        yield stand
    pull_down(before)


def ordered(a, last):
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if last else a


def off_the_kink(draw, gamma, beta, s=0):
    """Images whose normalized values lie so far from 0 that rounding cannot decide which way a ReLU goes."""
    while True:
        x = draw()
        with use("numpy"):
            z = ops.batch_norm_train(x, gamma, beta, eps=1e-5)[0] + s
        if abs(z).min() > 2e-6:
            return x


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
        same([y, *gradients], [y_due, *pullback_due(dy)[:2]], 5e-5)  # Winograd's dW, of few tiles


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
@pytest.mark.parametrize("size", SIZES[1:], ids=str)
@pytest.mark.parametrize(
    "c, f, kernel, stride", [(16, 16, 3, 1), (16, 32, 3, 1), (32, 16, 3, 2), (64, 64, 3, 1), (32, 64, 1, 1)]
)
def test_convolutions_behind_a_batch_norm(walled, c, f, kernel, stride, size, last):
    w, vectors = rng.standard_normal((f, c, kernel, kernel), np.float32), rng.standard_normal((2, c), np.float32)
    x = off_the_kink(lambda: rng.standard_normal((2, c, *size), np.float32), *vectors)
    how = {"eps": 1e-5, "stride": stride, "padding": kernel // 2}
    y, pullback, _ = ops.batch_norm_relu_conv2d(ordered(x, last), *vectors, w, **how)
    dy = rng.standard_normal(y.shape, np.float32)
    gradients = pullback(ordered(dy, last))[:4]
    walled()
    with use("numpy"):
        y_due, pullback_due, _ = ops.batch_norm_relu_conv2d(x, *vectors, w, **how)
        same([y, *gradients], [y_due, *pullback_due(dy)[:4]], 1e-4)


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
@pytest.mark.parametrize("size", SIZES[1:], ids=str)
@pytest.mark.parametrize(
    "op, c",
    [
        ("batch_norm_relu", 16),
        ("batch_norm_relu", 48),
        ("batch_norm_add_relu", 16),
        ("batch_norm_add_relu", 100),
        ("batch_norm_train", 64),
    ],
)
def test_batch_norms(walled, op, c, size, last):
    s, dy = rng.standard_normal((2, 2, c, *size), np.float32)
    vectors = list(rng.standard_normal((2, c), np.float32))
    x = off_the_kink(lambda: rng.standard_normal((2, c, *size), np.float32), *vectors, s * ("add" in op))
    images = [x, s][: 1 + ("add" in op)]
    y, pullback, _ = getattr(ops, op)(ordered(x, last), *vectors, *(ordered(a, last) for a in images[1:]), eps=1e-5)
    gradients = pullback(ordered(dy, last))
    if c % 16 == 0:  # others by the reference
        walled()
    with use("numpy"):
        y_due, pullback_due, _ = getattr(ops, op)(x, *vectors, *images[1:], eps=1e-5)
        same([y, *gradients], [y_due, *pullback_due(dy)], 1e-4)


@pytest.mark.parametrize("alive", [True, False])
@pytest.mark.parametrize("number", [1, 2], ids=["at the end of its pages", "at their beginning"])
def test_a_write_beside_an_array_is_found(number, alive):
    from ..support.walls import Walls

    walls = Walls()
    a = [walls.empty(3) for _ in range(number)][-1]
    walls.stand()
    np.lib.stride_tricks.as_strided(a, (4,))[3] = 1
    if not alive:
        del a
    with pytest.raises(AssertionError, match=r"\(3,\)"):
        walls.stand()


READS = """
import numpy as np
from tests.support.walls import Walls
walls = Walls()
a = walls.empty(16)
{}
"""


@pytest.mark.parametrize(
    "line",
    [
        "print(np.lib.stride_tricks.as_strided(a, (17,))[16])",  # beside it
        "import ctypes; at = a.ctypes.data; del a; print(ctypes.string_at(at, 1))",
    ],
)
def test_a_read_beside_or_after_an_array_ends_the_process(line):
    done = subprocess.run([sys.executable, "-c", READS.format(line)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode < 0 and done.stdout == "", done.stderr
