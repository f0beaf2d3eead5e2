"""The published ResNets differ in details that silently change the numbers.  A dialect names them all.

Every field is one such detail; ``create_model(name, field=value)`` changes one, ``dialect=`` all.
Models make their layers through a dialect's methods, so that each detail is decided in this file alone;
:mod:`npresnet.models.published` lists the dialects by name.

Two conventions give the size o of an output from the size i of an input, a kernel of k and a stride of s:

    explicit padding p     o = ⌊(i + 2p − k) / s⌋ + 1        PyTorch, and Caffe's convolutions
    'same' (TensorFlow)    o = ⌈i / s⌉                       p is what that takes; an odd pixel goes bottom and right
    'valid' (TensorFlow)   o = ⌈(i − k + 1) / s⌉             the first with p = 0, written otherwise

At stride 1 an odd kernel's 'same' is p = (k − 1)/2.  At stride 2 on an even image, 'same' starts one pixel later:
a 3×3 kernel pads (0, 1) and not (1, 1), so that the same weights see a shifted image.
"""

from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from ..nn import (
    GELU,
    AvgPool2d,
    BatchNorm2d,
    BlurPool2d,
    Conv2d,
    GroupNorm,
    Identity,
    LeakyReLU,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    SiLU,
    Subsample,
    ZeroPad2d,
    ZeroPadChannels,
)
from .dialect_rules import SIZES, check_details
from .squeeze import ChannelGate, EfficientAttention, SqueezeExcite

SAME_SCORES = ("name", "momentum", "unbiased", "softmax", "preprocessing")  # details that the scores do not depend on
STEM_KERNELS = {"3x3": 3, "5x5": 5}  # the others' is 7
ACTIVATIONS: dict[str, type[Module]] = {"relu": ReLU, "leaky_relu": LeakyReLU, "gelu": GELU, "silu": SiLU}


