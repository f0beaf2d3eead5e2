"""The sum of four products of bytes, acc + Σ_k x[k] · w[k], in every lane: by the instruction that the processor has.

x are levels of uint8, w of int8, four to a lane of 32 bits, and no road loses a bit: where four products have no
instruction of their own, bytes are widened to 16 bits and multiplied in pairs, whose sums have 32.  (The shorter road
by pairs of bytes, ``vpmaddubsw``, saturates at 16 bits: 2 · 255 · 127 does not fit.)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import binding, ir
from numba.core import cgutils

from .vector import I32, LANES, Emit

I8, I16 = ir.IntType(8), ir.IntType(16)


class Road(NamedTuple):
    """One way to compute the sum: for so many lanes at a time, where the processor has all the ``features``.

    ``shift`` is taken from x before: the sum is Σ (x − shift) · w.
    """

    features: tuple[str, ...]
    lanes: int
    sum: Callable[[Any, ir.Value, ir.Value, ir.Value], Any]
    shift: int = 0


def _fused(lanes):
    """vpdpbusd: one instruction."""

    def total(builder, acc, x, w):
        vector = ir.VectorType(I32, lanes)
        return _call(builder, f"llvm.x86.avx512.vpdpbusd.{32 * lanes}", vector, acc, x, w)

    return total


def _pairs(name, lanes):
    """vpmaddwd of the even bytes and of the odd ones, both widened to 16 bits."""

    def total(builder, acc, x, w):
        words, vector = ir.VectorType(I16, 2 * lanes), ir.VectorType(I32, lanes)
        x, w, eight = builder.bitcast(x, words), builder.bitcast(w, words), ir.Constant(words, [8] * 2 * lanes)
        low = ir.Constant(words, [255] * 2 * lanes)
        even = _call(builder, name, vector, builder.and_(x, low), builder.ashr(builder.shl(w, eight), eight))
        odd = _call(builder, name, vector, builder.lshr(x, eight), builder.ashr(w, eight))
        return builder.add(acc, builder.add(even, odd))

    return total


def _signed(name, lanes):
    """sdot, which takes bytes with signs: x − 128 is x with its first bit turned."""

    def total(builder, acc, x, w):
        octets, vector = ir.VectorType(I8, 4 * lanes), ir.VectorType(I32, lanes)
        x = builder.xor(builder.bitcast(x, octets), ir.Constant(octets, [128] * 4 * lanes))
        return _call(builder, name, vector, acc, x, builder.bitcast(w, octets))

    return total


def _plain(lanes):
    """Four multiplications of 32 bits."""

    def total(builder, acc, x, w):
        vector = ir.VectorType(I32, lanes)
        for k in range(4):
            left = ir.Constant(vector, [24 - 8 * k] * lanes)        # the byte at the top, then at the bottom
            right = ir.Constant(vector, [24] * lanes)
            level, weight = builder.shl(x, left), builder.shl(w, left)
            acc = builder.add(acc, builder.mul(builder.lshr(level, right), builder.ashr(weight, right)))
        return acc

    return total


ROADS = {                                                           # the fastest first
    "avx512_vnni": Road(("avx512vnni",), 16, _fused(16)),
    "avx_vnni": Road(("avxvnni",), 8, _fused(8)),
    "avx512_vnni_vl": Road(("avx512vnni", "avx512vl"), 8, _fused(8)),
    "avx512": Road(("avx512bw",), 16, _pairs("llvm.x86.avx512.pmaddw.d.512", 16)),
    "avx2": Road(("avx2",), 8, _pairs("llvm.x86.avx2.pmadd.wd", 8)),
    "neon_dot": Road(("dotprod",), 4, _signed("llvm.aarch64.neon.sdot.v4i32.v16i8", 4), shift=128),
    "plain": Road((), 4, _plain(4)),
}


def roads(features: Any = None) -> list[str]:
    """The roads that a processor with these features (this one) can take, the fastest first."""
    features = binding.get_host_cpu_features() if features is None else features
    return [name for name, road in ROADS.items() if road.lanes <= LANES and all(map(features.get, road.features))]


def dot4(e: Emit, acc: ir.Value, x: ir.Value, w: ir.Value, road: Road) -> Any:
    """acc + Σ (x − shift) · w over the four bytes of every lane; a register that is too wide is taken in parts."""
    parts = []
    for first in range(0, LANES, road.lanes):
        places = ir.Constant(ir.VectorType(I32, road.lanes), list(range(first, first + road.lanes)))
        some = [e.builder.shuffle_vector(v, v, places) if road.lanes < LANES else v for v in (acc, x, w)]
        parts.append(road.sum(e.builder, *some))
    while len(parts) > 1:
        parts = [_joined(e.builder, a, b) for a, b in zip(parts[::2], parts[1::2])]
    return parts[0]


def _joined(builder, a, b):
    count = 2 * a.type.count
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, count), list(range(count))))


def _call(builder, name, result, *values):
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, [v.type for v in values]), name)
    return builder.call(function, values)
