"""Each op as its docstring says it: the sum, written as plain loops over numbers.  Slow, and nothing to get wrong.

Nothing here uses :mod:`npresnet`.  A function takes an op's arguments and returns what the op does, less the pullback.
"""

import math

import numpy as np


def pair(value):
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


class Axis:
    """One axis of i pixels under a window: where each output starts, and which of its taps meet a pixel."""

    def __init__(self, i, k, s, padding, d=1, ceil_mode=False):
        (self.before, self.after), self.i, self.k, self.s, self.d = pair(padding), i, k, s, d
        total, reach = self.before + i + self.after, d * (k - 1) + 1
        self.outputs, start = 0, 0
        while start + reach <= total or (ceil_mode and start + reach < total + s and start < self.before + i):
            self.outputs, start = self.outputs + 1, start + s

    def taps(self, p):
        """(tap, pixel) for every tap of output p that meets a pixel."""
        for t in range(self.k):
            at = p * self.s + t * self.d - self.before
            if 0 <= at < self.i:
                yield t, at

    def counted(self, p, count_include_pad):
        """How many positions of window p lie inside the image, or inside the padded image."""
        places = [p * self.s + t - self.before for t in range(self.k)]
        low, high = (-self.before, self.i + self.after) if count_include_pad else (0, self.i)
        return sum(low <= at < high for at in places)


def sides(padding, size=(), kernel=1, stride=1, dilation=1):
    """((top, bottom), (left, right)) of a padding in numbers or as a word."""
    if not isinstance(padding, str):
        return [pair(p) for p in pair(padding)]
    found = []
    for i, k, s, d in zip(size, pair(kernel), pair(stride), pair(dilation)):
        total = 0 if padding == "valid" else max(0, (math.ceil(i / s) - 1) * s + d * (k - 1) + 1 - i)
        small, large = math.floor(total / 2), math.ceil(total / 2)
        found.append((large, small) if padding == "same_lower" else (small, large))
    return found


def axes(x, kernel, stride, padding, dilation=1, ceil_mode=False):
    padding = sides(padding, x.shape[2:], kernel, stride, dilation)
    sizes = zip(x.shape[2:], pair(kernel), pair(stride), padding, pair(dilation))
    return [Axis(*size, ceil_mode=ceil_mode) for size in sizes]


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    rows, cols = axes(x, w.shape[2:], stride, padding, dilation)
    (n, c), f = x.shape[:2], len(w)
    y = np.zeros((n, f, rows.outputs, cols.outputs), x.dtype)
    for image, filter, p, q in np.ndindex(*y.shape):
        first = filter // (f // groups) * (c // groups)
        y[image, filter, p, q] = (0 if b is None else b[filter]) + sum(
            w[filter, channel, i, j] * x[image, first + channel, row, col]
            for channel in range(c // groups) for i, row in rows.taps(p) for j, col in cols.taps(q))
    return y


def winograd_conv2d(x, w, b=None, *, padding=1, tile=4):
    return conv2d(x, w, b, padding=padding)


def max_pool2d(x, kernel, *, stride, padding=0, dilation=1, ceil_mode=False):
    return _max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)[0]


def max_pool2d_pullback(x, dy, kernel, *, stride, padding=0, dilation=1, ceil_mode=False):
    """The first maximum of each window gets its whole dy."""
    dx = np.zeros_like(x)
    for at, place in _max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)[1].items():
        dx[place] += dy[at]
    return dx


def _max_pool2d(x, kernel, stride, padding, dilation, ceil_mode):
    rows, cols = axes(x, kernel, stride, padding, dilation, ceil_mode)
    y = np.full((*x.shape[:2], rows.outputs, cols.outputs), -np.inf, x.dtype)
    won = {}
    for n, c, p, q in np.ndindex(*y.shape):
        for _, row in rows.taps(p):
            for _, col in cols.taps(q):
                if (n, c, p, q) not in won or x[n, c, row, col] > y[n, c, p, q]:
                    y[n, c, p, q], won[n, c, p, q] = x[n, c, row, col], (n, c, row, col)
    return y, won


