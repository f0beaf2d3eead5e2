"""Tiles of integers: four levels of 8 bits in each element, sums of 32 bits, and rounded to 8 bits again.

A sum a becomes the level

    q = clamp(round((a + c + b) · m)) + z        c = −z_x Σ w, since Σ w (x − z_x) = a + c; b and m are float32

and where a residual sum follows, whose shortcut holds levels p,

    q = clamp(round((s (q − z) + s' (p − z')) / s'')) + z''

as :func:`npresnet.ops.requantize` and :func:`npresnet.ops.quantized_add` compute them, bit for bit.
"""

from numba import types

from .dot import Road, dot4
from .tile import NONE, Arithmetic
from .vector import F32, I8, I64, INTEGERS, LANES, OCTETS, VECTOR, Emit

# The floats that rounding to 8 bits needs, in the order they lie in memory; those of a residual sum follow the others.
# ``zero`` and ``sum_zero`` are integers.  low = first − z and high = last − z are the first and last level, less z.
FIELDS = ("low", "high", "zero", "scale", "other_zero", "other_scale", "inverse", "sum_low", "sum_high", "sum_zero")
EACH = 12                   # bytes of what a filter adds: c, b and m, a vector of filters at a time
MAGIC = 1.5 * 2**23         # v + MAGIC holds v, rounded half to even, in its last bits, where |v| < 2^22


def octets(road: Road) -> Arithmetic:
    """The arithmetic by this road."""
    return Arithmetic(INTEGERS, lambda e, x, w, acc: dot4(e, acc, x, w, road), _finish, types.int64)


def _finish(e, acc, each, out, residual, last):
    fields = {name: e.load(last, 4 * i, F32) for i, name in enumerate(FIELDS)}
    zeros = {name: e.splat(e.load(last, 4 * FIELDS.index(name), I8)) for name in ("zero", "sum_zero")}
    scalars, builder = {name: e.splat(value) for name, value in fields.items()}, e.builder
    sums = [[_real(e, a, e.add(each, EACH * LANES * v)) for v, a in enumerate(line)] for line in acc]
    with builder.if_else(builder.icmp_signed("==", residual, I64(NONE))) as (alone, added):
        with alone:
            for line, address in zip(sums, out):
                for v, a in enumerate(line):
                    level = builder.fadd(_clamp(e, a, scalars["low"], scalars["high"]), e.constant(MAGIC))
                    e.store(_octets(e, level, zeros["zero"]), address, LANES * v)
        with added:
            for line, address in zip(sums, out):
                for v, a in enumerate(line):
                    p = e.load(e.add(address, residual), LANES * v, OCTETS)
                    level = _sum(e, _clamp(e, a, scalars["low"], scalars["high"]), p, scalars)
                    e.store(_octets(e, level, zeros["sum_zero"]), address, LANES * v)


def _real(e, a, each):
    """(a + c + b) · m"""
    b = e.builder
    total = b.sitofp(b.add(a, e.load(each, 0, INTEGERS)), VECTOR)
    return b.fmul(b.fadd(total, e.load(each, 4 * LANES)), e.load(each, 8 * LANES))


def _sum(e, clamped, p, scalars):
    """clamp((s·level + s'(p − z')) / s'') + MAGIC"""
    b = e.builder
    level = b.fsub(b.fadd(clamped, e.constant(MAGIC)), e.constant(MAGIC))
    other = b.fsub(b.uitofp(b.zext(p, INTEGERS), VECTOR), scalars["other_zero"])
    total = b.fadd(b.fmul(level, scalars["scale"]), b.fmul(other, scalars["other_scale"]))
    total = b.fmul(total, scalars["inverse"])
    return b.fadd(_clamp(e, total, scalars["sum_low"], scalars["sum_high"]), e.constant(MAGIC))


def _clamp(e: Emit, v, low, high):
    """min(max(v, low), high), where a NaN becomes low."""
    b = e.builder
    v = b.select(b.fcmp_ordered(">", v, low), v, low)
    return b.select(b.fcmp_ordered("<", v, high), v, high)


def _octets(e, level, zero):
    """The last byte of every lane, plus ``zero``."""
    return e.builder.add(e.builder.trunc(e.builder.bitcast(level, INTEGERS), OCTETS), zero)
