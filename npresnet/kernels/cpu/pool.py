"""Pooling, channels last: max_pool2d with its pullback for training; a max-pool's rows and a mean for the engine."""

import numpy as np
from llvmlite import ir
from numba import types

from ...backend import Array, Pullback
from ...ops.check import IntOrPair, Padding
from ...ops.pool import global_avg_pool2d, max_pool2d
from ...ops.window import Window
from .arrays import empty, is_float32
from .codegen.jit import inlined, intrinsic
from .codegen.vector import LANES, Emit, clear, floats, octets
from .layout import channels_first, channels_last, contiguous
from .pointwise import accumulate
from .program.entry_point import Address, Pair, Shape, Sides, entry_point, run


def supports(x, kernel, *, stride, padding=0, dilation=1, ceil_mode=False) -> bool:
    """A batch in float32 with whole vectors of channels; a window without holes, at most half of it in the padding."""
    if not is_float32(x) or x.ndim != 4:
        return False
    window = Window.of(kernel, stride, padding, dilation, x.shape[2:])
    halves = all(2 * max(p) <= k for k, p in zip(window.kernel, window.padding))
    taps = window.kernel[0] * window.kernel[1]                          # numbered in a byte
    return halves and taps < 256 and window.dilation == (1, 1) and not ceil_mode and len(x) > 1 \
        and x.size > 0 and x.shape[1] % LANES == 0


@max_pool2d.register("numba", supports)
def max_pool2d_numba(x: Array, kernel: IntOrPair, *, stride: IntOrPair, padding: Padding = 0, dilation: IntOrPair = 1,
                     ceil_mode: bool = False) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.max_pool2d`; the gradient is gathered by each pixel from the windows that it won.

    Saves: winner.
    """
    window = Window.of(kernel, stride, padding, size=x.shape[2:])
    size, shape = window.output_size(x.shape[2:]), (len(x), *x.shape[2:], x.shape[1])
    sides = (*window.kernel, *window.stride, 1, 1, window.padding[0][0], window.padding[1][0])
    y, winner = (empty((shape[0], *size, shape[3]), dtype) for dtype in (np.float32, np.uint8))
    run(pool.by_image(shape[0], size[0], channels_last(x), shape, sides, y, winner, size))

    def pullback(dy):
        dx = empty(shape)
        run(unpool.by_image(shape[0], shape[1], channels_last(dy), winner, size, shape, sides, dx))
        return channels_first(dx)

    return channels_first(y), pullback


def supports_mean(x) -> bool:
    """A batch in float32."""
    return is_float32(x) and x.ndim == 4 and len(x) > 1 and x.size > 0


@global_avg_pool2d.register("numba", supports_mean)
def global_avg_pool2d_numba(x: Array) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.global_avg_pool2d`.

    Saves: nothing.
    """
    x = channels_last(x)
    n, h, w, c = shape = x.shape
    y = empty((n, c))
    run(global_mean.by_image(n, 1, x, h * w, c, y))

    def pullback(dy):
        dx = empty(shape)
        run(spread_mean.by_image(n, 1, contiguous(dy), h * w, c, dx))
        return channels_first(dx)

    return y, pullback


@entry_point
def spread_mean(image, work, dy: Address, pixels: int, channels: int, dx: Address):
    """dy / pixels at every pixel of one image."""
    values = floats(dy + image * channels * 4, channels)
    for pixel in range(pixels):
        _share(values, np.float32(pixels), floats(dx + (image * pixels + pixel) * channels * 4, channels))


@inlined
def _share(values, count, out):
    for k in range(len(out)):
        out[k] = values[k] / count


@entry_point
def pool(row, work, x: Address, shape: Shape, sides: Sides, y: Address, winner: Address, size: Pair):
    """A row of outputs, and in ``winner`` the tap of each window's largest value; ``size`` is that of the result."""
    image, p = row // size[0], row % size[0]
    h, w, c = shape[1], shape[2], shape[3]
    kh, kw, sh, sw, _, _, top, left = sides
    for q in range(size[1]):
        at = ((image * size[0] + p) * size[1] + q) * c
        out, best = floats(y + at * 4, c), octets(winner + at, c)
        out[:] = np.float32(-np.inf)
        best[:] = 0
        for r in range(max(0, p * sh - top), min(h, p * sh - top + kh)):
            for s in range(max(0, q * sw - left), min(w, q * sw - left + kw)):
                tap = np.uint8((r - p * sh + top) * kw + s - q * sw + left)
                _take(floats(x + ((image * h + r) * w + s) * c * 4, c), out, best, tap)


