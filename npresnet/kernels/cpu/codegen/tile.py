"""One register tile of a matrix product, with bias, residual sum and ReLU as its epilogue.

    y[r, :] = max(floor, Σ_t Σ_k a[r, t, k] · panel[t, k, :] + bias + residual[r, :])

``a[r, t, k]`` lies at address ``rows[r] + taps[t] + k·a_step``: for a convolution t runs over the kernel's rows,
and no column matrix is ever built [ICA].  ``panel`` is packed in the order it is read [GvG].

[ICA] Dukhan 2019, The Indirect Convolution Algorithm, arXiv:1907.02129
[GvG] Goto & van de Geijn 2008, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34(3)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .jit import inlined, intrinsic, subroutine
from .vector import FIRST_CACHE, I64, LANES, LINE, VECTOR, Emit, address, hold

WIDE = 4 if LANES in (4, 16) else 2   # vectors side by side: 6 rows of them fill the 32 (AVX2: 16) registers
SHAPES = {WIDE: 6, 2: 12 if WIDE == 4 else 6, 1: 12}  # vectors a row: rows a tile
PANEL = WIDE * LANES                  # columns of the widest panel
ROWS = 12                             # every tile's rows divide this
NONE = -2**62                         # no residual
AHEAD = 4096                          # bytes of a panel on their way; a processor itself looks no further than a page


class Arithmetic(NamedTuple):
    """What a tile computes with: the elements of 32 bits of a row and of a panel, and what becomes of a sum.

    name            like no other's: machine code is kept under it
    elements, sums  the types of a vector of those and of these
    multiply_add    (e, a, b, acc) → acc + a·b in every lane; for several smaller numbers in an element, their sum
    finish          (e, acc, each, out, residual, last): writes the sums acc, a list of vectors for each row, to the
                    addresses ``out``, with what each filter adds, at ``each``, and ``last``, of its own type
    """

    name: str
    elements: Any
    sums: Any
    multiply_add: Callable[..., Any]
    finish: Callable[..., None]
    last: types.Type


def make_tile(width: int, rows: int, arithmetic: Arithmetic) -> Callable[..., None]:
    """An intrinsic for ``rows`` rows of ``width`` vectors; all but the last are addresses, distances or counts."""
    elements = arithmetic.elements

    @intrinsic
    def tile(context, row, taps, ntaps, depth, a_step, panel, b_step, bias, out, column, residual, last):
        def codegen(context, builder, signature, args):
            row, taps, ntaps, depth, a_step, panel, b_step, bias, out, column, residual, last = args
            e, zero = Emit(builder), ir.Constant(arithmetic.sums, None)
            acc = [[cgutils.alloca_once_value(builder, zero) for _ in range(width)] for _ in range(rows)]
            at = cgutils.alloca_once_value(builder, panel)
            a = [e.load_i64(row, 8 * r) for r in range(rows)]
            with cgutils.for_range(builder, ntaps) as tap:
                start = e.load_i64(builder.add(taps, builder.mul(tap.index, I64(8))))
                with cgutils.for_range(builder, depth) as k:
                    here, b = builder.add(start, builder.mul(k.index, a_step)), builder.load(at)
                    bs = [e.load(b, 4 * LANES * v, elements) for v in range(width)]
                    for line in range(0, 4 * LANES * width, LINE):
                        e.prefetch(e.add(b, AHEAD + line), FIRST_CACHE)
                    for r in range(rows):
                        splat = e.splat(e.load(builder.add(a[r], here), 0, elements.element))
                        for v in range(width):
                            total = arithmetic.multiply_add(e, splat, bs[v], builder.load(acc[r][v]))
                            builder.store(total, acc[r][v])
                    builder.store(builder.add(b, b_step), at)
            outs = [builder.add(e.load_i64(out, 8 * r), column) for r in range(rows)]
            arithmetic.finish(e, [[builder.load(a) for a in line] for line in acc], bias, outs, residual, last)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 11, arithmetic.last), codegen

    return tile


def finish(e: Emit, acc: list[list[Any]], bias: Any, out: list[Any], residual: Any, floor: Any, nbytes: int = 4,
           load: Callable[..., Any] = Emit.load, store: Callable[..., None] = Emit.store) -> None:
    """y = max(floor, acc + bias + residual) at the addresses ``out``; ``residual`` is relative to them, or NONE.

    Results, and what is added, have ``nbytes`` each, and are vectors of floats once loaded.
    """
    builder, floor = e.builder, e.splat(floor)
    bs = [e.load(bias, 4 * LANES * v) for v in range(len(acc[0]))]
    acc = [[cgutils.alloca_once_value(builder, builder.fadd(a, b)) for a, b in zip(line, bs)] for line in acc]
    with builder.if_then(builder.icmp_signed("!=", residual, I64(NONE))):
        for line, address in zip(acc, out):
            for v, a in enumerate(line):
                r = load(e, builder.add(address, residual), nbytes * LANES * v)
                builder.store(builder.fadd(builder.load(a), r), a)
    for line, address in zip(acc, out):
        for v, a in enumerate(line):
            store(e, e.maximum(floor, builder.load(a)), address, nbytes * LANES * v)


FLOATS = Arithmetic("floats", VECTOR, VECTOR, Emit.fma, finish, types.float32)


def make_multiply(arithmetic: Arithmetic) -> Callable[..., None]:
    """:func:`multiply_strided` in this arithmetic."""
    tiles = {width: make_tile(width, rows, arithmetic) for width, rows in SHAPES.items()}
    wide, half, narrow = tiles[WIDE], tiles[2], tiles[1]

    def multiply_strided(rows, n, taps, depth, a_step, panel, b_step, width, bias, out, column, residual, last):
        first, to, tap, ntaps = address(rows), address(out), address(taps), len(taps)
        if width == _WIDE:
            for m in range(0, n, _WIDE_ROWS):
                wide(first + 8 * m, tap, ntaps, depth, a_step, panel, b_step, bias, to + 8 * m, column, residual, last)
        elif width == _HALF:
            for m in range(0, n, _HALF_ROWS):
                half(first + 8 * m, tap, ntaps, depth, a_step, panel, b_step, bias, to + 8 * m, column, residual, last)
        else:
            for m in range(0, n, _NARROW_ROWS):
                narrow(first + 8 * m, tap, ntaps, depth, a_step, panel, b_step, bias, to + 8 * m, column, residual,
                       last)
        hold(rows, out, taps)

    return subroutine(multiply_strided, f"multiply_strided_{arithmetic.name}")


_WIDE_ROWS, _HALF_ROWS, _NARROW_ROWS = SHAPES[WIDE], SHAPES[2], SHAPES[1]
_WIDE, _HALF = WIDE * LANES, 2 * LANES

multiply_strided = make_multiply(FLOATS)
"""Multiply ``n`` rows by one packed panel of ``width`` columns.

``rows`` and ``out`` hold addresses, and repeat the last one up to a multiple of ROWS.  ``column`` is added to every
address of ``out``; ``residual`` is the distance from an output to what is added to it, or NONE.  k-th neighbours lie
``a_step`` bytes apart in a row and ``b_step`` in the panel.
"""


@inlined
def panel_width(columns):
    """Columns of the next panel when ``columns``, a multiple of LANES, are left."""
    return _WIDE if columns >= _WIDE else _HALF if columns >= _HALF else LANES
