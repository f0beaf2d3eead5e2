"""Winograd's convolution of integers, exactly: the fractions are multiplied away, and the sums wrap around.

The matrix G of F(m×m, 3×3) holds fractions.  With D = diag(s), multiples of the denominators of each row, D G is
whole, and so is k Aᵀ D⁻¹ where k is a common multiple of s.  Then

    U = (D G) g (D G)ᵀ      V = Bᵀ d B      M = Σ_c U ⊙ V      k² Y = (k Aᵀ D⁻¹) M (k Aᵀ D⁻¹)ᵀ

are all integers.  Levels of 8 bits keep |V| and |U| below 2¹⁵, but neither M nor k² Y fits 32 bits; what they are
modulo 2³² is enough.  k² = 2ᵃ · odd: multiplied by the inverse of odd, and shifted by a, what remains is Y itself
wherever −2³¹⁻ᵃ ≤ Y < 2³¹⁻ᵃ.  For m = 4, k = 24 and a = 6; for m = 2, k = 2 and a = 2.

[LG] Lavin & Gray 2015, Fast algorithms for convolutional neural networks, arXiv:1509.09308, §4
"""

from functools import cache
from math import lcm
from typing import NamedTuple

import numpy as np

from ..backend import Array, array_namespace
from .check import Padding
from .quantized import check_integers
from .window import Window, frame
from .winograd import F, tiles

ROW = 15        # of D G: |U| ≤ 15² · 128 < 2¹⁵


class IntegerTransforms(NamedTuple):
    """Bᵀ, D G and k Aᵀ D⁻¹, all whole; k² = 2^shift · odd, and odd · inverse = 1 mod 2³²."""

    bt: np.ndarray
    g: np.ndarray
    at: np.ndarray
    inverse: int
    shift: int


@cache
def integer_transforms(m: int) -> IntegerTransforms:
    """Those of F(m×m, 3×3): s = k, which leaves Aᵀ as it is, but where |U| would pass 2¹⁵."""
    k = lcm(*(round(1 / abs(v)) for v in F[m].g.ravel() if v))
    scale = np.array([max(s for s in range(1, k + 1) if k % s == 0 and s * abs(row).sum() <= ROW) for row in F[m].g])
    odd, shift = k * k, 0
    while odd % 2 == 0:
        odd, shift = odd // 2, shift + 1
    g, at = np.rint(F[m].g * scale[:, None]), np.rint(F[m].at * k / scale)
    bt, g, at = (matrix.astype(np.int32) for matrix in (F[m].bt, g, at))
    return IntegerTransforms(bt, g, at, pow(odd, -1, 2**32), shift)


def supports_integer_winograd(w: Array, m: int) -> bool:
    """Whether every sum of these filters, of any levels, is one that F(m×m, 3×3) gives.

    Shapes: w (F, C, 3, 3) int8.
    """
    w = w.reshape(len(w), -1).astype("int64")
    largest = 255 * max(w.clip(min=0).sum(1).max(initial=0), -w.clip(max=0).sum(1).min(initial=0))
    return largest < 2 ** (31 - integer_transforms(m).shift)


def integer_winograd_conv2d(x: Array, w: Array, *, zero_point: int = 0, padding: Padding = 1, tile: int = 4) -> Array:
    """Equals :func:`npresnet.ops.integer_conv2d` for filters of 3×3, computed modulo 2³² through tiles of m×m.

    Padding is the level z, and z Σ w is taken from every sum in the end.

    Shapes: x (N, C, H, W) uint8, w (F, C, 3, 3) int8 → a (N, F, oh, ow) int32.
    Raises: ValueError where a sum might be one that F(m×m, 3×3) cannot give, or filters are not 3×3.
    """
    xp = array_namespace(x)
    check_integers(x, w, zero_point)
    if w.shape[1:] != (x.shape[1], 3, 3):
        raise ValueError(f"Winograd takes filters (F, {x.shape[1]}, 3, 3) for this x, not {w.shape}")
    if not supports_integer_winograd(w, tile):
        raise ValueError(f"sums of these filters may pass the bounds of F({tile}x{tile}, 3x3); use integer_conv2d")
    bt, g, at, inverse, shift = integer_transforms(tile)
    bt, g, at = (xp.asarray(matrix) for matrix in (bt, g, at))
    window = Window.of(3, padding=padding, size=x.shape[2:])
    oh, ow = window.output_size(x.shape[2:])
    th, tw = -(-oh // tile), -(-ow // tile)
    (top, _), (left, _) = window.padding
    sides = (top, th * tile + 2 - top - x.shape[2]), (left, tw * tile + 2 - left - x.shape[3])
    d = tiles(frame(x, sides, zero_point), th, tw, tile).astype("int32")
    u, v = g @ w.astype("int32") @ g.T, bt @ d @ bt.T                    # U = (D G) g (D G)ᵀ,  V = Bᵀ d B
    m = sum(u[:, c, None, None] * v[:, c, None] for c in range(x.shape[1]))      # M = Σ_c U ⊙ V   mod 2³²
    y = (at @ m @ at.T).view("uint32") * np.uint32(inverse)              # 2ᵃ Y   mod 2³²
    y = (y.view("int32") >> shift).swapaxes(3, 4).reshape(len(x), len(w), th * tile, tw * tile)[:, :, :oh, :ow]
    return y - zero_point * w.sum((1, 2, 3), dtype="int32")[:, None, None]
