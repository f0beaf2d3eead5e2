"""Layers: ops with the arrays they need, named and keyed as in PyTorch."""

from collections.abc import Callable, Mapping
from inspect import signature
from math import prod
from typing import Any

import numpy as np

from .. import ops
from ..backend import Array, Pullback, Ranks, array_namespace
from ..ops import check, rules
from ..ops.check import Frame, IntOrPair, Padding
from .module import Buffer, Model, Module, Parameter, layer_pullback, needs_module, once
from .placeholders import ones, zeros


class Conv2d(Module):
    """y = w ⋆ x + b over images: :func:`npresnet.ops.conv2d` with stored filters.

    ``kernel``, ``stride`` and ``dilation`` are an int or a (vertical, horizontal) pair; ``padding``
    may also be ((top, bottom), (left, right)), "valid", "same" for TensorFlow's rule, or "same_lower".
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: IntOrPair,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = False,
    ):
        rules.arguments(
            channels=channels,
            filters=filters,
            kernel=kernel,
            stride=stride,
            dilation=dilation,
            groups=groups,
            bias=bias,
            padding=padding,
        )
        if channels % groups or filters % groups:
            raise ValueError(f"groups must divide the {channels} channels and the {filters} filters, not {groups}")
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.padding: Padding = padding
        self.weight = Parameter(zeros(filters, channels // groups, *check.pair(kernel)))
        self.bias = Parameter(zeros(filters)) if bias else None

    def vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        y, op_pullback = ops.conv2d(x, self.weight.value, self.bias and self.bias.value, **self.window())
        return y, layer_pullback(op_pullback, input_grad, w=self.weight, b=self.bias)

    def window(self) -> dict[str, Any]:
        """The op's static arguments."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    def output_shape(self, x: Array) -> tuple[int, ...]:
        """oh = ⌊(h + 2p − d(k − 1) − 1) / s⌋ + 1, and so ow."""
        filters, channels, *kernel = self.weight.value.shape
        if x.shape[1] != channels * self.groups:
            raise ValueError(f"it reads {channels * self.groups} channels")
        window = ops.Window.of(tuple(kernel), self.stride, self.padding, self.dilation, x.shape[2:])
        return (x.shape[0], filters, *window.output_size(x.shape[2:]))

    def macs(self, y: Array) -> int:
        """N · F · oh · ow · (C / groups) · kh · kw."""
        return y.size * prod(self.weight.value.shape[1:])

    def window_size(self) -> tuple[int, ...]:
        return tuple(self.weight.value.shape[2:])

    def keeps(self, x: Array, y: Array) -> Array | None:
        return x


