"""What is particular to convolution: its two halves, its slices, and the shapes it refuses."""

import tracemalloc
from importlib import import_module

import numpy as np
import pytest

from npresnet.ops import Window, col2im, conv2d, im2col
from npresnet.ops.winograd import winograd_conv2d

from ..support import loops

conv_module = import_module("npresnet.ops.conv")
WINDOWS = [
    ((5, 4), Window.of(3, padding=1)),
    ((6, 7), Window.of((2, 3), stride=(2, 1), padding=((0, 1), (2, 0)))),
    ((8, 9), Window.of(3, stride=2, dilation=(2, 1))),
    ((4, 4), Window.of(1)),
]


@pytest.mark.parametrize("size, window", WINDOWS)
def test_im2col_gathers_what_each_output_sees(size, window):
    x = np.random.default_rng(0).standard_normal((2, 3, *size))
    cols = im2col(x, window)
    rows, columns = (loops.Axis(*axis) for axis in zip(size, *window))
    wanted = np.zeros((3, *window.kernel, 2, rows.outputs, columns.outputs))
    for c, n, p, q in np.ndindex(3, 2, rows.outputs, columns.outputs):
        for i, row in rows.taps(p):
            for j, col in columns.taps(q):
                wanted[c, i, j, n, p, q] = x[n, c, row, col]
    np.testing.assert_array_equal(cols, wanted)


@pytest.mark.parametrize("size, window", WINDOWS)
def test_col2im_is_im2cols_transpose(size, window):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, *size))
    cols = im2col(x, window)
    u = rng.standard_normal(cols.shape)
    back = col2im(u, x.shape, window)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(u, cols), np.vdot(back, x), rtol=1e-12)


def test_the_columns_of_a_large_batch_are_never_all_in_memory(monkeypatch):
    assert conv_module.WORKSPACE == 64 * 2**20
    x, w = np.ones((32, 8, 32, 32)), np.ones((4, 8, 3, 3))
    per_image = 8 * 9 * 32 * 32 * 8
    monkeypatch.setattr(conv_module, "WORKSPACE", 2 * per_image)
    tracemalloc.start()
    y, pullback = conv2d(x, w, padding=1)
    forward = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    pullback(y)
    backward = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert forward < y.nbytes + 4 * per_image  # 2 images of columns, and what gathers them; all: 32
    assert backward < 2 * y.nbytes + x.nbytes + 7 * per_image


@pytest.mark.parametrize(
    "workspace, lengths", [(1, [1, 1, 1, 1, 1]), (100, [1, 1, 1, 1, 1]), (250, [2, 2, 1]), (300, [3, 2]), (10**6, [5])]
)
def test_slices_fill_the_workspace(monkeypatch, workspace, lengths):
    monkeypatch.setattr(conv_module, "WORKSPACE", workspace)
    slices = conv_module._slices(5, 100)
    assert [len(range(5)[s]) for s in slices] == lengths
    assert [i for s in slices for i in range(5)[s]] == list(range(5))
    assert conv_module._slices(0, 100) == []


def test_slices_of_images_without_columns():
    assert conv_module._slices(3, 0) == [slice(0, conv_module.WORKSPACE)]


def test_what_the_workspace_counts(monkeypatch):
    asked = []
    monkeypatch.setattr(conv_module, "_slices", lambda n, size: asked.append((n, size)) or [slice(0, n)])
    conv2d(np.ones((2, 6, 5, 6), np.float32), np.ones((8, 3, 3, 2), np.float32), groups=2)
    assert asked == [(2, 6 * 3 * 2 * 3 * 5 * 4)]  # C·kh·kw rows, oh·ow columns, 4 bytes


@pytest.mark.parametrize(
    "x, w, b, groups, message",
    [
        ((3, 5, 5), (4, 3, 3, 3), None, 1, r"takes x \(N, C, H, W\)"),
        ((2, 3, 5, 5), (4, 27), None, 1, r"takes x \(N, C, H, W\)"),
        ((2, 3, 5, 5), (4, 2, 3, 3), None, 1, "expect 2 channels .* x has 3 channels"),
        ((2, 6, 5, 5), (4, 3, 3, 3), None, 1, "expect 3 channels"),
        ((2, 6, 5, 5), (4, 2, 3, 3), None, 0, "groups must be at least 1, not 0"),
        ((2, 0, 5, 5), (4, 0, 3, 3), None, 0, "groups must be at least 1, not 0"),
        ((2, 6, 5, 5), (4, 2, 3, 3), None, 3, "divide by the groups"),
        ((2, 3, 5, 5), (4, 3, 3, 3), (3,), 1, "one bias per filter is needed: 4"),
        ((2, 3, 5, 5), (4, 3, 3, 3), (4, 1), 1, "one bias per filter"),
        ((2, 3, 2, 5), (4, 3, 3, 3), None, 1, "2x5 pixels is smaller than the window"),
    ],
)
def test_shapes_that_do_not_fit_raise(x, w, b, groups, message):
    with pytest.raises(ValueError, match=message):
        conv2d(np.ones(x), np.ones(w), None if b is None else np.ones(b), groups=groups)


@pytest.mark.parametrize(
    "x, w, tile, message",
    [
        ((1, 3, 6, 6), (4, 3, 5, 5), 4, r"filters \(F, 3, 3, 3\) for this x, not \(4, 3, 5, 5\); use conv2d"),
        ((1, 3, 6, 6), (4, 2, 3, 3), 4, r"filters \(F, 3, 3, 3\) for this x, not \(4, 2, 3, 3\); use conv2d"),
        ((1, 3, 6, 6), (4, 3, 3, 3), 3, "no transforms for tiles of 3; use one of 2, 4"),
        ((1, 3, 1, 6), (4, 3, 3, 3), 4, "1x6 pixels is smaller than the window"),
    ],
)
def test_what_winograd_does_not_take(x, w, tile, message):
    with pytest.raises(ValueError, match=message):
        winograd_conv2d(np.ones(x), np.ones(w), padding=0, tile=tile)


def test_winograd_makes_no_more_tiles_than_the_output_needs(monkeypatch):
    module, asked = import_module("npresnet.ops.winograd"), []
    tiles = module.tiles
    monkeypatch.setattr(module, "tiles", lambda x, th, tw, m: asked.append((th, tw)) or tiles(x, th, tw, m))
    for tile, wanted in [(2, (5, 4)), (4, (3, 2))]:
        winograd_conv2d(np.ones((1, 1, 9, 8)), np.ones((1, 1, 3, 3)), tile=tile)
        assert asked.pop() == wanted
