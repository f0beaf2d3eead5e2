"""GELU and SiLU over memory as it lies.  The loops are written so that the compiler makes vectors of them.

[C] Moshier, Cephes Mathematical Library, single/expf.c
[E] Guennebaud, Jacob et al., Eigen 3.4, unsupported/Eigen/src/SpecialFunctions, generic_fast_erf_float
"""

import numpy as np
from numba import njit

from ...backend import Array, Pullback, must_run_each_time
from ...ops.activation import gelu, silu
from .activation import over, part_of, supports_relu
from .arrays import empty_like
from .codegen.jit import inlined
from .codegen.vector import floats
from .program.entry_point import Address, entry_point

F = np.float32
ZERO, HALF, ONE, ROOT_HALF, DENSITY = F(0), F(0.5), F(1), F(0.5**0.5), F((2 * np.pi) ** -0.5)
LEAST, MOST, LOG2_E, LN2_HIGH, LN2_LOW = F(-87), F(89), F(1.44269504), F(0.693359375), F(-2.12194440e-4)
E5, E4, E3, E2, E1, E0 = (F(1.9875691500e-4), F(1.3981999507e-3), F(8.3334519073e-3), F(4.1665795894e-2),
                          F(1.6666665459e-1), F(5.0000001201e-1))
FAR, FLAT = F(4), F(13)                                     # from here on, in float32, erf is 1 and e^(−x²/2) is 0
A6, A5, A4, A3, A2, A1, A0 = (F(-2.72614225801306e-10), F(2.77068142495902e-08), F(-2.10102402082508e-06),
                              F(-5.69250639462346e-05), F(-7.34990630326855e-04), F(-2.95459980854025e-03),
                              F(-1.60960333262415e-02))
B4, B3, B2, B1, B0 = (F(-1.45660718464996e-05), F(-2.13374055278905e-04), F(-1.68282697438203e-03),
                      F(-7.37332916720468e-03), F(-1.42647390514189e-02))

loop = njit(error_model="numpy")                            # a division that may raise keeps a loop from vectors


@gelu.register("numba", supports_relu)
def gelu_numba(x: Array) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.gelu`.

    Saves: x.
    """
    return _run(x, gelu_forward, gelu_back)


@silu.register("numba", supports_relu)
def silu_numba(x: Array) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.silu`.

    Saves: x.
    """
    return _run(x, silu_forward, silu_back)


def _run(x, forward, backward):
    y = empty_like(x)
    over(forward, x, y)

    def pullback(dy):
        if dy.strides != x.strides:
            must_run_each_time("an activation's dy in another order in memory")
            dy, source = empty_like(x), dy
            dy[...] = source
        dx = empty_like(x)
        over(backward, x, dy, dx)
        return dx

    return y, pullback


@inlined
def _exp(x):
    """eˣ = 2ᵏ eʳ with r = x − k ln 2, |r| ≤ ln 2/2, for x from −87 on; ∞ from 89 on.                       [C]"""
    x = min(max(x, LEAST), MOST)
    k = np.floor(x * LOG2_E + HALF)
    r = x - k * LN2_HIGH - k * LN2_LOW
    p = ((((E5 * r + E4) * r + E3) * r + E2) * r + E1) * r + E0
    power = np.int32((np.int32(k) + 127) << 23).view(np.float32)             # its bits
    return (p * r * r + r + ONE) * power


@inlined
def _phi(x):
    """The normal distribution (1 + erf(x/√2))/2, erf as x times a quotient of polynomials in x².            [E]"""
    t = min(max(x * ROOT_HALF, -FAR), FAR)
    z = t * t
    above = (((((A6 * z + A5) * z + A4) * z + A3) * z + A2) * z + A1) * z + A0
    below = (((B4 * z + B3) * z + B2) * z + B1) * z + B0
    return HALF * (ONE + t * above / below)


@loop
def _gelu(x, y):
    for k in range(len(x)):
        y[k] = x[k] * _phi(x[k])


@loop
def _silu(x, y):
    for k in range(len(x)):
        y[k] = x[k] / (ONE + _exp(-x[k]))


@loop
def _gelu_back(x, dy, dx):
    for k in range(len(x)):
        near = min(max(x[k], -FLAT), FLAT)
        dx[k] = dy[k] * (_phi(x[k]) + near * DENSITY * _exp(-HALF * near * near))


@loop
def _silu_back(x, dy, dx):
    for k in range(len(x)):
        s = ONE / (ONE + _exp(-x[k]))
        dx[k] = dy[k] * (s * (ONE + x[k] * (ONE - s)))


@entry_point
def gelu_forward(item, work, x: Address, n: int, y: Address):
    """y = x Φ(x)."""
    at, count = part_of(item, n)
    _gelu(floats(x + at, count), floats(y + at, count))


@entry_point
def silu_forward(item, work, x: Address, n: int, y: Address):
    """y = x/(1 + e⁻ˣ)."""
    at, count = part_of(item, n)
    _silu(floats(x + at, count), floats(y + at, count))


@entry_point
def gelu_back(item, work, x: Address, n: int, dy: Address, dx: Address):
    """dx = dy (Φ(x) + x φ(x))."""
    at, count = part_of(item, n)
    _gelu_back(floats(x + at, count), floats(dy + at, count), floats(dx + at, count))


@entry_point
def silu_back(item, work, x: Address, n: int, dy: Address, dx: Address):
    """dx = dy s (1 + x (1 − s)), s = 1/(1 + e⁻ˣ)."""
    at, count = part_of(item, n)
    _silu_back(floats(x + at, count), floats(dy + at, count), floats(dx + at, count))