class BatchNorm2d(Module):
    """Batch statistics while training, running statistics otherwise.

    In training each call also moves the running statistics, [BN] §3.1 in PyTorch's convention:

        running ← (1 − momentum) · running + momentum · batch

    with the unbiased batch variance σ² m/(m−1) unless ``unbiased`` is False.  With ``momentum`` None it is 1/t at
    the t-th batch, so that running is the mean over all batches.  A batch of no images is counted, and moves nothing.

    Without ``affine`` there are no γ and β.  Without ``track_running_stats`` there are no running statistics, and it
    normalizes by the batch's in evaluation, too.  A ``frozen`` batch norm uses running statistics always (see
    :func:`freeze_batch_norm`).  One with ``ranks`` takes the statistics of a batch over all ranks' shares of it (see
    :func:`synchronize_batch_norm`).
    """

    frozen = False
    ranks: Ranks | None = None
    running_mean: Any  # this, running_var and num_batches_tracked: Buffers, or None
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        unbiased: bool = True,
        affine: bool = True,
        track_running_stats: bool = True,
    ):
        rules.arguments(channels=channels, eps=eps, unbiased=unbiased, momentum=0.0 if momentum is None else momentum)
        rules.arguments(affine=affine, track_running_stats=track_running_stats)
        self.eps, self.momentum, self.unbiased = eps, momentum, unbiased
        self.weight = Parameter(ones(channels)) if affine else None
        self.bias = Parameter(zeros(channels)) if affine else None
        self.running_mean = Buffer(zeros(channels)) if track_running_stats else None
        self.running_var = Buffer(ones(channels)) if track_running_stats else None
        self.num_batches_tracked = Buffer(np.zeros((), np.int64)) if track_running_stats else None

    @property
    def uses_batch_statistics(self) -> bool:
        """Whether it normalizes by the statistics of the batch: in training, unless frozen, or without others."""
        return self.running_mean is None or (self.training and not self.frozen)

    def vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        check.images(x, "a batch norm")
        held = self.weight or self.running_mean
        mixed = x.dtype.itemsize == 2 and (held is None or held.value.dtype.itemsize > 2)  # float32 statistics
        if self.uses_batch_statistics:
            plain = ops.sync_batch_norm_train if self.over_ranks() else ops.batch_norm_train
            return self.by_batch(ops.batch_norm_train_cast if mixed else plain, x, input_grad=input_grad)
        op = ops.batch_norm_eval_cast if mixed else ops.batch_norm_eval
        gamma, beta = self.weight and self.weight.value, self.bias and self.bias.value
        y, op_pullback = op(x, gamma, beta, self.running_mean.value, self.running_var.value, eps=self.eps)
        return y, layer_pullback(op_pullback, input_grad, gamma=self.weight, beta=self.bias)

    def over_ranks(self) -> dict[str, Ranks]:
        """The argument ``ranks`` of an op, if the statistics are taken over all ranks: in training alone."""
        return {} if self.ranks is None or not self.training else {"ranks": self.ranks}

    def by_batch(
        self,
        op: Callable[..., Any],
        x: Array,
        *others: Array,
        input_grad: bool = True,
        after: Mapping[str, Parameter | None] | None = None,
        **static: Any,
    ) -> tuple[Array, Pullback]:
        """Run ``op``: batch_norm_train, or a fused op that also computes the layers after it.

        ``others`` are the fused op's further arrays; ``after`` holds the parameters of those layers by the op's names.
        """
        parameters = {"gamma": self.weight, "beta": self.bias, **(after or {})}
        values = (parameter and parameter.value for parameter in parameters.values())
        y, op_pullback, moments = op(x, *values, *others, eps=self.eps, **static, **self.over_ranks())
        mean, var, *counts = moments  # the ranks'
        self.track(mean, var, int(counts[0].sum()) if counts else len(x) * x.shape[2] * x.shape[3])
        return y, layer_pullback(op_pullback, input_grad, **parameters)

    def track(self, mean: Array, var: Array, m: int) -> None:
        """Move the running statistics, if there are any, towards those of a batch of m values for each channel."""
        if self.running_mean is None:
            return
        seen = self.num_batches_tracked.value
        self.num_batches_tracked.value = seen = array_namespace(seen).asarray(seen + 1)
        if m == 0:
            return
        momentum = (1 / seen).astype(mean.dtype) if self.momentum is None else self.momentum
        self.running_mean.value, self.running_var.value = ops.moving_statistics(
            self.running_mean.value,
            self.running_var.value,
            mean,
            var,
            momentum=momentum,
            correction=m / (m - 1) if self.unbiased else 1.0,
        )

    def affine_map(self) -> tuple[Array, Array]:
        """(a, b) of y = a x + b, the map of each channel by running statistics, in float64."""
        if self.running_mean is None:
            raise ValueError("a batch norm without running statistics (track_running_stats=False) follows the batch")
        a = (self.running_var.value.astype(np.float64) + self.eps) ** -0.5
        a = a if self.weight is None else self.weight.value * a
        return a, (0 if self.bias is None else self.bias.value) - a * self.running_mean.value

    def output_shape(self, x: Array) -> tuple[int, ...]:
        return x.shape

    def bytes_kept(self, x: Array, y: Array) -> int:
        """x_hat, an array of its own; a frozen one keeps x."""
        return 0 if self.frozen else 4 * x.size

    def keeps(self, x: Array, y: Array) -> Array | None:
        return x if self.frozen else None


class GroupNorm(Module):
    """Each group of channels of an image normalized by its own mean and variance, in training and evaluation alike.

    See :func:`npresnet.ops.group_norm`.  As in PyTorch, ``groups`` comes first.
    """

    def __init__(self, groups: int, channels: int, eps: float = 1e-5):
        rules.arguments(groups=groups, channels=channels, eps=eps)
        if channels % groups:
            raise ValueError(f"a group norm's groups must divide its {channels} channels, not {groups}")
        self.groups, self.eps = groups, eps
        self.weight = Parameter(ones(channels))
        self.bias = Parameter(zeros(channels))

    def vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        check.images(x, "a group norm")
        mixed = x.dtype.itemsize == 2 < self.weight.value.dtype.itemsize  # 16-bit images, float32 parameters
        op = ops.group_norm_cast if mixed else ops.group_norm
        y, op_pullback = op(x, self.weight.value, self.bias.value, groups=self.groups, eps=self.eps)
        return y, layer_pullback(op_pullback, input_grad, gamma=self.weight, beta=self.bias)

    def output_shape(self, x: Array) -> tuple[int, ...]:
        if x.shape[1:2] != self.weight.value.shape:
            raise ValueError(f"it reads {len(self.weight.value)} channels")
        return x.shape

    def bytes_kept(self, x: Array, y: Array) -> int:
        """x_hat, an array of its own."""
        return 4 * x.size


