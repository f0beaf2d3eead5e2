"""One table of cases: every option of every op, in shapes small enough for loops and odd enough to tell axes apart."""

import zlib
from dataclasses import dataclass, field

import numpy as np

from npresnet.distributed import Alone


@dataclass(frozen=True)
class Case:
    """One call of an op.  ``shapes`` are its differentiable arguments in order, ``constants`` the arrays after them."""

    op: str
    note: str
    shapes: dict
    static: dict
    constants: dict = field(default_factory=dict)   # argument: shape, or for labels (shape, classes)
    workspace: int | None = None                    # bytes; conv2d goes through the batch in slices of so many

    def __str__(self):
        return f"{self.op}-{self.note}".replace(" ", "_")

    def draw(self, dtype=np.float64, seed=0):
        """The arrays by argument name, and the constants: the same on every machine."""
        rng = np.random.default_rng([zlib.crc32(str(self).encode()), seed])
        arrays = {name: self._differentiable(rng, shape).astype(dtype) for name, shape in self.shapes.items()}
        constants = {name: _constant(rng, name, shape, dtype) for name, shape in self.constants.items()}
        return arrays, constants

    def _differentiable(self, rng, shape):
        if self.op == "max_pool2d":                 # no ties, and none within a step of a numeric derivative
            size = int(np.prod(shape))
            return rng.permutation(np.linspace(-2, 1, size)).reshape(shape)     # mostly negative: zeros would win
        x = rng.standard_normal(shape)
        return x + 0.1 * np.sign(x) if self.op in ("relu", "leaky_relu") else x  # away from the kink


def _constant(rng, name, shape, dtype):
    if name == "labels":
        shape, classes = shape
        return rng.integers(0, classes, shape)
    values = rng.standard_normal(shape)
    return (values**2 + 0.1 if name in ("var", "weight") else values).astype(dtype)


def conv(note, x, w, bias=False, workspace=None, op="conv2d", **static):
    shapes = {"x": x, "w": w} | ({"b": w[:1]} if bias else {})
    return Case(op, note, shapes, static, workspace=workspace)


def affine(x, given):
    """The shapes of the arrays that are given, and None as the static value of the others."""
    return dict.fromkeys(given, x[1:2]), dict.fromkeys({"gamma", "beta"}.difference(given))


def norm_train(note, x, eps=1e-5, given=("gamma", "beta")):
    shapes, static = affine(x, given)
    return Case("batch_norm_train", note, {"x": x, **shapes}, {"eps": eps, **static})


def sync_norm(note, x, eps=1e-5, given=("gamma", "beta")):
    shapes, static = affine(x, given)
    return Case("sync_batch_norm_train", note, {"x": x, **shapes}, {"eps": eps, "ranks": Alone(), **static})


def norm_relu(note, x, add=False, eps=1e-5, given=("gamma", "beta")):
    shapes, static = affine(x, given)
    shapes = {"x": x, **shapes} | ({"s": x} if add else {})
    return Case("batch_norm_add_relu" if add else "batch_norm_relu", note, shapes, {"eps": eps, **static})


def norm_relu_conv(note, x, w, bias=False, given=("gamma", "beta"), **static):
    shapes, none = affine(x, given)
    shapes = {"x": x, **shapes, "w": w} | ({"b": w[:1]} if bias else {})
    return Case("batch_norm_relu_conv2d", note, shapes, {"eps": 1e-5, **static, **none})


def norm_eval(note, x, eps=1e-5, given=("gamma", "beta")):
    shapes, static = affine(x, given)
    return Case("batch_norm_eval", note, {"x": x, **shapes}, {"eps": eps, **static}, {"mean": x[1:2], "var": x[1:2]})


def norm_group(note, x, groups, eps=1e-5, given=("gamma", "beta")):
    shapes, static = affine(x, given)
    return Case("group_norm", note, {"x": x, **shapes}, {"groups": groups, "eps": eps, **static})


def unary(op, note, x, argument="x", **static):
    return Case(op, note, {argument: x}, static)


def loss(note, n, k, weight=False, **static):
    constants = {"labels": ((n,), k)} | ({"weight": (k,)} if weight else {})
    return Case("softmax_cross_entropy", note, {"logits": (n, k)}, static, constants)


