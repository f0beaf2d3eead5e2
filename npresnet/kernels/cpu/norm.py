"""Batch normalization by its own batch, alone or with what follows it: one pass for the sums, one for each result; and
by stored statistics.

The sums run over shifted values, Σ d and Σ d² with d = x - x[0] for the first pixel of each part of the images: one
pass, and no cancellation where the mean is large beside the deviation.
"""

from typing import Any

import numpy as np

from ...backend import Array, Pullback, Ranks, between_launches
from ...ops.check import IntOrPair, Padding
from ...ops.fused import batch_norm_add_relu, batch_norm_relu, batch_norm_relu_conv2d
from ...ops.norm import batch_norm_eval, batch_norm_train
from ...ops.sync_norm import sync_batch_norm_train
from ...ops.window import Window
from .arrays import empty, is_float32
from .channels import (
    CHANNELS,
    combine,
    finish_gradients,
    finish_moments,
    moments,
    normalize,
    part_gradient_sums,
    stored_coefficients,
)
from .codegen.vector import LANES
from .conv.backward import bias_gradient, filter_gradient, image_gradient
from .conv.cost_model import ceil_div
from .conv.forward import bias_of, forward
from .conv.op import supports as supports_conv
from .layout import channels_first, channels_last, contiguous
from .program.chains import parts
from .program.entry_point import run
from .sync_norm import finish_gradients_of_ranks, finish_moments_of_ranks, own_gradients, own_moments

Result = tuple[Array, Pullback, tuple[Array, ...]]


def supports(x, gamma: Any = None, beta: Any = None, *, eps, ranks=None) -> bool:
    """Images in float32 with whole vectors of channels, two values or more in each."""
    return is_float32(x, gamma, beta) and x.ndim == 4 and gamma.shape == beta.shape == x.shape[1:2] \
        and x.size >= 2 * x.shape[1] > 0 and x.shape[1] % LANES == 0


@batch_norm_train.register("numba", supports)
def batch_norm_train_numba(x: Array, gamma: Array, beta: Array, *, eps: float) -> Result:
    """Equals :func:`npresnet.ops.batch_norm_train`; keeps x in the place of x̂, which is one multiply-add away.

    Saves: x, inv_std, coefficients.
    """
    return _by_batch(x, gamma, beta, eps, relu=False)


@sync_batch_norm_train.register("numba", supports)
def sync_batch_norm_train_numba(x: Array, gamma: Array, beta: Array, *, eps: float, ranks: Ranks) -> Result:
    """Equals :func:`npresnet.ops.sync_batch_norm_train`; keeps x in the place of x̂.

    Saves: x, inv_std, coefficients.
    """
    return _by_batch(x, gamma, beta, eps, relu=False, ranks=ranks)


@batch_norm_relu.register("numba", supports)
def batch_norm_relu_numba(x: Array, gamma: Array, beta: Array, *, eps: float, ranks: Ranks | None = None) -> Result:
    """Equals :func:`npresnet.ops.batch_norm_relu`; x also says what the ReLU let through.

    Saves: x, inv_std, coefficients.
    """
    return _by_batch(x, gamma, beta, eps, relu=True, ranks=ranks)


def supports_then_conv(x, gamma, beta, w, b=None, *, eps, ranks=None, **window) -> bool:
    """What both the batch norm and the convolution support."""
    return supports(x, gamma, beta, eps=eps) and supports_conv(x, w, b, **window)


