"""Batch normalization over its own batch, channels last: one pass for the statistics, one for each result.

The sums run in float64 over shifted values, Σ d and Σ d² with d = x - x[0]: one pass, and no cancellation where the
mean is large beside the deviation.
"""

import numpy as np
from numba import njit, prange

from ...ops.norm import batch_norm_train
from .compiled import parallel
from .conv import last
from .vector import floats

PARTS = 64                # of the pixels, each summed by one thread: the same sums whatever the number of threads


@batch_norm_train.register("numba")
def batch_norm_train_numba(x, gamma, beta, *, eps):
    """Equals :func:`npresnet.ops.batch_norm_train`; keeps x in the place of x̂, which is one multiply-add away.

    Saves: x, mean, inv_std, gamma.
    """
    arrays = (x, gamma, beta)
    fits = all(isinstance(a, np.ndarray) and a.dtype == np.float32 for a in arrays) and x.ndim == 4
    if not fits or any(a.shape != x.shape[1:2] for a in arrays[1:]) or x.size < 2 * x.shape[1]:
        return batch_norm_train.reference(x, gamma, beta, eps=eps)
    x = last(x)
    m, c = x.size // x.shape[3], x.shape[3]
    sums = np.empty((PARTS, 2, c))
    _moments(x.ctypes.data, m, c, sums)
    first, second = sums.sum(axis=0) / m                            # mean(d), mean(d²)
    mean, var = (first + x[0, 0, 0]).astype(np.float32), np.maximum(second - first**2, 0).astype(np.float32)
    inv_std = 1 / np.sqrt(var + np.float32(eps))
    scale = gamma * inv_std
    y = _affine_map(x, x, scale, np.zeros_like(scale), beta - scale * mean)

    def pullback(dy, skip=()):
        dy = last(dy)
        sums = np.empty((PARTS, 2, c))
        _gradient_sums(dy.ctypes.data, x.ctypes.data, m, c, mean, inv_std, sums)
        dbeta, dgamma = sums.sum(axis=0).astype(np.float32)         # Σ dy,  Σ dy·x̂
        if "x" in skip:
            return None, dgamma, dbeta
        scale, tilt = gamma * inv_std, dgamma * inv_std / m         # dx = scale · (dy − dβ/m − x̂ · dγ/m)
        return _affine_map(dy, x, scale, -scale * tilt, scale * (tilt * mean - dbeta / m)), dgamma, dbeta

    return y, pullback, (mean, var)


def _affine_map(a, b, scale_a, scale_b, shift):
    """scale_a·a + scale_b·b + shift for each channel, as (N, C, H, W) with channels-last strides."""
    y, c = np.empty_like(a), a.shape[3]
    coefficients = np.stack([scale_a, scale_b, shift]).astype(np.float32)
    _combine(a.ctypes.data, b.ctypes.data, a.size // c, c, coefficients, y.ctypes.data)
    return y.transpose(0, 3, 1, 2)


@parallel
def _moments(x, m, c, sums):
    for part in prange(PARTS):
        _moments_part(x, part * m // PARTS, (part + 1) * m // PARTS, c, sums[part])


@njit
def _moments_part(x, start, stop, c, sums):
    sums[:] = 0
    first = floats(x, c)
    for pixel in range(start, stop):
        values = floats(x + pixel * c * 4, c)
        for k in range(c):
            d = np.float64(values[k] - first[k])
            sums[0, k] += d
            sums[1, k] += d * d


@parallel
def _gradient_sums(dy, x, m, c, mean, inv_std, sums):
    for part in prange(PARTS):
        _gradient_part(dy, x, part * m // PARTS, (part + 1) * m // PARTS, c, mean, inv_std, sums[part])


@njit
def _gradient_part(dy, x, start, stop, c, mean, inv_std, sums):
    sums[:] = 0
    for pixel in range(start, stop):
        g, values = floats(dy + pixel * c * 4, c), floats(x + pixel * c * 4, c)
        for k in range(c):
            sums[0, k] += g[k]
            sums[1, k] += g[k] * ((values[k] - mean[k]) * inv_std[k])


@parallel
def _combine(a, b, m, c, coefficients, y):
    for part in prange(PARTS):
        for pixel in range(part * m // PARTS, (part + 1) * m // PARTS):
            at = pixel * c * 4
            _combine_pixel(floats(a + at, c), floats(b + at, c), coefficients, floats(y + at, c))


@njit
def _combine_pixel(a, b, coefficients, y):
    for k in range(len(y)):
        y[k] = coefficients[0, k] * a[k] + coefficients[1, k] * b[k] + coefficients[2, k]
