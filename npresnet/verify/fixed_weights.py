"""Weights and inputs that every platform and version computes alike: hashes of a name and a position.

[SM] Steele, Lea & Flood 2014, Fast splittable pseudorandom number generators, OOPSLA (SplitMix64's finaliser)
"""

import zlib

import numpy as np

from ..backend import Array
from ..nn.module import Model

GAIN = 0.7  # of a convolution: small enough that hundreds of blocks in eval mode stay finite


def draw(name: str, shape: tuple[int, ...]) -> Array:
    """float64 numbers, uniform in [−1, 1), that depend on the name and the shape alone."""
    with np.errstate(over="ignore"):  # unsigned arithmetic modulo 2⁶⁴ is meant
        seed = np.uint64(zlib.crc32(name.encode())) << np.uint64(32)
        z = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) + seed
        z *= np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1).reshape(shape)


def draw_weights(model: Model) -> Model:
    """Fill a model in place: nothing is 0 or 1, so that no term of any gradient hides."""
    for key, array in model.named_arrays():
        shape, kind = array.value.shape, key.rsplit(".", 1)[-1]
        u = draw(key, shape)
        if kind == "num_batches_tracked":
            array.value = np.asarray(7)
        elif len(shape) > 1:
            array.value = GAIN * (6 / array.value[0].size) ** 0.5 * u  # variance GAIN² · 2 / fan_in
        elif kind == "running_var" or (kind == "weight" and len(shape) == 1):
            array.value = 1 + u / 2
        else:
            array.value = u / 10
    return model


def project(name: str, a: Array, count: int = 4) -> Array:
    """Inner products of an array with ``count`` random vectors of signs: what differs shows in them."""
    signs = np.where(draw(f"signs of {name}", (count, a.size)) < 0, -1.0, 1.0)
    return signs @ a.ravel()
