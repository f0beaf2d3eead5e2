"""max_pool2d and its pullback, channels last."""

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from ...ops.pool import max_pool2d
from ...ops.window import Window
from .arrays import empty
from .codegen.jit import parallel
from .codegen.vector import LANES, Emit, clear, floats, octets
from .conv.forward import last


@max_pool2d.register("numba")
def max_pool2d_numba(x, kernel, *, stride, padding=0, dilation=1, ceil_mode=False):
    """Equals :func:`npresnet.ops.max_pool2d`; the gradient is gathered by each pixel from the windows that it won.

    Saves: winner.
    """
    window = Window.of(kernel, stride, padding, dilation)
    halves = all(2 * max(p) <= k for k, p in zip(window.kernel, window.padding))
    whole = window.dilation == (1, 1) and not ceil_mode and halves and window.kernel[0] * window.kernel[1] < 256
    whole = whole and isinstance(x, np.ndarray) and x.dtype == np.float32 and x.ndim == 4
    if not (whole and len(x) > 1 and x.size and x.shape[1] % LANES == 0):
        return max_pool2d.reference(x, kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    size, shape = window.output_size(x.shape[2:]), (len(x), *x.shape[2:], x.shape[1])
    sides = (*window.kernel, *window.stride, window.padding[0][0], window.padding[1][0])
    x = last(x)
    y, winner = (empty((shape[0], *size, shape[3]), dtype) for dtype in (np.float32, np.uint8))
    _pool(x, shape, sides, y, winner, size)
    del x

    def pullback(dy):
        dx, dy = empty(shape), last(dy)
        _unpool(dy, winner, size, shape, sides, dx)
        return dx.transpose(0, 3, 1, 2)

    return y.transpose(0, 3, 1, 2), pullback


@parallel
def _pool(x, shape, sides, y, winner, size):
    for row in prange(shape[0] * size[0]):
        _pool_row(x, shape, sides, y, winner, size, row // size[0], row % size[0])


@njit
def _pool_row(x, shape, sides, y, winner, size, image, p):
    h, w, c = shape[1], shape[2], shape[3]
    kh, kw, sh, sw, top, left = sides
    for q in range(size[1]):
        at = ((image * size[0] + p) * size[1] + q) * c
        out, best = floats(y + at * 4, c), octets(winner + at, c)
        out[:] = np.float32(-np.inf)
        best[:] = 0
        for r in range(max(0, p * sh - top), min(h, p * sh - top + kh)):
            for s in range(max(0, q * sw - left), min(w, q * sw - left + kw)):
                tap = np.uint8((r - p * sh + top) * kw + s - q * sw + left)
                _take(floats(x + ((image * h + r) * w + s) * c * 4, c), out, best, tap)


@njit
def _take(values, out, best, tap):
    for k in range(len(out)):
        v = values[k]
        better = v > out[k] or v != v                        # only NaN differs from itself
        out[k] = v if better else out[k]
        best[k] = tap if better else best[k]


@parallel
def _unpool(dy, winner, size, shape, sides, dx):
    for row in prange(shape[0] * shape[1]):
        _unpool_row(dy, winner, size, shape, sides, dx, row // shape[1], row % shape[1])


@njit
def _unpool_row(dy, winner, size, shape, sides, dx, image, r):
    w, c = shape[2], shape[3]
    oh, ow = size
    kh, kw, sh, sw, top, left = sides
    for s in range(w):
        out = dx + ((image * shape[1] + r) * w + s) * c * 4
        clear(out, c)
        for p in range(max(0, (r + top - kh) // sh + 1), min(oh, (r + top) // sh + 1)):
            for q in range(max(0, (s + left - kw) // sw + 1), min(ow, (s + left) // sw + 1)):
                tap = np.uint8((r + top - p * sh) * kw + s + left - q * sw)
                at = ((image * oh + p) * ow + q) * c
                _receive(dy + at * 4, winner + at, tap, out, c)


@intrinsic
def _receive_vector(context, dy, best, tap, out):
    """A comparison of bytes that chooses between floats, which a compiled loop would do one by one."""
    def codegen(context, builder, signature, args):
        dy, best, tap, out = args
        e, kind = Emit(builder), ir.VectorType(ir.IntType(8), LANES)
        winners = builder.load(e.at(best, kind))
        winners.align = 1
        first = builder.insert_element(ir.Constant(kind, ir.Undefined), tap, ir.Constant(ir.IntType(32), 0))
        taps = builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))
        share = builder.select(builder.icmp_unsigned("==", winners, taps), e.load(dy), e.constant(0))
        e.store(builder.fadd(e.load(out), share), out)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.uint8, types.int64), codegen


@njit
def _receive(dy, best, tap, out, c):
    """out += dy where best is tap, for the c channels at these addresses."""
    for k in range(0, c, LANES):
        _receive_vector(dy + k * 4, best + k, tap, out + k * 4)