@inlined
def _take(values, out, best, tap):
    for k in range(len(out)):
        v = values[k]
        better = v > out[k] or v != v                        # only NaN differs from itself
        out[k] = v if better else out[k]
        best[k] = tap if better else best[k]


@entry_point
def unpool(row, work, dy: Address, winner: Address, size: Pair, shape: Shape, sides: Sides, dx: Address):
    """A row of :data:`pool`'s pullback."""
    image, r = row // shape[1], row % shape[1]
    w, c = shape[2], shape[3]
    oh, ow = size
    kh, kw, sh, sw, _, _, top, left = sides
    for s in range(w):
        out = dx + ((image * shape[1] + r) * w + s) * c * 4
        clear(out, c)
        for p in range(max(0, (r + top - kh) // sh + 1), min(oh, (r + top) // sh + 1)):
            for q in range(max(0, (s + left - kw) // sw + 1), min(ow, (s + left) // sw + 1)):
                tap = np.uint8((r + top - p * sh) * kw + s + left - q * sw)
                at = ((image * oh + p) * ow + q) * c
                for k in range(0, c, LANES):
                    _add_where_won(dy + (at + k) * 4, winner + at + k, tap, out + k * 4)


@intrinsic
def _add_where_won(context, dy, winner, tap, out):
    """out += dy in the lanes whose winner is tap; a compiled loop that compares bytes would take them one by one."""
    def codegen(context, builder, signature, args):
        dy, winner, tap, out = args
        e, kind = Emit(builder), ir.VectorType(ir.IntType(8), LANES)
        winners = builder.load(e.at(winner, kind))
        winners.align = 1
        first = builder.insert_element(ir.Constant(kind, ir.Undefined), tap, ir.Constant(ir.IntType(32), 0))
        taps = builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))
        share = builder.select(builder.icmp_unsigned("==", winners, taps), e.load(dy), e.constant(0))
        e.store(builder.fadd(e.load(out), share), out)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.uint8, types.int64), codegen


@inlined
def pool_rows(x, h, w, c, window, y, ow, first, last):
    """The largest value of each window, for output rows [first, last) of one image at ``x``, written into one at ``y``.

    ``window`` = (kh, kw, stride h, w, dilation h, w, pad top, left); what lies outside the image never wins.
    """
    kh, kw, sh, sw, dh, dw, top, left = window
    for p in range(first, last):
        for q in range(ow):
            out = floats(y + (p * ow + q) * c * 4, c)
            out[:] = np.float32(-np.inf)
            for i in range(kh):
                r = p * sh + i * dh - top
                if 0 <= r < h:
                    for j in range(kw):
                        s = q * sw + j * dw - left
                        if 0 <= s < w:
                            _take_larger(out, floats(x + (r * w + s) * c * 4, c))


@entry_point
def max_pool(item, work, x: Address, shape: Shape, window: Sides, y: Address, out_shape: Shape):
    """A row of :func:`npresnet.ops.max_pool2d`."""
    (_, h, w, c), (_, oh, ow, _) = shape, out_shape
    image, p = item // oh, item % oh
    pool_rows(x + image * h * w * c * 4, h, w, c, window, y + image * oh * ow * c * 4, ow, p, p + 1)


@inlined
def _take_larger(out, values):
    for k in range(len(out)):
        v = values[k]
        out[k] = v if v > out[k] or v != v else out[k]      # a NaN wins, as in NumPy


@entry_point
def global_mean(image, work, x: Address, pixels: int, channels: int, y: Address):
    """One image of :func:`npresnet.ops.global_avg_pool2d`."""
    _mean(x + image * pixels * channels * 4, pixels, channels, floats(y + image * channels * 4, channels))


@inlined
def _mean(x, pixels, c, out):
    total = np.zeros(c)                                      # float64, as in ops
    for pixel in range(pixels):
        accumulate(floats(x + pixel * c * 4, c), total)
    for k in range(c):
        out[k] = total[k] / pixels