class ChannelConv(Module):
    """A convolution along the channels of single pixels (N, C, 1, 1): :func:`npresnet.ops.conv_channels`."""

    def __init__(self, kernel: int):
        check.integer(kernel, "kernel", 1)
        self.weight = Parameter(zeros(1, 1, kernel))

    def vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        y, op_pullback = ops.conv_channels(x.reshape(x.shape[:2]), self.weight.value)
        pullback = layer_pullback(op_pullback, input_grad, w=self.weight)

        def run(dy):
            dx = pullback(dy.reshape(dy.shape[:2]))
            return None if dx is None else dx[:, :, None, None]

        return y[:, :, None, None], run

    def output_shape(self, x: Array) -> tuple[int, ...]:
        if x.shape[2:] != (1, 1):
            raise ValueError("it reads single pixels")
        return x.shape

    def macs(self, y: Array) -> int:
        """N · C · k."""
        return y.size * self.weight.value.size

    def window_size(self) -> tuple[int, ...]:
        return self.weight.value.shape[2:]

    def keeps(self, x: Array, y: Array) -> Array | None:
        return x


class Linear(Module):
    """y = x Wᵀ + b."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True):
        rules.arguments(inputs=inputs, outputs=outputs, bias=bias)
        self.weight = Parameter(zeros(outputs, inputs))
        self.bias = Parameter(zeros(outputs)) if bias else None

    def vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        y, op_pullback = ops.linear(x, self.weight.value, self.bias and self.bias.value)
        return y, layer_pullback(op_pullback, input_grad, w=self.weight, b=self.bias)

    def output_shape(self, x: Array) -> tuple[int, ...]:
        outputs, inputs = self.weight.value.shape
        if x.shape[1:] != (inputs,):
            raise ValueError(f"it reads {inputs} features")
        return x.shape[0], outputs

    def macs(self, y: Array) -> int:
        """N · outputs · inputs."""
        return self.weight.value.size * y.shape[0]

    def keeps(self, x: Array, y: Array) -> Array | None:
        return x


class Function(Module):
    """An op without weights, its static arguments fixed."""

    op: Callable[..., Any]  # in a subclass: staticmethod(the op)

    def __init__(self, **static: Any):
        signature(self.op).bind(None, **static)  # a TypeError names what is missing or unknown
        rules.arguments(**static)
        self.static: dict[str, Any] = static

    def vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        y, pullback = self.op(x, **self.static)
        return y, once(pullback if input_grad else lambda dy: None)


class SavesOutput(Function):
    """A function whose output has the shape of its input, and is what its pullback needs."""

    def keeps(self, x: Array, y: Array) -> Array | None:
        return y

    def output_shape(self, x: Array) -> tuple[int, ...]:
        return x.shape


class ReLU(SavesOutput):
    """y = max(x, 0): :func:`npresnet.ops.relu`."""

    op = staticmethod(ops.relu)


class LeakyReLU(SavesOutput):
    """y = x where x > 0, else ``negative_slope`` · x: :func:`npresnet.ops.leaky_relu`."""

    op = staticmethod(ops.leaky_relu)

    def __init__(self, negative_slope: float = 0.01):
        super().__init__(negative_slope=negative_slope)


class SavesInput(Function):
    """A function whose output has the shape of its input, which is what its pullback needs."""

    def keeps(self, x: Array, y: Array) -> Array | None:
        return x

    def output_shape(self, x: Array) -> tuple[int, ...]:
        return x.shape


class GELU(SavesInput):
    """y = x Φ(x), Φ the normal distribution: :func:`npresnet.ops.gelu`."""

    op = staticmethod(ops.gelu)


class SiLU(SavesInput):
    """y = x σ(x), σ the logistic function: :func:`npresnet.ops.silu`."""

    op = staticmethod(ops.silu)


class Softmax(SavesOutput):
    """Scores to probabilities: :func:`npresnet.ops.softmax`."""

    op = staticmethod(ops.softmax)
    after_scores = True


class GlobalAvgPool2d(Function):
    """The mean of each channel: :func:`npresnet.ops.global_avg_pool2d`."""

    op = staticmethod(ops.global_avg_pool2d)


class AdaptiveAvgPool2d(Function):
    """The mean of each of oh × ow windows that cover the images: :func:`npresnet.ops.adaptive_avg_pool2d`."""

    op = staticmethod(ops.adaptive_avg_pool2d)

    def __init__(self, output_size: IntOrPair):
        super().__init__(output_size=output_size)

    def output_shape(self, x: Array) -> tuple[int, ...]:
        return *x.shape[:2], *check.pair(self.static["output_size"])


class Subsample(Function):
    """Every ``stride``-th pixel: :func:`npresnet.ops.subsample`."""

    op = staticmethod(ops.subsample)


class ZeroPadChannels(Function):
    """``before`` and ``after`` channels of zeros around the images': :func:`npresnet.ops.zero_pad_channels`."""

    op = staticmethod(ops.zero_pad_channels)