@batch_norm_relu_conv2d.register("numba", supports_then_conv)
def batch_norm_relu_conv2d_numba(x: Array, gamma: Array, beta: Array, w: Array, b: Array | None = None, *, eps: float,
                                 stride: IntOrPair = 1, padding: Padding = 0, dilation: IntOrPair = 1,
                                 groups: int = 1, ranks: Ranks | None = None) -> Result:
    """Equals :func:`npresnet.ops.batch_norm_relu_conv2d`; computes σ(BN(x)) again where the pullback needs it.

    Saves: x, w, inv_std, coefficients.
    """
    window, biased = Window.of(w.shape[2:], stride, padding, dilation, x.shape[2:]), b is not None
    x = channels_last(x)
    statistics, found, inv_std, coefficients = _statistics(x, gamma, beta, eps, True, ranks)
    over = _over(x, found, ranks)
    run(*statistics)
    y = forward(channels_first(x), w, bias_of(w, b), window, groups, prologue=coefficients[1:])

    def pullback(dy, skip=()):
        dw = None if "w" in skip else filter_gradient(channels_first(x), dy, w.shape, window, groups, coefficients[1:])
        db = bias_gradient(dy) if biased and "b" not in skip else None
        dz = channels_last(image_gradient(dy, w, channels_first(x), window, groups))
        return *_gradients(dz, x, inv_std, coefficients, over, skip, into=dz), dw, db

    return y, pullback, found


def supports_add(x, gamma, beta, s, *, eps, ranks=None) -> bool:
    """What the batch norm supports, and images of the same shape to add."""
    return supports(x, gamma, beta, eps=eps) and is_float32(s) and s.shape == x.shape


@batch_norm_add_relu.register("numba", supports_add)
def batch_norm_add_relu_numba(x: Array, gamma: Array, beta: Array, s: Array, *, eps: float,
                              ranks: Ranks | None = None) -> Result:
    """Equals :func:`npresnet.ops.batch_norm_add_relu`.

    Saves: x, y, inv_std, coefficients.
    """
    x = channels_last(x)
    statistics, found, inv_std, coefficients = _statistics(x, gamma, beta, eps, False, ranks)
    over, y = _over(x, found, ranks), empty(x.shape)
    run(*statistics, normalize.by_part(len(x), x, channels_last(s), *_sizes(x), coefficients[1:], True, y))

    def pullback(dy, skip=()):
        ds = empty(y.shape)
        dx, dgamma, dbeta = _gradients(channels_last(dy), x, inv_std, coefficients, over, skip, y=y, ds=ds)
        return dx, dgamma, dbeta, None if "s" in skip else channels_first(ds)

    return channels_first(y), pullback, found


def supports_stored(x, gamma, beta, mean, var, *, eps) -> bool:
    """As :func:`supports`, and several images: one is answered before a kernel would be compiled."""
    return supports(x, gamma, beta, eps=eps) and is_float32(mean, var) and mean.shape == var.shape == gamma.shape \
        and len(x) > 1


