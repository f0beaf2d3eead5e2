"""The ops on integers as their docstrings say them, one number at a time.

The sums are Python's integers, the steps between them float32.  Nothing here uses :mod:`npresnet`.
"""

import numpy as np

from .loops import axes

f32 = np.float32


def clamp(level, levels):
    return int(min(max(level, levels[0]), levels[1]))


def to_level(r, scale, zero_point, levels):
    """One real number's integer: Python's round() goes to the even one of two as near, like the op."""
    return clamp(round(float(f32(float(r) * float(f32(1) / f32(scale)) + zero_point))), levels)


def to_real(q, scale, zero_point):
    return f32(int(q) - zero_point) * f32(scale)


def requantize(a, multiplier, bias, zero_point, levels):
    """One sum on the next scale."""
    return clamp(round(float((f32(a) + f32(bias)) * f32(multiplier))) + zero_point, levels)


def conv2d(x, w, *, zero_point=0, stride=1, padding=0, dilation=1, groups=1):
    rows, cols = axes(x, w.shape[2:], stride, padding, dilation)
    per_group, filters = w.shape[1], len(w) // groups
    a = np.zeros((len(x), len(w), rows.outputs, cols.outputs), np.int32)
    for n, f, p, q in np.ndindex(*a.shape):
        first = f // filters * per_group
        a[n, f, p, q] = sum(
            int(w[f, c, i, j]) * (int(x[n, first + c, y, z]) - zero_point)
            for c in range(per_group)
            for i, y in rows.taps(p)
            for j, z in cols.taps(q)
        )
    return a


def linear(x, w, *, zero_point=0):
    return np.array([[sum(int(p) * (int(q) - zero_point) for p, q in zip(row, xs)) for row in w] for xs in x], np.int32)


def add(a, b, scales, zero_points, levels):
    """scales and zero points are those of a, of b and of the sum."""
    (sa, sb, s), (za, zb, z) = scales, zero_points
    pairs = zip(a.ravel(), b.ravel())
    sums = [(to_real(p, sa, za) + to_real(q, sb, zb)) * (f32(1) / f32(s)) for p, q in pairs]
    found = [clamp(round(float(v)) + z, levels) for v in sums]
    return np.array(found, np.uint8).reshape(a.shape)


def max_pool2d(x, kernel, stride, padding):
    rows, cols = axes(x, kernel, stride, padding)
    y = np.zeros((*x.shape[:2], rows.outputs, cols.outputs), np.uint8)
    for n, c, p, q in np.ndindex(*y.shape):
        y[n, c, p, q] = max(x[n, c, i, j] for _, i in rows.taps(p) for _, j in cols.taps(q))
    return y


def mean(x, zero_point):
    h, w = x.shape[2:]
    a = [[sum(int(v) - zero_point for v in image.ravel()) for image in images] for images in x]
    share = f32(1) / f32(h * w)
    return np.array([[requantize(v, share, 0, zero_point, (0, 255)) for v in row] for row in a], np.uint8)
