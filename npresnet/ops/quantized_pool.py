"""The layers that keep the scale of what they read, on integers of 8 bits: r = s (q − z) before and after."""

from ..backend import array_namespace
from .check import IntOrPair, Padding
from .pool import avg_pool2d, max_pool2d
from .quantize import UNSIGNED, Quantized, saturate
from .quantized import requantize


def quantized_relu(x: Quantized) -> Quantized:
    """q = max(q, z): z is the real 0, and s > 0 keeps the order.

    Shapes: any.
    """
    return x._replace(q=array_namespace(x.q).maximum(x.q, x.q.dtype.type(x.zero_point)))


def quantized_max_pool2d(x: Quantized, kernel: IntOrPair, *, stride: IntOrPair, padding: Padding = 0,
                         dilation: IntOrPair = 1, ceil_mode: bool = False) -> Quantized:
    """The largest integer in each window, which is the largest real, since s > 0 keeps the order.

    Shapes: (N, C, H, W) → (N, C, oh, ow), the scale and the zero point x's.
    """
    y, _ = max_pool2d(x.q.astype("float32"), kernel, stride=stride, padding=padding, dilation=dilation,
                      ceil_mode=ceil_mode)
    return x._replace(q=y.astype(x.q.dtype))


def quantized_avg_pool2d(x: Quantized, kernel: IntOrPair, *, stride: IntOrPair, padding: Padding = 0,
                         ceil_mode: bool = False, count_include_pad: bool = True) -> Quantized:
    """q = round(1/m Σ (q − z)) + z over each window, padding counted as the real 0.

    Shapes: (N, C, H, W) → (N, C, oh, ow), the scale and the zero point x's.
    """
    y, _ = avg_pool2d(x.q.astype("float64") - x.zero_point, kernel, stride=stride, padding=padding,
                      ceil_mode=ceil_mode, count_include_pad=count_include_pad)
    return x._replace(q=saturate(array_namespace(y).rint(y) + x.zero_point, UNSIGNED))


def quantized_mean(x: Quantized) -> Quantized:
    """q[n,c] = round(1/(H W) Σ (q − z)) + z, the global average, by :func:`requantize` with m = 1/(H W).

    Shapes: (N, C, H, W) → (N, C), the scale and the zero point x's.
    """
    pixels = x.q.shape[2] * x.q.shape[3]
    a = x.q.sum((2, 3), dtype="int32") - pixels * x.zero_point
    share = array_namespace(x.q).ones(1, "float32") / pixels
    return x._replace(q=requantize(a, share, zero_point=x.zero_point))
