"""Steps that touch every float once, channels last: those not fused into a convolution."""

from numba import njit, prange

from .codegen.jit import parallel
from .codegen.vector import floats


@njit
def affine(x, scale, shift, floor, y):
    """y[c] = max(floor, scale[c]·x[c] + shift[c]): a batch norm in evaluation, with the ReLU behind it."""
    for k in range(len(x)):
        v = scale[k] * x[k] + shift[k]
        y[k] = floor if v < floor else v


@njit
def add(x, z, floor, y):
    """y = max(floor, x + z): a residual sum whose branch does not end in a convolution."""
    for k in range(len(x)):
        v = x[k] + z[k]
        y[k] = floor if v < floor else v


@njit
def place(values, before, out):
    """out[before + k] = values[k], zero in the others: a pixel of shortcut option A."""
    out[:] = 0
    for k in range(len(values)):
        out[before + k] = values[k]


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
