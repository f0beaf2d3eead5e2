"""conv2d and its pullback through the kernels here, channels last in memory."""

from ....backend import Array, Pullback
from ....ops.check import IntOrPair, Padding
from ....ops.conv import conv2d
from ....ops.window import Window
from ..arrays import is_float32
from ..codegen.vector import LANES
from .backward import bias_gradient, filter_gradient, image_gradient
from .forward import bias_of, forward
from .pack import merged_groups


def supports(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1) -> bool:
    """A batch in float32, whole vectors of filters and of channels (or an image's few), no dilation.

    Groups, or as many neighbouring ones as are merged to fill vectors, are whole vectors too.
    """
    if not is_float32(x, w) or not (b is None or is_float32(b)) or x.ndim != 4 or w.ndim != 4:
        return False
    shapes = x.shape[1] == w.shape[1] * groups and (b is None or b.shape == w.shape[:1]) and min(x.shape + w.shape) > 0
    if not shapes or len(x) < 2 or dilation not in (1, (1, 1)) or max(x.shape[1], len(w)) > 8192:
        return False
    if groups > 1:
        merged = merged_groups(w.shape, groups) * LANES
        return len(w) % groups == len(w) % merged == x.shape[1] % merged == 0
    return len(w) % LANES == 0 and (x.shape[1] % LANES == 0 or x.shape[1] <= 4)


@conv2d.register("numba", supports)
def conv2d_numba(x: Array, w: Array, b: Array | None = None, *, stride: IntOrPair = 1, padding: Padding = 0,
                 dilation: IntOrPair = 1, groups: int = 1) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.conv2d`: 1x1 as one product, wide 3x3 by Winograd's F(2x2, 3x3), others direct;
    narrow groups by shuffles, or several as one.

    F(2x2, 3x3) rounds less than the direct sum, which has nine times its terms.  F(4x4, 3x3), ten times coarser, would
    carry more values across the kinks of ReLU and training away from PyTorch's: it serves the engine, dX and dW.

    The result has channels-last strides.

    Saves: x, w.
    """
    window, biased = Window.of(w.shape[2:], stride, padding, dilation, x.shape[2:]), b is not None
    y = forward(x, w, bias_of(w, b), window, groups)

    def pullback(dy, skip=()):
        dx = None if "x" in skip else image_gradient(dy, w, x, window, groups)
        dw = None if "w" in skip else filter_gradient(x, dy, w.shape, window, groups)
        db = bias_gradient(dy) if biased and "b" not in skip else None
        return dx, dw, db

    return y, pullback
