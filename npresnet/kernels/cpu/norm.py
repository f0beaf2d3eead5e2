"""Batch normalization over its own batch, alone or with what follows it: one pass for the sums, one for each result.

The sums run over shifted values, Σ d and Σ d² with d = x - x[0]: one pass, and no cancellation where the mean is large
beside the deviation.
"""

import numpy as np

from ...ops.fused import batch_norm_add_relu, batch_norm_relu, batch_norm_relu_conv2d
from ...ops.norm import batch_norm_train
from ...ops.total import total
from ...ops.window import Window
from .arrays import empty
from .channels import PARTS, combine, moments, normalized, slopes
from .codegen.vector import LANES
from .conv.backward import filter_gradient, image_gradient
from .conv.forward import bias_of, forward, last
from .conv.op import conv_fits

OPEN = float("-inf")      # the floor under every value, where no ReLU follows


@batch_norm_train.register("numba")
def batch_norm_train_numba(x, gamma, beta, *, eps):
    """Equals :func:`npresnet.ops.batch_norm_train`; keeps x in the place of x̂, which is one multiply-add away.

    Saves: x, inv_std, coefficients.
    """
    if not _fits(x, gamma, beta):
        return batch_norm_train.reference(x, gamma, beta, eps=eps)
    return _with_floor(x, gamma, beta, eps, OPEN)


@batch_norm_relu.register("numba")
def batch_norm_relu_numba(x, gamma, beta, *, eps):
    """Equals :func:`npresnet.ops.batch_norm_relu`; x also says what the ReLU let through.

    Saves: x, inv_std, coefficients.
    """
    if not _fits(x, gamma, beta):
        return batch_norm_relu.reference(x, gamma, beta, eps=eps)
    return _with_floor(x, gamma, beta, eps, 0.0)


@batch_norm_relu_conv2d.register("numba")
def batch_norm_relu_conv2d_numba(x, gamma, beta, w, b=None, *, eps, stride=1, padding=0, dilation=1, groups=1):
    """Equals :func:`npresnet.ops.batch_norm_relu_conv2d`; makes σ(BN(x)) again where the pullback needs it.

    Saves: x, w, inv_std, coefficients.
    """
    if not (_fits(x, gamma, beta) and conv_fits(x, w, b, groups, dilation)):
        return batch_norm_relu_conv2d.reference(x, gamma, beta, w, b, eps=eps, stride=stride, padding=padding,
                                                dilation=dilation, groups=groups)
    x, window, biased = last(x), Window.of(w.shape[2:], stride, padding, dilation), b is not None
    mean_var, inv_std, coefficients = _statistics(x, gamma, beta, eps, 0.0)
    y = forward(_first(x), w, bias_of(w, b), window, bend=coefficients[1:])

    def pullback(dy, skip=()):
        dw = None if "w" in skip else filter_gradient(_first(x), dy, w.shape, window, coefficients[1:])
        db = total(dy, (0, 2, 3)) if biased and "b" not in skip else None
        dz = last(image_gradient(dy, w, _first(x), window))
        return *_gradients(dz, slopes(dz, x, coefficients), x, inv_std, coefficients, skip, into=dz), dw, db

    return y, pullback, mean_var


@batch_norm_add_relu.register("numba")
def batch_norm_add_relu_numba(x, gamma, beta, s, *, eps):
    """Equals :func:`npresnet.ops.batch_norm_add_relu`.

    Saves: x, y, inv_std, coefficients.
    """
    if not _fits(x, gamma, beta) or not (isinstance(s, np.ndarray) and s.dtype == x.dtype and s.shape == x.shape):
        return batch_norm_add_relu.reference(x, gamma, beta, s, eps=eps)
    x = last(x)
    mean_var, inv_std, coefficients = _statistics(x, gamma, beta, eps, OPEN)
    y = normalized(x, _stack(*coefficients[1:3], np.zeros_like(inv_std)), last(s))      # the floor lies under the sum

    def pullback(dy, skip=()):
        ds = empty(y.shape)
        sums = slopes(last(dy), x, coefficients, y, ds)
        return *_gradients(ds, sums, x, inv_std, coefficients, skip), None if "s" in skip else _first(ds)

    return _first(y), pullback, mean_var


def _with_floor(x, gamma, beta, eps, floor):
    x = last(x)
    mean_var, inv_std, coefficients = _statistics(x, gamma, beta, eps, floor)

    def pullback(dy, skip=()):
        dy = last(dy)
        return _gradients(dy, slopes(dy, x, coefficients), x, inv_std, coefficients, skip)

    return _first(normalized(x, coefficients[1:])), pullback, mean_var


def _fits(x, gamma, beta) -> bool:
    """Several values of whole vectors of channels, in float32."""
    arrays = (x, gamma, beta)
    floats = all(isinstance(a, np.ndarray) and a.dtype == np.float32 for a in arrays) and x.ndim == 4
    shapes = all(a.shape == x.shape[1:2] for a in arrays[1:]) and x.size >= 2 * x.shape[1] > 0
    return floats and shapes and x.shape[1] % LANES == 0


def _first(x):
    """(N, H, W, C) as (N, C, H, W)."""
    return x.transpose(0, 3, 1, 2)


def _statistics(x, gamma, beta, eps, floor):
    """(μ, σ²), 1/√(σ² + ε), and the rows (μ, scale, shift, floor) of y = max(floor, scale·x + shift)."""
    near, m = x[0, 0, 0], x.size // x.shape[3]
    sums = np.empty((PARTS, 2, x.shape[3]))
    moments(x, x.size, x.shape[3], near, sums)
    first, second = sums.sum(axis=0) / m                            # mean(d), mean(d²)
    mean, var = (first + near).astype(np.float32), np.maximum(second - first**2, 0).astype(np.float32)
    inv_std = 1 / np.sqrt(var + np.float32(eps))
    scale = gamma * inv_std
    return (mean, var), inv_std, _stack(mean, scale, beta - scale * mean, np.full_like(scale, floor))


def _gradients(dy, sums, x, inv_std, coefficients, skip, into=None):
    """dx, dγ and dβ from dy and its sums over what the ReLU let through; dx may take the place of a dy of our own."""
    m, (mean, scale, *bend) = x.size // x.shape[3], coefficients
    dbeta, dgamma = sums * [np.ones_like(inv_std), inv_std]             # Σ g,  Σ g·x̂
    if "x" in skip:
        dx = None
    else:
        tilt, dx = dgamma * inv_std / m, empty(x.shape) if into is None else into
        # dx = scale · (g − dβ/m − x̂ · dγ/m)
        plane = _stack(scale, -scale * tilt, scale * (tilt * mean - dbeta / m), scale, *bend)
        combine(dy, x, x.size, x.shape[3], plane, dx)
        dx = _first(dx)
    dgamma, dbeta = dgamma.astype(np.float32), dbeta.astype(np.float32)
    return dx, None if "gamma" in skip else dgamma, None if "beta" in skip else dbeta


def _stack(*rows):
    return np.array(rows, np.float32)