def avg_pool2d(x, kernel, *, stride, padding=0, ceil_mode=False, count_include_pad=True):
    rows, cols = axes(x, kernel, stride, padding, ceil_mode=ceil_mode)
    y = np.zeros((*x.shape[:2], rows.outputs, cols.outputs), x.dtype)
    for n, c, p, q in np.ndindex(*y.shape):
        m = rows.counted(p, count_include_pad) * cols.counted(q, count_include_pad)
        y[n, c, p, q] = sum(x[n, c, row, col] for _, row in rows.taps(p) for _, col in cols.taps(q)) / m
    return y


def blur_pool2d(x, *, stride):
    (n, c, h, w), (sh, sw), k = x.shape, pair(stride), (0.25, 0.5, 0.25)
    y = np.zeros((n, c, -(-h // sh), -(-w // sw)), x.dtype)
    for a, b, p, q in np.ndindex(*y.shape):
        rows, cols = ([abs(at) if at < i else 2 * (i - 1) - at for at in (s * o - 1, s * o, s * o + 1)]
                      for i, s, o in ((h, sh, p), (w, sw, q)))
        y[a, b, p, q] = sum(k[i] * k[j] * x[a, b, row, col] for i, row in enumerate(rows) for j, col in enumerate(cols))
    return y


def adaptive_avg_pool2d(x, output_size):
    (n, c, h, w), (oh, ow) = x.shape, pair(output_size)
    y = np.zeros((n, c, oh, ow), x.dtype)
    for i, k, p, q in np.ndindex(*y.shape):
        rows, cols = (range(math.floor(at * size / o), math.ceil((at + 1) * size / o))
                      for at, size, o in ((p, h, oh), (q, w, ow)))
        y[i, k, p, q] = sum(x[i, k, row, col] for row in rows for col in cols) / (len(rows) * len(cols))
    return y


def global_avg_pool2d(x):
    n, c, h, w = x.shape
    y = np.zeros((n, c), x.dtype)
    for at in np.ndindex(n, c):
        y[at] = sum(x[at][p, q] for p in range(h) for q in range(w)) / (h * w)
    return y


def given(x, gamma, beta):
    """γ and β as numbers for each channel, 1 and 0 where they are None."""
    c = x.shape[1]
    return [1.0] * c if gamma is None else gamma, [0.0] * c if beta is None else beta


def batch_norm_train(x, gamma=None, beta=None, *, eps):
    gamma, beta = given(x, gamma, beta)
    n, c, h, w = x.shape
    y, mean, var = np.zeros_like(x), np.zeros(c, x.dtype), np.zeros(c, x.dtype)
    for k in range(c):
        values = [x[i, k, p, q] for i in range(n) for p in range(h) for q in range(w)]
        mean[k] = sum(values) / max(1, len(values))
        var[k] = sum((value - mean[k]) ** 2 for value in values) / max(1, len(values))
    for i, k, p, q in np.ndindex(*x.shape):
        y[i, k, p, q] = gamma[k] * (x[i, k, p, q] - mean[k]) / math.sqrt(var[k] + eps) + beta[k]
    return y, (mean, var)


def sync_batch_norm_train(x, gamma=None, beta=None, *, eps, ranks):
    """Of a rank that is alone."""
    y, moments = batch_norm_train(x, gamma, beta, eps=eps)
    return y, (*moments, np.array([x.size // max(1, x.shape[1])], x.dtype))


def all_reduce_sum(x, *, ranks):
    return x


def batch_norm_relu(x, gamma, beta, *, eps):
    y, moments = batch_norm_train(x, gamma, beta, eps=eps)
    return relu(y), moments


def batch_norm_relu_conv2d(x, gamma, beta, w, b=None, *, eps, **window):
    y, moments = batch_norm_relu(x, gamma, beta, eps=eps)
    return conv2d(y, w, b, **window), moments


def batch_norm_add_relu(x, gamma, beta, s, *, eps):
    y, moments = batch_norm_train(x, gamma, beta, eps=eps)
    return relu(y + s), moments


def batch_norm_eval(x, gamma, beta, mean, var, *, eps):
    gamma, beta = given(x, gamma, beta)
    y = np.zeros_like(x)
    for i, k, p, q in np.ndindex(*x.shape):
        y[i, k, p, q] = gamma[k] * (x[i, k, p, q] - mean[k]) / math.sqrt(var[k] + eps) + beta[k]
    return y


def group_norm(x, gamma, beta, *, groups, eps):
    gamma, beta = given(x, gamma, beta)
    n, c, h, w = x.shape
    y, size = np.zeros_like(x), c // groups
    for i, g in np.ndindex(n, groups):
        values = [x[i, k, p, q] for k in range(g * size, (g + 1) * size) for p in range(h) for q in range(w)]
        mean = sum(values) / len(values)
        var = sum((value - mean) ** 2 for value in values) / len(values)
        for k, p, q in np.ndindex(size, h, w):
            k += g * size
            y[i, k, p, q] = gamma[k] * (x[i, k, p, q] - mean) / math.sqrt(var + eps) + beta[k]
    return y


def relu(x):
    y = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        y[at] = x[at] if x[at] > 0 else 0
    return y


def leaky_relu(x, *, negative_slope=0.01):
    y = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        y[at] = x[at] if x[at] > 0 else negative_slope * x[at]
    return y


def gelu(x):
    y = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        y[at] = x[at] * (1 + math.erf(x[at] / math.sqrt(2))) / 2
    return y


def silu(x):
    y = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        y[at] = x[at] / (1 + math.exp(-x[at]))
    return y


def sigmoid(x):
    y = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        y[at] = 1 / (1 + math.exp(-x[at]))
    return y


def conv_channels(x, w):
    y, k = np.zeros_like(x), w.shape[2]
    for n, c in np.ndindex(*x.shape):
        y[n, c] = sum(w[0, 0, j] * x[n, c + j - k // 2] for j in range(k) if 0 <= c + j - k // 2 < x.shape[1])
    return y


def scale_channels(x, s):
    y = np.zeros_like(x)
    for n, c, p, q in np.ndindex(*x.shape):
        y[n, c, p, q] = s[n, c] * x[n, c, p, q]
    return y


def softmax(z):
    p = np.zeros_like(z)
    for n, k in np.ndindex(*z.shape):
        p[n, k] = math.exp(z[n, k]) / sum(math.exp(value) for value in z[n])
    return p


def log_softmax(z):
    y, p = np.zeros_like(z), softmax(z)
    for n, k in np.ndindex(*z.shape):
        y[n, k] = math.log(p[n, k])
    return y


def softmax_cross_entropy(logits, labels, weight=None, *, label_smoothing=0.0, ignore_index=None, reduction="mean"):
    (n, k), p = logits.shape, softmax(logits)
    w = [1.0] * k if weight is None else list(weight)
    losses, m = np.zeros(n, logits.dtype), 0.0
    for row in range(n):
        if labels[row] != ignore_index:
            m += w[labels[row]]
            for column in range(k):
                q = (1 - label_smoothing) * (column == labels[row]) + label_smoothing / k
                losses[row] -= w[column] * q * math.log(p[row, column])
    if reduction == "none":
        return losses
    return np.asarray(sum(losses) / (m if reduction == "mean" else 1), logits.dtype)


def linear(x, w, b=None):
    y = np.zeros((len(x), len(w)), x.dtype)
    for n, m in np.ndindex(*y.shape):
        y[n, m] = sum(x[n, d] * w[m, d] for d in range(x.shape[1])) + (0 if b is None else b[m])
    return y


def zero_pad2d(x, padding):
    return constant_pad2d(x, padding)


def constant_pad2d(x, padding, *, value=0.0):
    (top, bottom), (left, right) = (pair(sides) for sides in pair(padding))
    n, c, h, w = x.shape
    y = np.full((n, c, top + h + bottom, left + w + right), value, x.dtype)
    for i, k, p, q in np.ndindex(*x.shape):
        y[i, k, top + p, left + q] = x[i, k, p, q]
    return y


def zero_pad_channels(x, before, after):
    n, c, h, w = x.shape
    y = np.zeros((n, before + c + after, h, w), x.dtype)
    for i, k, p, q in np.ndindex(*x.shape):
        y[i, before + k, p, q] = x[i, k, p, q]
    return y


def subsample(x, stride):
    sh, sw = pair(stride)
    n, c, h, w = x.shape
    y = np.zeros((n, c, math.ceil(h / sh), math.ceil(w / sw)), x.dtype)
    for i, k, p, q in np.ndindex(*y.shape):
        y[i, k, p, q] = x[i, k, sh * p, sw * q]
    return y
