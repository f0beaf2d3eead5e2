"""Weights that change with every step: packed, transformed and unpacked by all cores.

The same layouts as :func:`npresnet.kernels.cpu.conv.pack.pack`, which does it once for an engine.
"""

from typing import TypeAlias

import numpy as np

from ....ops.winograd import F
from ..codegen.jit import inlined
from ..codegen.tile import PANEL, panel_width
from ..codegen.transform import make_gather
from ..codegen.vector import LANES, address, floats, hold
from ..program.entry_point import Address, Pair, entry_point
from .pack import GAP

CHANNELS = 16        # whose taps are moved together
Filters: TypeAlias = tuple[int, int, int, int]       # of filters, channels, rows and columns
Triple: TypeAlias = tuple[int, int, int]
_transform2, _transform4, _transpose = make_gather(F[2].g), make_gather(F[4].g), make_gather(F[4].g.T)


@entry_point
def pack_filters(panel, work, w: Address, shape: Filters, strides: Filters, packed: Address):
    """w[f, c, i, j] of this ``shape`` and ``strides`` in floats -> panels (t, c, width), t = (i, j).

    Reversed taps and f and c exchanged are a matter of the strides.
    """
    f = shape[0]
    _pack_columns(w, panel * PANEL, min(f, (panel + 1) * PANEL), shape, strides, packed)


@inlined
def _pack_columns(w, first, last, shape, strides, packed):
    _, c, kh, kw = shape
    column, taps = first, kh * kw
    while column < last:
        width = panel_width(last - column)
        for start in range(0, c, CHANNELS):                  # what the taps of these channels share stays in the cache
            for t in range(taps):
                tap = w + (t // kw * strides[2] + t % kw * strides[3] + column * strides[0]) * 4
                for k in range(start, min(c, start + CHANNELS)):
                    row = floats(packed + (column * taps * c + (t * c + k) * width) * 4, width)
                    line = floats(tap + k * strides[1] * 4, (width - 1) * strides[0] + 1)
                    for j in range(width):
                        row[j] = line[j * strides[0]]
        column += width


@entry_point
def pack_groups(group, work, w: Address, size: Pair, small: Pair, taps: Pair, strides: Filters, turned: bool,
                packed: Address):
    """w[f, c, i, j] of a merged group -> its panels (t, c, width), zeros between the small groups in it.

    ``size`` = (channels, filters) of a merged group, ``small`` those of a small one; ``turned``: f and c exchanged.
    """
    (cm, fm), (c, f), (kh, kw), column = size, small, taps, 0
    depth, columns = (fm, cm) if turned else (cm, fm)
    to = packed + group * kh * kw * cm * fm * 4
    while column < columns:
        width = panel_width(columns - column)
        for t in range(kh * kw):
            tap = w + (group * fm * strides[0] + t // kw * strides[2] + t % kw * strides[3]) * 4
            for k in range(depth):
                row = floats(to + (column * depth * kh * kw + (t * depth + k) * width) * 4, width)
                for j in range(width):
                    which, channel = (k, column + j) if turned else (column + j, k)
                    value = floats(tap + (which * strides[0] + channel % c * strides[1]) * 4, 1)[0]
                    row[j] = value if which // f == channel // c else np.float32(0)
        column += width


@entry_point
def unpack_groups(group, work, dw: Address, size: Pair, small: Pair, taps: int, out: Address):
    """(taps, c, f) of a merged group -> those of its small groups, (f, c, taps)."""
    (cm, fm), (c, f) = size, small
    source = floats(dw + group * taps * cm * fm * 4, taps * cm * fm)
    rows = floats(out + group * fm * c * taps * 4, fm * c * taps)
    for which in range(fm):
        for k in range(c):
            for t in range(taps):
                rows[(which * c + k) * taps + t] = source[(t * cm + which // f * c + k) * fm + which]


@entry_point
def pack_lanes(v, work, w: Address, size: int, flipped: bool, packed: Address):
    """w[f, c, 3, 3] in groups of ``size`` -> lanes of a vector of filters, by kernel row, channel and kernel column."""
    n = LANES * size * 9
    source, to = floats(w + v * n * 4, n), floats(packed + v * n * 4, n)
    for i in range(3):
        for c in range(size):
            for j in range(3):
                for lane in range(LANES):
                    which, channel, tap = lane, c, 3 * i + j
                    if flipped:
                        which, channel, tap = lane // size * size + c, lane % size, 8 - tap
                    to[((i * size + c) * 3 + j) * LANES + lane] = source[(which * size + channel) * 9 + tap]


@entry_point
def transform_filters(k, work, m: int, packed: Address, f: int, c: int, u: Address):
    """Channel k of U = G g G' of packed filters for F(m x m, 3x3), laid out as by :func:`.pack.element_panels`."""
    places, column, index, area = np.empty(9, np.int64), 0, 0, (m + 2) * (m + 2)
    at = address(places)
    while column < f:
        width = panel_width(f - column)
        for t in range(9):
            places[t] = packed + (column * 9 + t * width) * c * 4 + k * width * 4
        for j in range(0, width * 4, LANES * 4):
            to = u + (column * c + index * GAP) * area * 4 + k * width * 4 + j
            if m == 2:
                _transform2(at, j, to, (c * width + GAP) * 4)
            else:
                _transform4(at, j, to, (c * width + GAP) * 4)
        column, index = column + width, index + 1
    hold(places)


@entry_point
def unpack_gradient(share, work, dw: Address, shape: Triple, out: Address):
    """(taps, c, f) -> (f, c, taps), a vector of filters an item."""
    f, c, taps = shape
    _unpack_rows(dw, share * LANES, f, c, taps, out)


@inlined
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
