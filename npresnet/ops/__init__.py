"""The math: pure functions that return their value and its pullback, the transposed derivative.

    y, pullback = op(x, *arrays, **static)
    dx, *darrays = pullback(dy)

dy has the shape and the dtype of y.  The pullback of an op with weights takes ``skip``, the names of
arguments whose gradient is not wanted; None stands in their place.

A wrong argument raises a ValueError or TypeError of one line that names it (:mod:`.rules`).  Examples below stand for
``import numpy as np``.
"""

from .activation import gelu, leaky_relu, relu, silu
from .adaptive import adaptive_avg_pool2d
from .add import add
from .all_reduce import all_reduce_sum
from .blur import blur_pool2d
from .cast import batch_norm_eval_cast, batch_norm_train_cast, cast, group_norm_cast
from .conv import col2im, conv2d, im2col
from .fused import batch_norm_add_relu, batch_norm_relu, batch_norm_relu_conv2d
from .gate import conv_channels, scale_channels, sigmoid
from .group_norm import group_norm
from .linear import linear
from .loss import softmax_cross_entropy
from .norm import batch_norm_eval, batch_norm_train
from .pad import constant_pad2d, subsample, zero_pad2d, zero_pad_channels
from .pool import avg_pool2d, global_avg_pool2d, max_pool2d
from .quantize import Quantized, dequantize, fake_quantize, quantize
from .quantized import integer_conv2d, integer_linear, quantized_add, requantize
from .quantized_pool import quantized_avg_pool2d, quantized_max_pool2d, quantized_mean, quantized_relu
from .rules import op
from .softmax import log_softmax, softmax
from .sync_norm import sync_batch_norm_train
from .update import momentum_step, moving_statistics
from .window import Window, same_padding

__all__ = [
    "Quantized", "Window", "adaptive_avg_pool2d", "add", "all_reduce_sum", "avg_pool2d", "batch_norm_add_relu",
    "batch_norm_eval", "batch_norm_eval_cast", "batch_norm_relu", "batch_norm_relu_conv2d", "batch_norm_train",
    "batch_norm_train_cast", "blur_pool2d", "cast", "col2im", "constant_pad2d", "conv2d", "conv_channels",
    "dequantize", "fake_quantize", "gelu", "global_avg_pool2d", "group_norm", "group_norm_cast", "im2col",
    "integer_conv2d", "integer_linear", "leaky_relu", "linear", "log_softmax", "max_pool2d", "momentum_step",
    "moving_statistics", "op", "quantize", "quantized_add", "quantized_avg_pool2d", "quantized_max_pool2d",
    "quantized_mean", "quantized_relu", "relu", "requantize", "same_padding", "scale_channels", "sigmoid", "silu",
    "softmax", "softmax_cross_entropy", "subsample", "sync_batch_norm_train", "zero_pad2d", "zero_pad_channels",
]
