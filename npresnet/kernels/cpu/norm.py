"""Batch normalization over its own batch, alone or with what follows it: one pass for the sums, one for each result.

The sums run over shifted values, Σ d and Σ d² with d = x - x[0]: one pass, and no cancellation where the mean is large
beside the deviation.
"""

import numpy as np

from ...ops.fused import batch_norm_add_relu, batch_norm_relu, batch_norm_relu_conv2d
from ...ops.norm import batch_norm_train
from ...ops.window import Window
from .backward import filter_gradient, image_gradient
from .channels import PARTS, combine, gradient_sums, moments, normalize
from .conv import conv_fits
from .forward import bias_of, forward, last
from .memory import empty
from .vector import LANES

OPEN = float("-inf")      # the floor under every value, where no ReLU follows


@batch_norm_train.register("numba")
def batch_norm_train_numba(x, gamma, beta, *, eps):
    """Equals :func:`npresnet.ops.batch_norm_train`; keeps x in the place of x̂, which is one multiply-add away.

    Saves: x, mean, inv_std, gamma, scale, shift.
    """
    if not _fits(x, gamma, beta):
        return batch_norm_train.reference(x, gamma, beta, eps=eps)
    return _with_floor(x, gamma, beta, eps, OPEN)


@batch_norm_relu.register("numba")
def batch_norm_relu_numba(x, gamma, beta, *, eps):
    """Equals :func:`npresnet.ops.batch_norm_relu`; x also says what the ReLU let through.

    Saves: x, mean, inv_std, gamma, scale, shift.
    """
    if not _fits(x, gamma, beta):
        return batch_norm_relu.reference(x, gamma, beta, eps=eps)
    return _with_floor(x, gamma, beta, eps, 0.0)


@batch_norm_relu_conv2d.register("numba")
def batch_norm_relu_conv2d_numba(x, gamma, beta, w, b=None, *, eps, stride=1, padding=0, dilation=1, groups=1):
    """Equals :func:`npresnet.ops.batch_norm_relu_conv2d`; makes σ(BN(x)) again where the pullback needs it.

    Saves: x, w, mean, inv_std, gamma, scale, shift.
    """
    if not (_fits(x, gamma, beta) and conv_fits(x, w, b, groups, dilation)):
        return batch_norm_relu_conv2d.reference(x, gamma, beta, w, b, eps=eps, stride=stride, padding=padding,
                                                dilation=dilation, groups=groups)
    x, window, biased = last(x), Window.of(w.shape[2:], stride, padding, dilation), b is not None
    mean, var, inv_std, scale, shift = _statistics(x, gamma, beta, eps)

    def middle():
        return _normalized(x, scale, shift, 0.0).transpose(0, 3, 1, 2)

    y = forward(middle(), w, bias_of(w, b), window)

    def pullback(dy, skip=()):
        dw = None if "w" in skip else filter_gradient(middle(), dy, w.shape, window)
        db = dy.sum(axis=(0, 2, 3)) if biased and "b" not in skip else None
        dz = image_gradient(dy, w, x.transpose(0, 3, 1, 2), window)
        return *_gradients(last(dz), x, gamma, (mean, inv_std, scale, shift), 0.0, skip), dw, db

    return y, pullback, (mean, var)


@batch_norm_add_relu.register("numba")
def batch_norm_add_relu_numba(x, gamma, beta, s, *, eps):
    """Equals :func:`npresnet.ops.batch_norm_add_relu`.

    Saves: x, y, mean, inv_std, gamma, scale, shift.
    """
    if not _fits(x, gamma, beta) or not (isinstance(s, np.ndarray) and s.dtype == x.dtype and s.shape == x.shape):
        return batch_norm_add_relu.reference(x, gamma, beta, s, eps=eps)
    x = last(x)
    mean, var, inv_std, scale, shift = _statistics(x, gamma, beta, eps)
    y = _normalized(x, scale, shift, 0.0, last(s))

    def pullback(dy, skip=()):
        ds = empty(y.shape)
        dx, dgamma, dbeta = _gradients(last(dy), x, gamma, (mean, inv_std, scale, shift), OPEN, skip, y, ds)
        return dx, dgamma, dbeta, None if "s" in skip else ds.transpose(0, 3, 1, 2)

    return y.transpose(0, 3, 1, 2), pullback, (mean, var)


def _with_floor(x, gamma, beta, eps, floor):
    x = last(x)
    mean, var, inv_std, scale, shift = _statistics(x, gamma, beta, eps)
    y = _normalized(x, scale, shift, floor)

    def pullback(dy, skip=()):
        return _gradients(last(dy), x, gamma, (mean, inv_std, scale, shift), floor, skip)

    return y.transpose(0, 3, 1, 2), pullback, (mean, var)


def _fits(x, gamma, beta) -> bool:
    """Several values of whole vectors of channels, in float32."""
    arrays = (x, gamma, beta)
    floats = all(isinstance(a, np.ndarray) and a.dtype == np.float32 for a in arrays) and x.ndim == 4
    shapes = all(a.shape == x.shape[1:2] for a in arrays[1:]) and x.size >= 2 * x.shape[1] > 0
    return floats and shapes and x.shape[1] % LANES == 0


def _statistics(x, gamma, beta, eps):
    """μ, σ², 1/√(σ² + ε), and y = scale·x + shift."""
    near, m = x[0, 0, :1], x.size // x.shape[3]
    sums = np.empty((PARTS, 2, x.shape[3]))
    moments(x.ctypes.data, x.size, near, sums)
    first, second = sums.sum(axis=0) / m                            # mean(d), mean(d²)
    mean, var = (first + near[0]).astype(np.float32), np.maximum(second - first**2, 0).astype(np.float32)
    inv_std = 1 / np.sqrt(var + np.float32(eps))
    scale = gamma * inv_std
    return mean, var, inv_std, scale, beta - scale * mean


def _normalized(x, scale, shift, floor, s=None):
    y = empty(x.shape)
    at = 0 if s is None else s.ctypes.data
    normalize(x.ctypes.data, at, x.size, _stack(scale, shift, np.full_like(scale, floor)), y.ctypes.data)
    return y


def _gradients(dy, x, gamma, affine, floor, skip, y=None, ds=None):
    """dx, dγ and dβ from dy as far as the ReLU let it through; with y, that is written to ds."""
    mean, inv_std, scale, shift = affine
    c, m = x.shape[3], x.size // x.shape[3]
    sums, mask = np.empty((PARTS, 2, c)), (0, 0) if y is None else (y.ctypes.data, ds.ctypes.data)
    floor = np.full_like(scale, floor)
    gradient_sums(dy.ctypes.data, x.ctypes.data, *mask, x.size, _stack(mean, scale, shift, floor), sums)
    dbeta, dgamma = sums.sum(axis=0) * [np.ones_like(inv_std), inv_std]     # Σ g,  Σ g·x̂
    if "x" in skip:
        dx = None
    else:
        tilt = dgamma * inv_std / m                                 # dx = scale · (g − dβ/m − x̂ · dγ/m)
        coefficients = _stack(scale, -scale * tilt, scale * (tilt * mean - dbeta / m), scale, shift, floor)
        dx, g = empty(x.shape), dy if ds is None else ds
        combine(g.ctypes.data, x.ctypes.data, x.size, coefficients, dx.ctypes.data)
        dx = dx.transpose(0, 3, 1, 2)
    dgamma, dbeta = dgamma.astype(np.float32), dbeta.astype(np.float32)
    return dx, None if "gamma" in skip else dgamma, None if "beta" in skip else dbeta


def _stack(*rows):
    return np.array(rows, np.float32)
