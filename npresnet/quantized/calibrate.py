"""From a float model to a quantized one: watch it run, choose a scale for each step, round the weights.

[J] Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference,
    arXiv:1712.05877
[N] Nagel et al. 2021, A white paper on neural network quantization, arXiv:2106.08295
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .. import nn, ops
from ..backend import Array
from .bias_correction import ChannelMeans, corrected_bias
from .float_step import INPUT, FloatStep, batches_of, run
from .lower import lower
from .network import QuantizedNetwork, assemble, is_weighted
from .observers import OBSERVERS, MinMax, affine


def quantize(
    model: nn.Module,
    images: Array | Iterable[Array],
    *,
    observer: str = "minmax",
    bits: int = 8,
    weight_bits: int = 8,
    correct_bias: bool = False,
) -> QuantizedNetwork:
    """The network that computes what a model in eval mode does, on integers of 8 bits.

    images        preprocessed images (N, C, H, W), such as the model will see: an array, or batches of them; some
                  hundred are enough
    observer      how the range of a step's values becomes that of its levels: "minmax", "average", "percentile", "mse"
    bits          8, or 7 for activations in the lower half of a byte, as torchvision calibrates for FBGEMM: there pairs
                  of products are added in 16 bits, which 8 bits can overflow.  Sums here have 32 bits and need no such
                  care
    weight_bits   2 to 8: of the weights, which take a byte each all the same
    correct_bias  whether the mean error of each channel is taken off its bias: bias_correction.py

    Raises ValueError for a layer that has no equivalent on integers, and for other arguments than these.

    >>> import numpy as np, npresnet
    >>> images = np.random.default_rng(0).standard_normal((8, 3, 32, 32), np.float32)
    >>> network = quantize(npresnet.create_model("resnet20"), images)
    >>> network(images).shape, network.nbytes
    ((8, 10), 274280)
    """
    if not isinstance(observer, str) or observer not in OBSERVERS:
        raise ValueError(f"observer must be one of {', '.join(map(repr, OBSERVERS))}, not {observer!r}")
    if bits not in (7, 8):
        raise ValueError(f"bits must be 7 or 8, not {bits!r}")
    if weight_bits not in range(2, 9):
        raise ValueError(f"weight_bits must be 2 … 8, not {weight_bits!r}")
    nn.module.needs_module(model, "quantize")
    if any(norm.uses_batch_statistics for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)):
        raise ValueError("this model is in training mode, where batch norm follows the batch; call model.eval() first")
    steps = lower(model)
    found, means = observe(steps, images, observer)
    arrays = integer_arrays(steps, {name: seen.range() for name, seen in found.items()}, bits, weight_bits)
    for step in filter(is_weighted, steps if correct_bias else ()):
        arrays[f"{step.name}.bias"] = corrected_bias(step, arrays, means[step.inputs[0]].mean)
    arrays |= rounded_biases(steps, arrays)
    return assemble(steps, arrays, model)


def observe(
    steps: Sequence[FloatStep], images: Array | Iterable[Array], observer: str
) -> tuple[dict[str, MinMax], dict[str, ChannelMeans]]:
    """What an observer of each step that has a scale of its own, and one of the images, have seen; all means."""
    found = {name: OBSERVERS[observer]() for name in [INPUT] + [step.name for step in steps if step.has_scale]}
    means = {name: ChannelMeans() for name in [INPUT] + [step.name for step in steps]}
    for x in batches_of(images):
        found[INPUT].observe(x)
        means[INPUT].observe(x)
        for step, y in run(steps, x):
            means[step.name].observe(y)
            if step.has_scale:
                found[step.name].observe(y)
    return found, means


def integer_arrays(
    steps: Sequence[FloatStep], ranges: Mapping[str, tuple[float, float]], bits: int, weight_bits: int
) -> dict[str, Array]:
    """The scale and the zero point of each range, the integers of the weights, and the biases as they are."""
    arrays: dict[str, Array] = {}
    for name, (low, high) in ranges.items():
        scale, zero_point = affine(low, high, (0, 2**bits - 1))
        arrays |= {f"{name}.scale": np.asarray(scale, "f4"), f"{name}.zero_point": np.asarray(zero_point)}
    for step in filter(is_weighted, steps):
        arrays |= rounded_weights(step, weight_bits)
    return arrays


def weight_scale(w: Array, bits: int) -> Array:
    """s = max |w| / 127 for each filter, of 8 bits; where it is all zeros, 1.                         [N] §2.4.2

    Shapes: w (F, …) → (F,) float32.
    """
    largest = np.abs(w).reshape(len(w), -1).max(1)
    return np.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1).astype(np.float32)


def rounded_weights(step: FloatStep, bits: int = 8) -> dict[str, Array]:
    """The integers and the scales of a step's weights, one for each filter, and its bias.                   [J] §2.2

    There are as many levels on either side of 0.                                                            [J] §3.1
    """
    w, b = step.affine()
    scale, last = weight_scale(w, bits), 2 ** (bits - 1) - 1
    q = ops.quantize(w, scale.reshape(-1, *(1,) * (w.ndim - 1)), levels=(-last, last))
    return {f"{step.name}.weight": q, f"{step.name}.weight_scale": scale, f"{step.name}.bias": b.astype(np.float32)}


def rounded_biases(steps: Sequence[FloatStep], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The biases, each of which is a whole number on the scale of its sums, s_x s_w, as real numbers.    [J] Eq. 11

    So a program whose biases are integers of 32 bits, such as ONNX has them, computes the same.
    """
    scale, found = {INPUT: arrays[f"{INPUT}.scale"]}, dict[str, Array]()
    for step in steps:
        scale[step.name] = arrays[f"{step.name}.scale"] if step.has_scale else scale[step.inputs[0]]
        if is_weighted(step):
            sums = (scale[step.inputs[0]] * arrays[f"{step.name}.weight_scale"]).astype(np.float64)
            bias = arrays[f"{step.name}.bias"]
            found[f"{step.name}.bias"] = (np.rint(bias / sums) * sums).astype(np.float32)
    return found