class ZeroPad2d(Function):
    """``padding`` rows and columns of zeros around the images: :func:`npresnet.ops.zero_pad2d`."""

    op = staticmethod(ops.zero_pad2d)

    def __init__(self, padding: Frame):
        check.frame(padding)
        super().__init__(padding=padding)


class ConstantPad2d(Function):
    """A frame of one value around each image; the padding as in :class:`ZeroPad2d`."""

    op = staticmethod(ops.constant_pad2d)

    def __init__(self, padding: Frame, value: float = 0.0):
        check.frame(padding)
        super().__init__(padding=padding, value=value)


class BlurPool2d(Function):
    """Every ``stride``-th pixel of the blurred images: :func:`npresnet.ops.blur_pool2d`."""

    op = staticmethod(ops.blur_pool2d)

    def output_shape(self, x: Array) -> tuple[int, ...]:
        down, across = check.pair(self.static["stride"])
        return *x.shape[:2], -(-x.shape[2] // down), -(-x.shape[3] // across)

    def window_size(self) -> tuple[int, ...]:
        return 3, 3


class Pool(Function):
    """A pooling op; ``padding`` may be "valid", "same" for TensorFlow's rule, or "same_lower"."""

    def __init__(self, kernel: IntOrPair, stride: IntOrPair, padding: Padding = 0, **static: Any):
        super().__init__(kernel=kernel, stride=stride, padding=padding, **static)

    def output_shape(self, x: Array) -> tuple[int, ...]:
        static = {"dilation": 1, "ceil_mode": False, **self.static}
        window = ops.Window.of(
            *(static[name] for name in ("kernel", "stride", "padding", "dilation")), size=x.shape[2:]
        )
        window = window.ceil_mode(x.shape[2:]) if static["ceil_mode"] else window
        return (*x.shape[:2], *window.output_size(x.shape[2:]))

    def window_size(self) -> tuple[int, ...]:
        return check.pair(self.static["kernel"])


class MaxPool2d(Pool):
    """The largest value in each window; options ``dilation`` and ``ceil_mode`` as in the op."""

    op = staticmethod(ops.max_pool2d)

    def bytes_kept(self, x: Array, y: Array) -> int:
        """Which pixel of its window won, a byte for each output."""
        return y.size


class AvgPool2d(Pool):
    """The mean of each window; options ``ceil_mode`` and ``count_include_pad`` as in the op."""

    op = staticmethod(ops.avg_pool2d)


def freeze_batch_norm(model: Model) -> Model:
    """Fix every batch norm inside, in place: running statistics always, gamma and beta untrained, also in training.

    Raises ValueError where all norms inside are group norms, and where one has no running statistics.
    """
    needs_module(model, "freeze_batch_norm")
    kinds = {type(module) for module in model.modules()}
    if GroupNorm in kinds and BatchNorm2d not in kinds:
        raise ValueError(
            "this network's norms are group norms, which keep no statistics to freeze; set trainable = False on "
            "their weight and bias"
        )
    norms = [module for module in model.modules() if isinstance(module, BatchNorm2d)]
    if any(norm.running_mean is None for norm in norms):
        raise ValueError("a batch norm without running statistics (track_running_stats=False) has none to freeze")
    for norm in norms:
        norm.frozen = True
        for parameter in filter(None, (norm.weight, norm.bias)):
            parameter.trainable = False
    return model


def synchronize_batch_norm(model: Model, ranks: Ranks | None) -> Model:
    """Let every batch norm inside, in place, take its statistics in training over the batches of all ``ranks``.

    None, or a rank that is alone, undoes it.  It is no part of the network: files and the state dict do not know it.
    """
    needs_module(model, "synchronize_batch_norm")
    for module in model.modules():
        if isinstance(module, BatchNorm2d):
            module.ranks = ranks if ranks is not None and ranks.size > 1 else None
    return model
