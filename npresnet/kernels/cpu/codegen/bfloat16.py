"""Numbers of 16 bits, bfloat16: sums of products, and the way from 32 bits and back.

    acc + x[1] · w[1] + x[0] · w[0]         in every lane of 32 bits, which holds two numbers x and two weights

Each product is added to the sum in float32 and rounded once, as :mod:`npresnet.ops.bfloat16` rounds results.
``vpdpbf16ps`` does so in one instruction, and takes numbers below 2^-126 for zero; elsewhere two multiply-adds of
float32 do, since a bfloat16 is the upper half of a float32.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types

from ....ops.bfloat16 import NAN
from .dot import I16, called, in_parts
from .jit import intrinsic
from .tile import Arithmetic, finish
from .vector import F32, I32, INTEGERS, LANES, VECTOR, Emit

FLOATS, HALVES = 4, 2       # bytes of a result


class Road(NamedTuple):
    """One way to compute the sums: for so many lanes at a time, where the processor has all the ``features``."""

    features: tuple[str, ...]
    lanes: int
    sum: Callable[[Any, ir.Value, ir.Value, ir.Value], Any]     # (builder, acc, x, w)


class BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite has no name for."""

    def _to_string(self):
        return "bfloat"

    def __eq__(self, other):
        return isinstance(other, BFloat)

    def __hash__(self):
        return hash(BFloat)


def _instruction(name, operand):
    def total(builder, acc, x, w):
        return called(builder, name, acc.type, acc, *(builder.bitcast(v, operand) for v in (x, w)))

    return total


def _multiply_adds(builder, acc, x, w):
    e = Emit(builder)
    for half in (_upper, _lower):
        acc = e.fma(half(builder, x), half(builder, w), acc)
    return acc


def _upper(b, v):
    return b.bitcast(b.and_(v, ir.Constant(v.type, [-(2**16)] * v.type.count)), VECTOR)


def _lower(b, v):
    return b.bitcast(b.shl(v, ir.Constant(v.type, [16] * v.type.count)), VECTOR)


ROADS = {                                                               # the fastest first
    "avx512_bf16": Road(("avx512bf16",), 16, _instruction("llvm.x86.avx512bf16.dpbf16ps.512", INTEGERS)),
    "neon_bf16": Road(("bf16",), 4, _instruction("llvm.aarch64.neon.bfdot.v4f32.v8bf16", ir.VectorType(BFloat(), 8))),
    "multiply_add": Road((), LANES, _multiply_adds),
}


def halves(road: str, nbytes: int = HALVES) -> Arithmetic:
    """The arithmetic by this road, one of :data:`ROADS`; results are bfloat16, or float32 where they have four bytes.

    A sum is rounded once, behind bias, residual and ReLU; ``last`` is where the ReLU's floor lies.
    """
    ways = (_load, _store) if nbytes == HALVES else ()

    def multiply_add(e, x, w, acc):
        return in_parts(e, ROADS[road].sum, ROADS[road].lanes, acc, x, w)

    def from_sums(e, acc, bias, out, residual, last):
        finish(e, acc, bias, out, residual, e.load(last, 0, F32), nbytes, *ways)

    return Arithmetic(f"halves_{road}_{nbytes}", INTEGERS, VECTOR, multiply_add, from_sums, types.int64)


def _load(e, address, offset):
    return widened(e.builder, e.load(address, offset, ir.VectorType(I16, LANES)))


def _store(e, value, address, offset):
    e.store(narrowed(e.builder, value), address, offset)


def narrowed(builder: Any, value: Any) -> Any:
    """The bits of the nearest bfloat16 of a float or of a vector, as :func:`npresnet.ops.bfloat16.bfloat16_bits`."""
    count = getattr(value.type, "count", 0)
    wide, short = (ir.VectorType(kind, count) if count else kind for kind in (I32, I16))

    def constant(kind, number):
        return ir.Constant(kind, [number] * count if count else number)

    u = builder.bitcast(value, wide)
    sixteen = constant(wide, 16)
    odd = builder.and_(builder.lshr(u, sixteen), constant(wide, 1))
    rounded = builder.lshr(builder.add(builder.add(u, constant(wide, 0x7FFF)), odd), sixteen)
    is_nan = builder.fcmp_unordered("uno", value, value)
    return builder.trunc(builder.select(is_nan, constant(wide, NAN), rounded), short)


def widened(builder: Any, bits: Any) -> Any:
    """The float, or the vector, whose upper halves these bits are."""
    count = getattr(bits.type, "count", 0)
    wide, real = (ir.VectorType(kind, count) if count else kind for kind in (I32, F32))
    sixteen = ir.Constant(wide, [16] * count if count else 16)
    return builder.bitcast(builder.shl(builder.zext(bits, wide), sixteen), real)


@intrinsic
def narrow(context, value):
    """The bits of the nearest bfloat16."""
    def codegen(context, builder, signature, args):
        return narrowed(builder, args[0])

    return types.uint16(types.float32), codegen


@intrinsic
def widen(context, bits):
    """The float32 that these bits are."""
    def codegen(context, builder, signature, args):
        return widened(builder, args[0])

    return types.float32(types.uint16), codegen