@batch_norm_eval.register("numba", supports_stored)
def batch_norm_eval_numba(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float) \
        -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.batch_norm_eval`.

    Saves: x, inv_std, coefficients, back.
    """
    x = channels_last(x)
    n, _, c = sizes = _sizes(x)
    y, inv_std, coefficients, back = empty(x.shape), empty(c), empty((4, c)), empty((6, c))
    given = *map(contiguous, (gamma, beta, mean, var)), np.array([eps], np.float32)
    run(stored_coefficients.launch(1, c, *given, inv_std, coefficients, back),
        normalize.by_part(n, x, None, *sizes, coefficients[1:], False, y))

    def pullback(dy, skip=()):
        dy, launches = channels_last(dy), []
        dgamma, dbeta, dx = empty(c), empty(c), None if "x" in skip else empty(x.shape)
        if not {"gamma", "beta"} <= set(skip):
            sums, first = _sums(dy, x, coefficients)
            launches += [first, finish_gradients.launch(ceil_div(c, CHANNELS), sums, parts(n), x.size // c, c,
                                                        coefficients, inv_std, dgamma, dbeta, empty((6, c)))]
        if dx is not None:
            launches.append(combine.by_part(n, dy, x, *sizes, back, dx))
        if launches:
            run(*launches)
        dx = None if dx is None else channels_first(dx)
        return dx, None if "gamma" in skip else dgamma, None if "beta" in skip else dbeta

    return channels_first(y), pullback


def _by_batch(x, gamma, beta, eps, relu, ranks=None):
    x = channels_last(x)
    statistics, found, inv_std, coefficients = _statistics(x, gamma, beta, eps, relu, ranks)
    over, y = _over(x, found, ranks), empty(x.shape)
    run(*statistics, normalize.by_part(len(x), x, None, *_sizes(x), coefficients[1:], relu, y))

    def pullback(dy, skip=()):
        return _gradients(channels_last(dy), x, inv_std, coefficients, over, skip)

    return channels_first(y), pullback, found


def _sizes(x):
    """(images, pixels in each, channels)"""
    n, h, w, c = x.shape
    return n, h * w, c


def _over(x, moments, ranks):
    """(m, ranks): how many values of a channel the statistics are taken over, and the ranks that have them."""
    return (x.size // x.shape[-1] if ranks is None else int(moments[2].sum())), ranks


def _statistics(x, gamma, beta, eps, relu, ranks):
    """The launches for (μ, σ²), 1/√(σ² + ε), and rows (μ, scale, shift, floor) of y = max(floor, scale·x + shift).

    With ``ranks`` they are those of all their images, and with (μ, σ²) come the ranks' counts, which are there at once.
    """
    n, _, c = sizes = _sizes(x)
    sums, items = empty((parts(n), 3, c), np.float64), ceil_div(c, CHANNELS)
    values, inv_std, rows = empty((2, c)), empty(c), empty((4, c))
    gamma, beta, eps = contiguous(gamma), contiguous(beta), np.array([eps], np.float32)
    first = moments.by_part(n, x, *sizes, sums)
    if ranks is None:
        last = finish_moments.launch(items, sums, *sizes, gamma, beta, eps, relu, values, inv_std, rows)
        return (first, last), (values[0], values[1]), inv_std, rows
    own, every = empty((3, c), np.float64), empty((ranks.size, 3, c), np.float64)
    run(first, own_moments.launch(items, sums, *sizes, own))
    between_launches(lambda: np.copyto(every, ranks.gather(own)))
    last = finish_moments_of_ranks.launch(items, every, ranks.size, c, gamma, beta, eps, relu, values, inv_std, rows)
    return (last,), (values[0], values[1], every[:, 0, 0].astype(np.float32)), inv_std, rows


def _gradients(dy, x, inv_std, coefficients, over, skip, into=None, y=None, ds=None):
    """dx, dγ and dβ; dx is written to ``into``, which may be dy, if given; with ``y``, dy goes through its ReLU to
    ``ds`` first.  ``over`` as of :func:`_over`."""
    n, _, c = sizes = _sizes(x)
    (m, ranks), items = over, ceil_div(c, CHANNELS)
    dgamma, dbeta, rows = empty(c), empty(c), empty((6, c))
    sums, first = _sums(dy, x, coefficients, y, ds)
    if ranks is None:
        launches = [first, finish_gradients.launch(items, sums, parts(n), m, c, coefficients, inv_std, dgamma, dbeta,
                                                   rows)]
    else:
        own, every, launches = empty((2, c), np.float64), empty((2, c), np.float64), []
        run(first, own_gradients.launch(items, sums, parts(n), c, inv_std, dgamma, dbeta, own))
        if "x" not in skip:
            between_launches(lambda: np.copyto(every, ranks.all_reduce(own)))
            launches.append(finish_gradients_of_ranks.launch(items, every, m, c, coefficients, inv_std, rows))
    dx = (empty(x.shape) if into is None else into) if "x" not in skip else None
    if dx is not None:
        launches.append(combine.by_part(n, dy if ds is None else ds, x, *sizes, rows, dx))
    if launches:
        run(*launches)
    dx = None if dx is None else channels_first(dx)
    return dx, None if "gamma" in skip else dgamma, None if "beta" in skip else dbeta


def _sums(dy, x, coefficients, y=None, ds=None):
    """Where Σ g and Σ g·(x − μ) of each part go, and the launch that computes them."""
    n, _, c = sizes = _sizes(x)
    sums = empty((parts(n), 2, c), np.float64)
    return sums, part_gradient_sums.by_part(n, dy, x, y, ds, *sizes, coefficients, sums)
