"""Tiles of integers: four levels of 8 bits in each element, sums of 32 bits, and rounded to 8 bits again.

A sum a becomes the level

    q = clamp(round((a + c + b) · m)) + z        c = −z_x Σ w, since Σ w (x − z_x) = a + c; b and m are float32

and where a residual sum follows, whose shortcut holds levels p,

    q = clamp(round((s (q − z) + s' (p − z')) / s'')) + z''

as :func:`npresnet.ops.requantize` and :func:`npresnet.ops.quantized_add` compute them, bit for bit.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from ....backend import Array
from .dot import I16, ROADS, four, two
from .jit import intrinsic
from .tile import NONE, Arithmetic
from .transform import sandwich
from .vector import F32, I8, I32, I64, INTEGERS, LANES, OCTETS, VECTOR, Emit

# The floats that rounding to 8 bits needs, in the order they lie in memory; those of a residual sum follow the others.
# ``zero`` and ``sum_zero`` are integers, ``other_zero`` is 2^23 more than it says.  low = first − z and high = last − z
# are the first and last level, less z.
FIELDS = ("low", "high", "zero", "scale", "other_zero", "other_scale", "inverse", "sum_low", "sum_high", "sum_zero")
EACH = 12                   # bytes of what a filter adds: c, b and m, a vector of filters at a time
MAGIC = 1.5 * 2**23         # v + MAGIC holds v, rounded half to even, in its last bits, where |v| < 2^22


def octets(road: str) -> Arithmetic:
    """The arithmetic by this road, one of :data:`.dot.ROADS`."""

    def multiply_add(e, x, w, acc):
        return four(e, ROADS[road], x, w, acc)

    return Arithmetic(f"octets_{road}", INTEGERS, INTEGERS, multiply_add, _finish, types.int64)


def words(road: str) -> Arithmetic:
    """The arithmetic of pairs of 16 bits by this road, whose sums of 32 bits are the result."""

    def multiply_add(e, x, w, acc):
        return two(e, ROADS[road], x, w, acc)

    return Arithmetic(f"words_{road}", INTEGERS, INTEGERS, multiply_add, _store, types.int64)


def _store(e, acc, each, out, residual, last):
    for line, address in zip(acc, out):
        for v, a in enumerate(line):
            e.store(a, address, 4 * LANES * v)


def _finish(e, acc, each, out, residual, last):
    sums = [[_real(e, a, e.add(each, EACH * LANES * v)) for v, a in enumerate(line)] for line in acc]
    added = e.builder.icmp_signed("!=", residual, I64(NONE))
    _round(e, sums, out, added, [e.add(address, residual) for address in out], last)


def _round(e, sums, out, added, others, last):
    """Write the levels of each line of real sums to an address; where ``added``, plus the levels at ``others``."""
    b, fields = e.builder, {name: e.splat(e.load(last, 4 * i, F32)) for i, name in enumerate(FIELDS)}
    count = len(sums[0]) * LANES
    sums = [[_clamp(e, a, fields["low"], fields["high"]) for a in line] for line in sums]
    with b.if_else(added) as (with_shortcut, alone):
        with with_shortcut:
            zero = _repeated(e, e.load(last, 4 * FIELDS.index("sum_zero"), I8), count)
            for line, address, other in zip(sums, out, others):
                levels = _as_floats(e, e.load(other, 0, ir.VectorType(I8, count)))
                line = [_sum(e, a, p, fields) for a, p in zip(line, levels)]
                e.store(b.add(_last_bytes(e, line), zero), address)
        with alone:
            zero = _repeated(e, e.load(last, 4 * FIELDS.index("zero"), I8), count)
            for line, address in zip(sums, out):
                e.store(b.add(_last_bytes(e, [b.fadd(a, e.constant(MAGIC)) for a in line]), zero), address)


def _repeated(e, octet, count):
    """The same byte, so many times."""
    none = ir.Constant(ir.VectorType(I8, count), ir.Undefined)
    first = e.builder.insert_element(none, octet, I32(0))
    return _shuffled(e, first, none, [0] * count)


def _as_floats(e, levels):
    """2^23 + p for each of the levels p, a vector at a time: a float whose last byte is p."""
    b, kind = e.builder, levels.type
    head = ir.Constant(kind, [0, 0x4B] * (kind.count // 2))                     # 2^23 is 0x4B000000
    parts = []
    for first in range(0, kind.count, LANES):
        places = [place for lane in range(LANES) for place in (first + lane, kind.count, kind.count, kind.count + 1)]
        parts.append(b.bitcast(_shuffled(e, levels, head, places), VECTOR))
    return parts


def _last_bytes(e, vectors):
    """The last byte of every lane, one vector behind the other."""
    b = e.builder
    if len(vectors) == 1:
        return b.trunc(b.bitcast(vectors[0], INTEGERS), OCTETS)
    parts = [b.bitcast(v, ir.VectorType(I8, 4 * LANES)) for v in vectors]
    last = list(range(0, 8 * LANES, 4))
    parts = [_shuffled(e, first, second, last) for first, second in zip(parts[::2], parts[1::2])]
    return parts[0] if len(parts) == 1 else _shuffled(e, *parts, list(range(4 * LANES)))


def _shuffled(e, first, second, places):
    return e.builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(I32, len(places)), places))


def load_words(e: Emit, address: Any) -> Any:
    """The levels at an address, twice as many as a vector has lanes, as integers of 16 bits."""
    return e.builder.zext(e.load(address, 0, ir.VectorType(I8, 2 * LANES)), ir.VectorType(I16, 2 * LANES))


def make_scatter(matrix: Array, inverse: int, shift: int) -> Callable[..., None]:
    """Read element e at ``source + e·step``, transform the tile, and write the levels of its sums to places.

    The transformed integers are 2^shift · odd times the sums, and ``inverse`` · odd = 1 mod 2^32.
    """
    n = matrix.shape[1]

    @intrinsic
    def scatter(context, source, step, places, offset, each, residuals, last):
        def codegen(context, builder, signature, args):
            source, step, places, offset, each, residuals, last = args
            e, added = Emit(builder), builder.icmp_signed("!=", residuals, I64(0))
            x = [[e.load(builder.add(source, builder.mul(step, I64(n * i + j))), 0, INTEGERS) for j in range(n)]
                 for i in range(n)]
            sums = []
            for v in sandwich(e, matrix, x):
                v = builder.ashr(e.times(v, inverse), ir.Constant(INTEGERS, [shift] * LANES))
                sums.append([_real(e, v, each)])
            outs = [builder.add(e.load_i64(places, 8 * i), offset) for i in range(len(sums))]
            addresses = builder.select(added, residuals, places)
            others = [builder.add(e.load_i64(addresses, 8 * i), offset) for i in range(len(sums))]
            _round(e, sums, outs, added, others, last)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), codegen

    return scatter


def _real(e, a, each):
    """(a + c + b) · m"""
    b = e.builder
    total = b.sitofp(b.add(a, e.load(each, 0, INTEGERS)), VECTOR)
    return b.fmul(b.fadd(total, e.load(each, 4 * LANES)), e.load(each, 8 * LANES))


def _sum(e, clamped, p, fields):
    """clamp((s·level + s'(p − z')) / s'') + MAGIC, where p and other_zero are 2^23 more."""
    b = e.builder
    level = b.fsub(b.fadd(clamped, e.constant(MAGIC)), e.constant(MAGIC))
    other = b.fmul(b.fsub(p, fields["other_zero"]), fields["other_scale"])
    total = b.fmul(b.fadd(b.fmul(level, fields["scale"]), other), fields["inverse"])
    return b.fadd(_clamp(e, total, fields["sum_low"], fields["sum_high"]), e.constant(MAGIC))


def _clamp(e: Emit, v, low, high):
    """min(max(v, low), high), where a NaN becomes low."""
    b = e.builder
    v = b.select(b.fcmp_ordered(">", v, low), v, low)
    return b.select(b.fcmp_ordered("<", v, high), v, high)