CASES = [
    conv("3x3", (2, 3, 5, 4), (4, 3, 3, 3), padding=1),
    conv("3x3 valid", (2, 3, 5, 6), (4, 3, 3, 3)),
    conv("1x1", (2, 3, 4, 3), (5, 3, 1, 1)),
    conv("1x1 stride", (2, 3, 5, 4), (4, 3, 1, 1), stride=2),
    conv("bias", (2, 3, 4, 5), (4, 3, 3, 3), bias=True, padding=1),
    conv("stem 7x7", (1, 3, 9, 8), (2, 3, 7, 7), stride=2, padding=3),
    conv("stride pair", (2, 2, 7, 8), (3, 2, 3, 3), stride=(2, 3), padding=1),
    conv("stride that leaves pixels over", (1, 2, 8, 9), (3, 2, 3, 3), stride=3),
    conv("padding pair", (2, 2, 4, 5), (3, 2, 3, 3), padding=(2, 1)),
    conv("padding asymmetric", (2, 2, 6, 4), (3, 2, 3, 3), stride=2, padding=((0, 1), (2, 3))),
    conv("padding wider than the window", (1, 2, 2, 3), (2, 2, 2, 2), padding=3),
    conv("same", (2, 2, 5, 6), (3, 2, 3, 4), padding="same"),
    conv("same at a stride", (2, 2, 6, 7), (3, 2, 4, 3), stride=(2, 3), padding="same"),
    conv("same and dilation", (1, 2, 5, 6), (3, 2, 2, 2), padding="same", dilation=(2, 1)),
    conv("same_lower", (2, 2, 6, 5), (3, 2, 3, 4), stride=2, padding="same_lower"),
    conv("same of a window below the stride", (1, 2, 5, 7), (2, 2, 1, 2), stride=3, padding="same"),
    conv("valid as a word", (2, 2, 5, 6), (3, 2, 3, 2), stride=2, padding="valid"),
    conv("dilation", (2, 2, 6, 7), (3, 2, 3, 3), padding=2, dilation=2),
    conv("dilation pair and stride", (1, 2, 8, 9), (3, 2, 3, 2), stride=(2, 1), padding=(1, 2), dilation=(2, 3)),
    conv("groups", (2, 6, 4, 5), (4, 3, 3, 3), padding=1, groups=2),
    conv("groups of three with bias", (2, 6, 4, 5), (9, 2, 2, 3), bias=True, stride=2, groups=3),
    conv("depthwise", (2, 3, 5, 4), (6, 1, 3, 3), padding=1, groups=3),
    conv("one filter a group", (2, 4, 4, 3), (2, 2, 3, 3), padding=1, groups=2),
    conv("rectangular", (2, 2, 7, 4), (3, 2, 1, 4), padding=(0, 2)),
    conv("one pixel", (3, 2, 1, 1), (4, 2, 3, 3), padding=1),
    conv("window as large as the image", (2, 2, 3, 4), (3, 2, 3, 4), bias=True),
    conv("empty batch", (0, 3, 5, 4), (4, 3, 3, 3), bias=True, padding=1),
    conv("batch in slices", (5, 2, 4, 3), (3, 2, 3, 3), bias=True, padding=1, workspace=2 * 18 * 12 * 8),
    conv("batch image by image", (3, 4, 4, 3), (6, 2, 3, 3), padding=1, groups=2, workspace=1),
    conv("F(2x2)", (2, 3, 5, 6), (4, 3, 3, 3), op="winograd_conv2d", tile=2),
    conv("F(4x4)", (2, 3, 9, 6), (4, 3, 3, 3), op="winograd_conv2d"),
    conv("F(4x4) with bias", (2, 2, 8, 8), (3, 2, 3, 3), bias=True, op="winograd_conv2d", tile=4),
    conv("F(2x2) valid", (1, 2, 5, 4), (3, 2, 3, 3), bias=True, op="winograd_conv2d", padding=0, tile=2),
    conv("F(4x4) padding", (1, 2, 3, 7), (3, 2, 3, 3), op="winograd_conv2d", padding=((2, 0), (1, 2))),
    conv("one pixel", (2, 3, 1, 1), (2, 3, 3, 3), op="winograd_conv2d"),
    conv("same", (1, 2, 5, 4), (2, 2, 3, 3), op="winograd_conv2d", padding="same"),
    conv("empty batch", (0, 2, 5, 4), (2, 2, 3, 3), bias=True, op="winograd_conv2d"),

    norm_train("plain", (3, 4, 2, 5)),
    norm_train("one pixel", (5, 3, 1, 1)),
    norm_train("one image", (1, 3, 4, 3)),
    norm_train("two values and a large eps", (2, 3, 1, 1), eps=0.3),
    norm_train("without gamma and beta", (3, 2, 2, 3), given=()),
    norm_train("without gamma", (2, 3, 2, 3), given=("beta",)),
    norm_train("without beta", (2, 3, 2, 3), given=("gamma",)),
    norm_train("empty batch", (0, 3, 2, 4)),
    norm_train("empty images without gamma and beta", (2, 3, 0, 4), given=()),
    sync_norm("alone", (3, 4, 2, 5)),
    sync_norm("one image alone", (1, 3, 4, 3), eps=0.3),
    sync_norm("alone without gamma", (2, 3, 2, 3), given=("beta",)),
    sync_norm("alone without beta", (2, 3, 2, 3), given=("gamma",)),
    sync_norm("alone with an empty batch", (0, 3, 2, 4), given=()),
    Case("all_reduce_sum", "alone", {"x": (2, 3)}, {"ranks": Alone()}),
    norm_relu("without gamma and beta", (2, 3, 2, 3), given=()),
    norm_relu("empty batch", (0, 3, 2, 3)),
    norm_relu("without beta", (2, 3, 2, 3), add=True, given=("gamma",)),
    norm_relu("empty batch", (0, 3, 2, 3), add=True),
    norm_relu_conv("without gamma and beta", (2, 2, 3, 4), (3, 2, 2, 2), given=()),
    norm_relu_conv("empty batch", (0, 2, 3, 4), (3, 2, 2, 2), True),
    norm_relu("plain", (3, 4, 2, 5)),
    norm_relu("one pixel and a large eps", (5, 3, 1, 1), eps=0.3),
    norm_relu("plain", (3, 4, 2, 5), add=True),
    norm_relu_conv("3x3", (2, 3, 5, 4), (4, 3, 3, 3), padding=1),
    norm_relu_conv("defaults", (2, 3, 4, 5), (4, 3, 3, 2)),
    norm_relu_conv("same_lower", (2, 2, 4, 5), (3, 2, 2, 3), stride=2, padding="same_lower"),
    norm_relu_conv("dilation", (2, 3, 5, 6), (4, 3, 2, 3), dilation=(3, 2)),
    norm_relu_conv("stride, groups and bias", (2, 4, 5, 6), (6, 2, 3, 2), True, stride=(2, 1), padding=1, groups=2),
    norm_relu("one image", (1, 3, 4, 3), add=True),
    norm_eval("plain", (3, 4, 2, 5)),
    norm_eval("one value", (1, 3, 1, 1)),
    norm_eval("large eps", (2, 3, 3, 2), eps=0.3),
    norm_eval("without gamma and beta", (2, 3, 2, 2), given=()),
    norm_eval("without gamma", (2, 3, 2, 2), given=("beta",)),
    norm_eval("without beta", (2, 3, 2, 2), given=("gamma",)),
    norm_eval("empty batch", (0, 3, 2, 2)),

    norm_group("pairs", (3, 4, 2, 5), 2),
    norm_group("all channels together", (2, 3, 3, 2), 1),
    norm_group("each channel by itself and a large eps", (2, 3, 4, 3), 3, eps=0.3),
    norm_group("one pixel", (5, 6, 1, 1), 2),
    norm_group("one image", (1, 6, 3, 2), 3),
    norm_group("without gamma and beta", (2, 4, 2, 3), 2, given=()),
    norm_group("without beta", (2, 4, 2, 3), 2, given=("gamma",)),
    norm_group("empty batch", (0, 4, 2, 3), 2),

    unary("max_pool2d", "2x2", (2, 3, 4, 6), kernel=2, stride=2),
    unary("max_pool2d", "3x3 overlapping and padded", (2, 2, 7, 6), kernel=3, stride=2, padding=1),
    unary("max_pool2d", "pairs", (1, 2, 8, 7), kernel=(3, 2), stride=(1, 3), padding=(1, 0)),
    unary("max_pool2d", "dilation", (1, 2, 7, 8), kernel=3, stride=1, padding=2, dilation=2),
    unary("max_pool2d", "dilation pair", (1, 2, 7, 9), kernel=(3, 2), stride=(2, 1), dilation=(2, 3)),
    unary("max_pool2d", "ceil mode", (2, 2, 6, 8), kernel=3, stride=2, ceil_mode=True),
    unary("max_pool2d", "ceil mode padded", (1, 2, 5, 6), kernel=2, stride=3, padding=1, ceil_mode=True),
    unary("max_pool2d", "ceil mode drops a step", (1, 2, 5, 5), kernel=2, stride=2, padding=1, ceil_mode=True),
    unary("max_pool2d", "ceil mode and dilation", (1, 2, 8, 7), kernel=2, stride=3, dilation=2, ceil_mode=True),
    unary("max_pool2d", "ceil mode of an image below the window", (2, 2, 2, 3), kernel=3, stride=2, ceil_mode=True),
    unary("max_pool2d", "asymmetric", (1, 2, 6, 6), kernel=3, stride=2, padding=((0, 1), (1, 0))),
    unary("max_pool2d", "same", (2, 2, 6, 7), kernel=3, stride=2, padding="same"),
    unary("max_pool2d", "same_lower", (1, 2, 6, 7), kernel=(3, 2), stride=(2, 1), padding="same_lower"),
    unary("max_pool2d", "same and dilation", (1, 2, 6, 7), kernel=2, stride=2, padding="same", dilation=2),
    unary("max_pool2d", "valid as a word", (1, 2, 6, 7), kernel=3, stride=2, padding="valid"),
    unary("max_pool2d", "gaps between windows", (1, 2, 7, 8), kernel=2, stride=3),
    unary("max_pool2d", "empty batch", (0, 2, 4, 4), kernel=2, stride=2),

    unary("avg_pool2d", "2x2", (2, 3, 4, 6), kernel=2, stride=2),
    unary("avg_pool2d", "padded", (2, 2, 7, 6), kernel=3, stride=2, padding=1),
    unary("avg_pool2d", "padding not counted", (2, 2, 7, 6), kernel=3, stride=2, padding=1, count_include_pad=False),
    unary("avg_pool2d", "pairs", (1, 2, 8, 7), kernel=(3, 2), stride=(1, 3), padding=(1, 0)),
    unary("avg_pool2d", "ceil mode", (2, 2, 6, 8), kernel=3, stride=2, ceil_mode=True),
    unary("avg_pool2d", "ceil mode padded", (1, 2, 6, 8), kernel=3, stride=2, padding=1, ceil_mode=True),
    unary("avg_pool2d", "ceil mode, padding not counted", (1, 2, 6, 7), kernel=(3, 2), stride=(2, 4), padding=1,
          ceil_mode=True, count_include_pad=False),
    unary("avg_pool2d", "asymmetric", (1, 2, 6, 6), kernel=3, stride=2, padding=((0, 1), (1, 0))),
    unary("avg_pool2d", "asymmetric, padding not counted", (1, 2, 6, 5), kernel=3, stride=2, padding=((0, 1), (1, 0)),
          count_include_pad=False),
    unary("avg_pool2d", "same", (2, 2, 6, 7), kernel=3, stride=2, padding="same"),
    unary("avg_pool2d", "same_lower, padding not counted", (1, 2, 6, 7), kernel=(3, 2), stride=(2, 1),
          padding="same_lower", count_include_pad=False),
    unary("avg_pool2d", "valid as a word", (1, 2, 5, 6), kernel=2, stride=2, padding="valid", ceil_mode=True),
    unary("avg_pool2d", "empty batch", (0, 2, 4, 4), kernel=2, stride=2),

    unary("adaptive_avg_pool2d", "even", (2, 3, 4, 6), output_size=2),
    unary("adaptive_avg_pool2d", "uneven", (2, 2, 7, 5), output_size=3),
    unary("adaptive_avg_pool2d", "pair", (1, 2, 5, 8), output_size=(2, 3)),
    unary("adaptive_avg_pool2d", "one", (2, 3, 4, 5), output_size=1),
    unary("adaptive_avg_pool2d", "larger than the image", (1, 2, 3, 2), output_size=(4, 5)),
    unary("adaptive_avg_pool2d", "empty batch", (0, 2, 5, 4), output_size=2),

    unary("blur_pool2d", "plain", (2, 3, 5, 4), stride=2),
    unary("blur_pool2d", "every pixel", (2, 2, 4, 3), stride=1),
    unary("blur_pool2d", "pair", (1, 2, 2, 7), stride=(1, 3)),
    unary("blur_pool2d", "two pixels", (1, 2, 2, 2), stride=2),
    unary("blur_pool2d", "empty batch", (0, 2, 4, 4), stride=2),

    unary("global_avg_pool2d", "plain", (2, 3, 4, 5)),
    unary("global_avg_pool2d", "one pixel", (2, 3, 1, 1)),
    unary("global_avg_pool2d", "empty batch", (0, 3, 2, 4)),
    unary("relu", "image", (2, 3, 4, 5)),
    unary("relu", "row", (3, 7)),
    unary("relu", "empty batch", (0, 3)),
    unary("leaky_relu", "image", (2, 3, 4, 5)),
    unary("leaky_relu", "another slope", (3, 7), negative_slope=0.2),
    unary("leaky_relu", "empty batch", (0, 3)),
    unary("gelu", "image", (2, 3, 4, 5)),
    unary("gelu", "row", (3, 7)),
    unary("gelu", "empty batch", (0, 3)),
    unary("silu", "image", (2, 3, 4, 5)),
    unary("silu", "row", (3, 7)),
    unary("silu", "empty batch", (0, 3)),
    unary("sigmoid", "row", (3, 5)),
    unary("sigmoid", "empty batch", (0, 5)),
    Case("conv_channels", "three", {"x": (2, 7), "w": (1, 1, 3)}, {}),
    Case("conv_channels", "more than there are", {"x": (3, 2), "w": (1, 1, 5)}, {}),
    Case("conv_channels", "itself", {"x": (2, 3), "w": (1, 1, 1)}, {}),
    Case("conv_channels", "empty batch", {"x": (0, 4), "w": (1, 1, 3)}, {}),
    Case("scale_channels", "plain", {"x": (2, 3, 4, 5), "s": (2, 3)}, {}),
    Case("scale_channels", "empty batch", {"x": (0, 3, 2, 2), "s": (0, 3)}, {}),
    unary("softmax", "plain", (3, 5), "z"),
    unary("softmax", "one class", (2, 1), "z"),
    unary("softmax", "empty batch", (0, 4), "z"),
    unary("log_softmax", "plain", (3, 5), "z"),
    unary("log_softmax", "one class", (2, 1), "z"),
    unary("log_softmax", "empty batch", (0, 4), "z"),
    loss("plain", 4, 5),
    loss("label smoothing", 5, 4, label_smoothing=0.1),
    loss("nothing but smoothing", 3, 6, label_smoothing=1.0),
    loss("one image", 1, 3, label_smoothing=0.25),
    loss("weights", 5, 4, weight=True),
    loss("weights and smoothing", 6, 3, weight=True, label_smoothing=0.2),
    loss("a class ignored", 7, 3, ignore_index=1),
    loss("a class ignored, weights and smoothing", 8, 4, weight=True, ignore_index=2, label_smoothing=0.1),
    loss("sum", 3, 5, reduction="sum"),
    loss("sum, a class ignored, weights", 8, 3, weight=True, ignore_index=0, reduction="sum"),
    loss("none", 4, 5, reduction="none"),
    loss("none, a class ignored, weights and smoothing", 8, 3, weight=True, ignore_index=2, label_smoothing=0.3,
         reduction="none"),
    loss("empty batch summed", 0, 4, reduction="sum"),
    loss("empty batch", 0, 4, weight=True, reduction="none"),
    Case("linear", "plain", {"x": (3, 4), "w": (5, 4)}, {}),
    Case("linear", "bias", {"x": (3, 4), "w": (5, 4), "b": (5,)}, {}),
    Case("linear", "empty batch", {"x": (0, 4), "w": (5, 4), "b": (5,)}, {}),
    unary("zero_pad2d", "int", (2, 3, 3, 4), padding=1),
    unary("zero_pad2d", "pair", (2, 3, 3, 4), padding=(0, 2)),
    unary("zero_pad2d", "asymmetric", (2, 3, 3, 4), padding=((3, 0), (1, 2))),
    unary("zero_pad2d", "none", (2, 3, 3, 4), padding=0),
    unary("constant_pad2d", "int", (2, 3, 3, 4), padding=1, value=0.5),
    unary("constant_pad2d", "asymmetric", (2, 3, 3, 4), padding=((3, 0), (1, 2)), value=-2.0),
    unary("constant_pad2d", "zero unless told otherwise", (2, 2, 3, 4), padding=(1, 2)),
    unary("constant_pad2d", "empty batch", (0, 3, 3, 4), padding=(1, 2), value=3),
    unary("zero_pad2d", "empty batch", (0, 3, 3, 4), padding=1),
    unary("zero_pad_channels", "empty batch", (0, 3, 3, 4), before=2, after=1),
    unary("subsample", "empty batch", (0, 3, 5, 4), stride=2),
    unary("zero_pad_channels", "centred", (2, 3, 3, 4), before=2, after=2),
    unary("zero_pad_channels", "appended", (2, 3, 3, 4), before=0, after=3),
    unary("zero_pad_channels", "in front", (2, 3, 3, 4), before=1, after=0),
    unary("subsample", "int", (2, 3, 5, 4), stride=2),
    unary("subsample", "pair", (2, 3, 5, 7), stride=(1, 3)),
    unary("subsample", "none left out", (2, 3, 3, 2), stride=1),
]
