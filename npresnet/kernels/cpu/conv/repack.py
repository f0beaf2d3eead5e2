"""Weights that change with every step: packed, transformed and unpacked by all cores.

The same layouts as :func:`npresnet.kernels.cpu.conv.pack.pack`, which does it once for an engine.
"""

from typing import TypeAlias

import numpy as np
from numba import njit

from ....ops.winograd import F
from ..codegen.tile import PANEL, panel_width
from ..codegen.transform import make_gather
from ..codegen.vector import LANES, address, floats, hold
from ..program.entry_point import Address, entry_point
from .pack import GAP

CHANNELS = 16        # whose taps are moved together
Triple: TypeAlias = tuple[int, int, int]
_transform, _transpose = make_gather(F[2].g), make_gather(F[4].g.T)


@entry_point
def pack_filters(panel, work, w: Address, shape: Triple, strides: Triple, packed: Address):
    """w[f, c, t] -> panels (t, c, width); ``shape`` = (f, c, taps), ``strides`` in floats, so that a tap order may be
    reversed and f and c exchanged."""
    f, c, taps = shape
    _pack_columns(w, panel * PANEL, min(f, (panel + 1) * PANEL), c, taps, strides, packed)


@njit
def _pack_columns(w, first, last, c, taps, strides, packed):
    column = first
    while column < last:
        width = panel_width(last - column)
        for start in range(0, c, CHANNELS):                  # what the taps of these channels share stays in the cache
            for t in range(taps):
                for k in range(start, min(c, start + CHANNELS)):
                    row = floats(packed + (column * taps * c + (t * c + k) * width) * 4, width)
                    source = w + (column * strides[0] + k * strides[1] + t * strides[2]) * 4
                    line = floats(source, (width - 1) * strides[0] + 1)
                    for j in range(width):
                        row[j] = line[j * strides[0]]
        column += width


@entry_point
def transform_filters(k, work, packed: Address, f: int, c: int, u: Address):
    """Channel k of U = G g G' of packed filters for F(2x2, 3x3), laid out as by :func:`.pack.element_panels`."""
    places, column, index = np.empty(9, np.int64), 0, 0
    at = address(places)
    while column < f:
        width = panel_width(f - column)
        for t in range(9):
            places[t] = packed + (column * 9 + t * width) * c * 4 + k * width * 4
        for j in range(0, width * 4, LANES * 4):
            to = u + (column * c + index * GAP) * 16 * 4 + k * width * 4 + j
            _transform(at, j, to, (c * width + GAP) * 4)
        column, index = column + width, index + 1
    hold(places)


@entry_point
def unpack_gradient(share, work, dw: Address, shape: Triple, out: Address):
    """(taps, c, f) -> (f, c, taps), a vector of filters an item."""
    f, c, taps = shape
    _unpack_rows(dw, share * LANES, f, c, taps, out)


@njit
def _unpack_rows(dw, first, f, c, taps, out):
    rows = floats(out + first * c * taps * 4, LANES * c * taps)
    for start in range(0, c, CHANNELS):
        for t in range(taps):
            for k in range(start, min(c, start + CHANNELS)):
                line = floats(dw + ((t * c + k) * f + first) * 4, LANES)
                for j in range(LANES):
                    rows[j * c * taps + k * taps + t] = line[j]


@entry_point
def untransform_gradient(k, work, du: Address, f: int, c: int, dw: Address):
    """Channel k of dg = G' dU G: (36, c, f) -> (9, c, f)."""
    places = np.empty(36, np.int64)
    at = address(places)
    for e in range(36):
        places[e] = du + (e * c + k) * f * 4
    for j in range(0, f * 4, LANES * 4):
        _transpose(at, j, dw + k * f * 4 + j, c * f * 4)
    hold(places)
