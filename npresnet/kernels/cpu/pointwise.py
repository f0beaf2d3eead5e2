"""Steps that touch every float once, channels last: what no convolution next to them could take along."""

import numpy as np
from numba import njit, prange

from .compiled import parallel
from .vector import floats


@parallel
def affine(x, pixels, c, scale, shift, floor, y):
    """y[m, c] = max(floor, scale[c]·x[m, c] + shift[c]): a batch norm in evaluation, with the ReLU behind it."""
    for m in prange(pixels):
        at = m * c * 4
        _affine(floats(x + at, c), floats(scale, c), floats(shift, c), np.float32(floor), floats(y + at, c))


@njit
def _affine(x, scale, shift, floor, y):
    for k in range(len(x)):
        v = scale[k] * x[k] + shift[k]
        y[k] = floor if v < floor else v


@parallel
def add(x, z, pixels, c, floor, y):
    """y = max(floor, x + z): a residual sum whose branch does not end in a convolution."""
    for m in prange(pixels):
        _add(floats(x + m * c * 4, c), floats(z + m * c * 4, c), np.float32(floor), floats(y + m * c * 4, c))


@njit
def _add(x, z, floor, y):
    for k in range(len(x)):
        v = x[k] + z[k]
        y[k] = floor if v < floor else v


@parallel
def subsample(x, shape, channels, stride, before, y, out_shape):
    """y[p, q, before + k] = x[s·p, s·q, k] for the first ``channels`` k, zero in the others: shortcut option A."""
    for m in prange(out_shape[0] * out_shape[1] * out_shape[2]):
        image, p, q = m // (out_shape[1] * out_shape[2]), m // out_shape[2] % out_shape[1], m % out_shape[2]
        source = ((image * shape[1] + p * stride[0]) * shape[2] + q * stride[1]) * shape[3]
        _place(floats(x + source * 4, channels), before, floats(y + m * out_shape[3] * 4, out_shape[3]))


@njit
def _place(values, before, out):
    out[:] = 0
    out[before:before + len(values)] = values


@parallel
def interleave(part, shape, x, x_shape, first, stride):
    """x[n, first + s·p, first + s·q] = part[n, p, q]; zeros where ``part`` is 0.  ``shape`` = (n, h, w, c)."""
    for m in prange(shape[0] * shape[1]):
        row = m // shape[1] * x_shape[1] + first[0] + m % shape[1] * stride[0]
        _interleave_row(part, m, shape, x + (row * x_shape[2] + first[1]) * shape[3] * 4, stride[1] * shape[3] * 4)


@njit
def _interleave_row(part, m, shape, x, step):
    w, c = shape[2], shape[3]
    for q in range(w):
        out = floats(x + q * step, c)
        if part == 0:
            out[:] = 0
        else:
            _move(floats(part + (m * w + q) * c * 4, c), out)


@njit
def _move(values, out):
    for k in range(len(out)):
        out[k] = values[k]