@dataclass(frozen=True)
class Dialect:
    """How one published implementation builds its layers.  The defaults are torchvision's."""

    name: str = "torchvision"
    stride_on: str = "3x3"  # what downsamples in a bottleneck: the "3x3" ("v1.5") or the first "1x1" (v1)
    shortcut: str = "B"  # "A" centred zeros, "A-appended", "B" projection where shapes change,
    # "B-leading" also in a stage's first block, "C" everywhere
    conv_bias: bool = False  # convolutions before a batch norm have a bias
    norm: str = "batch"  # "batch" norms, or "group" norms, which do not look at the batch
    norm_groups: int = 32  # of a group norm
    activation: str = "relu"  # "relu", "leaky_relu", "gelu" (the exact one) or "silu"
    branch_activation: str = "same"  # inside a residual branch, where it is another than in the stem and behind sums
    negative_slope: float = 0.01  # of a leaky ReLU
    eps: float = 1e-5  # added to every variance
    momentum: float = 0.1  # weight of the new batch in the running statistics (Keras writes 1 − momentum)
    unbiased: bool = True  # the running variance is m/(m−1) times the batch's
    padding: str = "explicit"  # "explicit" k//2 on every side, or TensorFlow's "same"
    stem: str = "7x7"  # or "5x5", "3x3"; "deep" three 3×3, "tiered" with a narrower first; "pool-first" before its
    # batch norm; "bare" without one
    stem_stride: int | None = None  # of the first convolution; None: 1 for "3x3" and "5x5", else 2
    stem_norm: bool = True  # in pre-activation nets, batch norm and ReLU follow the stem's convolution
    stem_width: int = 32  # channels of a deep stem's first two convolutions (a "tiered" stem's second, its first has
    # three quarters); the third has twice as many
    stem_bias: bool = False  # the stem's convolution has a bias, whatever the others have
    pool: str = "padded"  # the stem's: "padded" by −∞, "ceil" mode unpadded, "zeros" around it, "same";
    # "conv" a convolution instead; "none"
    antialias: str = "none"  # a strided 3×3 or pooling drops pixels, or it strides by "average" or "blur" behind it
    avg_down: bool = False  # a strided projection averages 2×2 pixels instead of leaving three of four out
    squeeze: bool = False  # a squeeze-and-excitation gate ends each residual branch, as with attention="se"
    squeeze_ratio: float = 0.0  # of the channels, that such a gate has in the middle; 0: timm's rule, about a sixteenth
    attention: str = "none"  # the gate of each residual branch: "se", or "eca", a convolution along the channels
    relu_before_sum: bool = False  # a bottleneck's branch ends in a ReLU of its own
    bare_bias: bool = False  # in pre-activation nets, convolutions that feed no batch norm have a bias
    stride_in: str = "first"  # in pre-activation nets, the block of a stage that downsamples
    output_stride: int = 32  # of the last stage behind a stem of 4; below 32 the last stages dilate instead
    first_block: str = "paper"  # in pre-activation nets: its BN and ReLU serve both paths, or it is "as-others"
    projection_of: str = "activated"  # in pre-activation nets, what a projection reads: σ(BN(x)), or "x"
    final_norm: bool = True  # in pre-activation nets, batch norm and ReLU follow the last block
    softmax: bool = False  # the network ends in probabilities; model.logits(x) gives the scores before
    preprocessing: str = ""  # the preset its weights were trained with, where it is not the model's usual one

    def __post_init__(self):
        check_details(vars(self))

    # -- layers ----------------------------------------------------------------------------------

    def conv(
        self,
        channels: int,
        filters: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        bias: bool | None = None,
        dilation: int = 1,
    ) -> Conv2d:
        """A convolution padded so that it keeps the size of an image at stride 1."""
        padding = "same" if self.padding == "same" else dilation * (kernel // 2)
        bias = self.conv_bias if bias is None else bias
        return Conv2d(channels, filters, kernel, stride, padding, dilation, groups, bias)

    def norm2d(self, channels: int) -> BatchNorm2d | GroupNorm:
        """The norm behind a convolution of so many filters."""
        if self.norm == "batch":
            return BatchNorm2d(channels, self.eps, self.momentum, self.unbiased)
        if channels % self.norm_groups:
            raise ValueError(
                f"norm_groups={self.norm_groups} does not divide the {channels} channels of a group norm; "
                "give a number that divides the channels of every layer"
            )
        return GroupNorm(self.norm_groups, channels, self.eps)

    def act(self) -> Module:
        """The activation, σ."""
        return self.activation_called(self.activation)

    def branch_act(self) -> Module | None:
        """The activation inside a residual branch, None where it is σ."""
        if self.branch_activation in ("same", self.activation):
            return None
        return self.activation_called(self.branch_activation)

    def activation_called(self, name: str) -> Module:
        return LeakyReLU(self.negative_slope) if name == "leaky_relu" else ACTIVATIONS[name]()

    @property
    def normed_stem(self) -> bool:
        """Whether batch norm and ReLU follow the stem's convolution."""
        return self.stem_norm and self.stem != "bare"

    @property
    def first_stride(self) -> int:
        """The stride of the first convolution."""
        return self.stem_stride or (1 if self.stem in STEM_KERNELS else 2)

    def stem_conv(self, channels: int, filters: int) -> tuple[Module, int]:
        """The first convolution, and its number of filters: ``filters``, unless the stem is deep."""
        width, stride = self.stem_width, self.first_stride
        if self.stem not in ("deep", "tiered"):
            bias = self.stem_bias or (self.conv_bias if self.normed_stem else self.bare_bias)
            return self.conv(channels, filters, STEM_KERNELS.get(self.stem, 7), stride, bias=bias), filters
        first = max(1, 3 * (width // 4)) if self.stem == "tiered" else width
        return Sequential(
            self.conv(channels, first, 3, stride),
            self.norm2d(first),
            self.act(),
            self.conv(first, width, 3),
            self.norm2d(width),
            self.act(),
            self.conv(width, 2 * width, 3),
        ), 2 * width

    def stem_pool(self, channels: int) -> Module | None:
        aa = self.antialiasing(2)
        if self.pool == "none":
            return None
        if self.pool == "conv":
            conv = self.conv(channels, channels, 3, 1 if aa else 2)
            return Sequential(conv, *([aa] if aa else []), self.norm2d(channels), self.act())
        if aa:
            return aa if self.antialias == "average" else Sequential(MaxPool2d(3, stride=1, padding=1), aa)
        if self.pool == "zeros":  # of a signed image, a 0 may win where −∞ never does
            return Sequential(ZeroPad2d(padding=1), MaxPool2d(3, stride=2))
        padding = {"padded": 1, "ceil": 0, "same": "same"}[self.pool]
        return MaxPool2d(3, stride=2, padding=padding, ceil_mode=self.pool == "ceil")

    def antialiasing(self, stride: int, dilates: bool = False) -> Module | None:
        """What strides behind a 3×3 convolution, or None where that does so itself; as in timm."""
        if self.antialias == "blur" and (stride > 1 or dilates):
            return BlurPool2d(stride=stride)
        return AvgPool2d(stride, stride) if self.antialias == "average" and stride > 1 else None

    def projection(self, channels: int, out: int, stride: int, dilated: bool = False) -> Sequential:
        """S as a 1×1 convolution and a batch norm: option B."""
        if not self.avg_down:
            return Sequential(self.conv(channels, out, 1, stride), self.norm2d(out))
        pool = AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False) if stride > 1 else Identity()
        if dilated:  # as timm has it: the zeros at the bottom and right count
            pool = AvgPool2d(2, 1, padding="same")
        return Sequential(pool, self.conv(channels, out, 1), self.norm2d(out))

    def shortcut_path(self, channels: int, out: int, stride: int, leading: bool, dilated: bool = False) -> Module:
        """S: the identity where shapes agree, else option A or B; C projects everywhere.   [R1] §3.3, §4.1"""
        agree = stride == 1 and channels == out
        everywhere = self.shortcut == "C" or (self.shortcut == "B-leading" and leading)
        if agree and not everywhere:
            return Identity()
        if not self.shortcut.startswith("A"):
            return self.projection(channels, out, stride, dilated and not agree)
        if out < channels:
            raise ValueError(
                f"shortcut={self.shortcut!r} adds zero channels and cannot go from {channels} to {out}, "
                "as after a wide deep stem; use shortcut='B', or a smaller stem_width"
            )
        before = (out - channels) // 2 if self.shortcut == "A" else 0
        return Sequential(Subsample(stride=stride), ZeroPadChannels(before=before, after=out - channels - before))

    @property
    def gate_kind(self) -> str:
        """ "se", "eca" or "none": the two names of squeeze and excitation as one."""
        return "se" if self.squeeze else self.attention

    def gate(self, channels: int) -> ChannelGate | None:
        """The gate of a residual branch, or None."""
        if self.gate_kind == "eca":
            return EfficientAttention(channels)
        return SqueezeExcite(channels, self.squeeze_ratio) if self.gate_kind == "se" else None

    # -- variations ------------------------------------------------------------------------------

    def differs(self, other: "Dialect") -> list[str]:
        """The details in which ``other`` gives other scores with the same weights."""
        names = (field.name for field in fields(self) if field.name not in SAME_SCORES)
        one, two = (dialect.in_one_word() for dialect in (self, other))
        return [name for name in names if getattr(one, name) != getattr(two, name)]

    def in_one_word(self) -> "Dialect":
        """This dialect with what can be said in two ways said in one."""
        return replace(self, stem_stride=self.first_stride, squeeze=self.gate_kind == "se", attention=self.gate_kind)

    def unread(self) -> set[str]:
        """The details that have no effect, for others take their place."""
        norm = {"norm_groups"} if self.norm == "batch" else {"momentum", "unbiased"}
        leaky = "leaky_relu" in (self.activation, self.branch_activation)
        return norm | (set() if leaky else {"negative_slope"})

    def replace(self, **options: Any) -> "Dialect":
        """This dialect with some details changed."""
        known = [field.name for field in fields(self) if field.name not in ("name", "preprocessing")]
        unknown = sorted(options.keys() - set(known))
        if unknown:
            close = [name for given in unknown for name in get_close_matches(given, (*known, *SIZES), n=3)]
            meant = f"did you mean {' or '.join(dict.fromkeys(close))}? " if close else ""
            raise ValueError(
                f"unknown option(s) {', '.join(unknown)}; {meant}Known are the fields of npresnet.models.Dialect and "
                f"the sizes {', '.join(SIZES)}"
            )
        return replace(self, **options)
