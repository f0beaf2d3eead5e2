"""Batch normalization over its own batch, alone or with what follows it: one pass for the sums, one for each result.

The sums run over shifted values, Σ d and Σ d² with d = x - x[0]: one pass, and no cancellation where the mean is large
beside the deviation.
"""

import numpy as np

from ...backend import Array, Pullback
from ...ops.check import IntOrPair, Padding
from ...ops.fused import batch_norm_add_relu, batch_norm_relu, batch_norm_relu_conv2d
from ...ops.norm import batch_norm_train
from ...ops.total import total
from ...ops.window import Window
from .arrays import empty, is_float32
from .channels import NO_FLOOR, PARTS, combine, gradient_sums, moments, normalized
from .codegen.vector import LANES
from .conv.backward import filter_gradient, image_gradient
from .conv.forward import bias_of, forward
from .conv.op import supports as supports_conv
from .layout import channels_first, channels_last


def supports(x, gamma, beta, *, eps) -> bool:
    """Images in float32 with whole vectors of channels, two values or more in each."""
    return is_float32(x, gamma, beta) and x.ndim == 4 and gamma.shape == beta.shape == x.shape[1:2] \
        and x.size >= 2 * x.shape[1] > 0 and x.shape[1] % LANES == 0


@batch_norm_train.register("numba", supports)
def batch_norm_train_numba(x: Array, gamma: Array, beta: Array, *, eps: float) \
        -> tuple[Array, Pullback, tuple[Array, Array]]:
    """Equals :func:`npresnet.ops.batch_norm_train`; keeps x in the place of x̂, which is one multiply-add away.

    Saves: x, inv_std, coefficients.
    """
    return _with_floor(x, gamma, beta, eps, NO_FLOOR)


@batch_norm_relu.register("numba", supports)
def batch_norm_relu_numba(x: Array, gamma: Array, beta: Array, *, eps: float) \
        -> tuple[Array, Pullback, tuple[Array, Array]]:
    """Equals :func:`npresnet.ops.batch_norm_relu`; x also says what the ReLU let through.

    Saves: x, inv_std, coefficients.
    """
    return _with_floor(x, gamma, beta, eps, 0.0)


def supports_then_conv(x, gamma, beta, w, b=None, *, eps, **window) -> bool:
    """What both the batch norm and the convolution support."""
    return supports(x, gamma, beta, eps=eps) and supports_conv(x, w, b, **window)


@batch_norm_relu_conv2d.register("numba", supports_then_conv)
def batch_norm_relu_conv2d_numba(x: Array, gamma: Array, beta: Array, w: Array, b: Array | None = None, *, eps: float,
                                 stride: IntOrPair = 1, padding: Padding = 0, dilation: IntOrPair = 1,
                                 groups: int = 1) -> tuple[Array, Pullback, tuple[Array, Array]]:
    """Equals :func:`npresnet.ops.batch_norm_relu_conv2d`; computes σ(BN(x)) again where the pullback needs it.

    Saves: x, w, inv_std, coefficients.
    """
    window, biased = Window.of(w.shape[2:], stride, padding, dilation, x.shape[2:]), b is not None
    x = channels_last(x)
    mean_var, inv_std, coefficients = _statistics(x, gamma, beta, eps, 0.0)
    y = forward(channels_first(x), w, bias_of(w, b), window, groups, prologue=coefficients[1:])

    def pullback(dy, skip=()):
        dw = None if "w" in skip else filter_gradient(channels_first(x), dy, w.shape, window, groups, coefficients[1:])
        db = total(dy, (0, 2, 3)) if biased and "b" not in skip else None
        dz = channels_last(image_gradient(dy, w, channels_first(x), window, groups))
        sums = gradient_sums(dz, x, coefficients)
        return *_gradients(dz, sums, x, inv_std, coefficients, skip, into=dz), dw, db

    return y, pullback, mean_var


def supports_add(x, gamma, beta, s, *, eps) -> bool:
    """What the batch norm supports, and images of the same shape to add."""
    return supports(x, gamma, beta, eps=eps) and is_float32(s) and s.shape == x.shape


@batch_norm_add_relu.register("numba", supports_add)
def batch_norm_add_relu_numba(x: Array, gamma: Array, beta: Array, s: Array, *, eps: float) \
        -> tuple[Array, Pullback, tuple[Array, Array]]:
    """Equals :func:`npresnet.ops.batch_norm_add_relu`.

    Saves: x, y, inv_std, coefficients.
    """
    x = channels_last(x)
    mean_var, inv_std, coefficients = _statistics(x, gamma, beta, eps, NO_FLOOR)
    floor = np.zeros_like(inv_std)                                      # the ReLU acts on the sum
    y = normalized(x, _stack(*coefficients[1:3], floor), channels_last(s))

    def pullback(dy, skip=()):
        ds = empty(y.shape)
        sums = gradient_sums(channels_last(dy), x, coefficients, y, ds)
        return *_gradients(ds, sums, x, inv_std, coefficients, skip), None if "s" in skip else channels_first(ds)

    return channels_first(y), pullback, mean_var


def _with_floor(x, gamma, beta, eps, floor):
    x = channels_last(x)
    mean_var, inv_std, coefficients = _statistics(x, gamma, beta, eps, floor)

    def pullback(dy, skip=()):
        dy = channels_last(dy)
        return _gradients(dy, gradient_sums(dy, x, coefficients), x, inv_std, coefficients, skip)

    return channels_first(normalized(x, coefficients[1:])), pullback, mean_var


def _statistics(x, gamma, beta, eps, floor):
    """(μ, σ²), 1/√(σ² + ε), and the rows (μ, scale, shift, floor) of y = max(floor, scale·x + shift)."""
    origin, m = x[0, 0, 0], x.size // x.shape[3]
    sums = np.empty((PARTS, 2, x.shape[3]))
    moments(PARTS, x, x.size, x.shape[3], origin, sums)
    first, second = sums.sum(axis=0) / m                            # mean(d), mean(d²), d = x - origin
    mean, var = (first + origin).astype(np.float32), np.maximum(second - first**2, 0).astype(np.float32)
    inv_std = 1 / np.sqrt(var + np.float32(eps))
    scale = gamma * inv_std
    return (mean, var), inv_std, _stack(mean, scale, beta - scale * mean, np.full_like(scale, floor))


def _gradients(dy, sums, x, inv_std, coefficients, skip, into=None):
    """dx, dγ and dβ from dy and its :func:`gradient_sums`; dx is written to ``into``, which may be dy, if given."""
    m, (mean, scale, shift, floor) = x.size // x.shape[3], coefficients
    dbeta, dgamma = sums * [np.ones_like(inv_std), inv_std]             # Σ g,  Σ g·x̂
    if "x" in skip:
        dx = None
    else:
        k, dx = dgamma * inv_std / m, empty(x.shape) if into is None else into
        # dx = scale · (g − dβ/m − x̂ · dγ/m) = scale · (g − dβ/m − k · (x − μ))
        rows = _stack(scale, -scale * k, scale * (k * mean - dbeta / m), scale, shift, floor)
        combine(PARTS, dy, x, x.size, x.shape[3], rows, dx)
        dx = channels_first(dx)
    dgamma, dbeta = dgamma.astype(np.float32), dbeta.astype(np.float32)
    return dx, None if "gamma" in skip else dgamma, None if "beta" in skip else dbeta


def _stack(*rows):
    return np.array(rows, np.float32)
