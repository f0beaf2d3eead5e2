"""conv2d and its pullback through the kernels here, channels last in memory."""

import numpy as np

from ....ops.conv import conv2d
from ....ops.total import total
from ....ops.window import Window
from .backward import filter_gradient, image_gradient
from .forward import bias_of, forward
from .pack import LANES


@conv2d.register("numba")
def conv2d_numba(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    """Equals :func:`npresnet.ops.conv2d`: 1x1 as one product, wide 3x3 by Winograd's F(2x2, 3x3), others direct.

    F(2x2, 3x3) rounds less than the direct sum, which has nine times its terms.  F(4x4, 3x3), ten times coarser, would
    carry more values across the kinks of ReLU and training away from PyTorch's: it serves the engine, and dW.

    The result has channels-last strides.  Where vectors of channels cannot be filled, the reference runs.

    Saves: x, w.
    """
    if not conv_fits(x, w, b, groups, dilation):
        return conv2d.reference(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    window, biased = Window.of(w.shape[2:], stride, padding, dilation), b is not None
    y = forward(x, w, bias_of(w, b), window)

    def pullback(dy, skip=()):
        dx = None if "x" in skip else image_gradient(dy, w, x, window)
        dw = None if "w" in skip else filter_gradient(x, dy, w.shape, window)
        db = total(dy, (0, 2, 3)) if biased and "b" not in skip else None
        return dx, dw, db

    return y, pullback


def conv_fits(x, w, b, groups, dilation) -> bool:
    """A batch in float32, whole vectors of filters and (but for an image's few) of channels, one group, no holes."""
    arrays = [a for a in (x, w, b) if a is not None]
    if any(not isinstance(a, np.ndarray) or a.dtype != np.float32 for a in arrays) or x.ndim != 4 or w.ndim != 4:
        return False
    shapes = x.shape[1] == w.shape[1] and (b is None or b.shape == w.shape[:1]) and min(x.shape + w.shape) > 0
    whole = len(w) % LANES == 0 and (x.shape[1] % LANES == 0 or x.shape[1] <= 4)
    return shapes and len(x) > 1 and whole and groups == 1 and dilation in (1, (1, 1)) and max(w.shape[:2]) <= 8192
