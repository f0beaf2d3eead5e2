"""Sums of products of small integers, acc + Σ_k x[k] · w[k], in every lane of 32 bits: by the processor's instructions.

Either four levels x of uint8 by weights w of int8, or two integers of 16 bits each.  No road loses a bit: where four
products have no instruction of their own, bytes are widened to 16 bits and multiplied in pairs, whose sums have 32.
(The shorter road by pairs of bytes, ``vpmaddubsw``, saturates at 16 bits: 2 · 255 · 127 does not fit.)  A sum of 32
bits wraps around.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from llvmlite import binding, ir
from numba.core import cgutils

from .vector import I32, LANES, Emit

I8, I16 = ir.IntType(8), ir.IntType(16)


class Road(NamedTuple):
    """One way to compute the sums: for so many lanes at a time, where the processor has all the ``features``.

    ``four`` sums bytes, ``two`` integers of 16 bits.  ``shift`` is taken from the bytes x before: Σ (x − shift) · w.
    """

    features: tuple[str, ...]
    lanes: int
    four: Callable[[Any, ir.Value, ir.Value, ir.Value], Any]
    two: Callable[[Any, ir.Value, ir.Value, ir.Value], Any]
    shift: int = 0


def _fused(name, lanes):
    """One instruction: vpdpbusd, vpdpwssd."""

    def total(builder, acc, x, w):
        return called(builder, f"llvm.x86.avx512.{name}.{32 * lanes}", ir.VectorType(I32, lanes), acc, x, w)

    return total


def _words(name, lanes):
    """vpmaddwd, and a sum."""

    def total(builder, acc, x, w):
        words = ir.VectorType(I16, 2 * lanes)
        products = builder.bitcast(x, words), builder.bitcast(w, words)
        return builder.add(acc, called(builder, name, ir.VectorType(I32, lanes), *products))

    return total


def _octets(name, lanes):
    """vpmaddwd of the even bytes and of the odd ones, both widened to 16 bits."""

    def total(builder, acc, x, w):
        words, vector = ir.VectorType(I16, 2 * lanes), ir.VectorType(I32, lanes)
        x, w, eight = builder.bitcast(x, words), builder.bitcast(w, words), ir.Constant(words, [8] * 2 * lanes)
        low = ir.Constant(words, [255] * 2 * lanes)
        even = called(builder, name, vector, builder.and_(x, low), builder.ashr(builder.shl(w, eight), eight))
        odd = called(builder, name, vector, builder.lshr(x, eight), builder.ashr(w, eight))
        return builder.add(acc, builder.add(even, odd))

    return total


def _signed(name, lanes):
    """sdot, which takes bytes with signs: x − 128 is x with its first bit turned."""

    def total(builder, acc, x, w):
        octets, vector = ir.VectorType(I8, 4 * lanes), ir.VectorType(I32, lanes)
        x = builder.xor(builder.bitcast(x, octets), ir.Constant(octets, [128] * 4 * lanes))
        return called(builder, name, vector, acc, x, builder.bitcast(w, octets))

    return total


def _plain(count, lanes):
    """So many multiplications of 32 bits."""
    bits = 32 // count

    def total(builder, acc, x, w):
        vector = ir.VectorType(I32, lanes)
        extend = builder.lshr if count == 4 else builder.ashr           # bytes x have no sign
        for k in range(count):
            left = ir.Constant(vector, [32 - bits * (k + 1)] * lanes)   # to the top, then to the bottom
            right = ir.Constant(vector, [32 - bits] * lanes)
            value, weight = builder.shl(x, left), builder.shl(w, left)
            acc = builder.add(acc, builder.mul(extend(value, right), builder.ashr(weight, right)))
        return acc

    return total


def _wide_products(name, lanes):
    return _octets(name, lanes), _words(name, lanes)


FUSED = {lanes: (_fused("vpdpbusd", lanes), _fused("vpdpwssd", lanes)) for lanes in (8, 16)}
ROADS = {                                                               # the fastest first
    "avx512_vnni": Road(("avx512vnni",), 16, *FUSED[16]),
    "avx_vnni": Road(("avxvnni",), 8, *FUSED[8]),
    "avx512_vnni_vl": Road(("avx512vnni", "avx512vl"), 8, *FUSED[8]),
    "avx512": Road(("avx512bw",), 16, *_wide_products("llvm.x86.avx512.pmaddw.d.512", 16)),
    "avx2": Road(("avx2",), 8, *_wide_products("llvm.x86.avx2.pmadd.wd", 8)),
    "neon_dot": Road(("dotprod",), 4, _signed("llvm.aarch64.neon.sdot.v4i32.v16i8", 4), _plain(2, 4), shift=128),
    "plain": Road((), 4, _plain(4, 4), _plain(2, 4)),
}


def roads(features: Any = None, known: Mapping[str, Any] = ROADS) -> list[str]:
    """The ``known`` roads that a processor with these features (this one) can take, the fastest first."""
    features = binding.get_host_cpu_features() if features is None else features
    return [name for name, road in known.items() if road.lanes <= LANES and all(map(features.get, road.features))]


def chosen_road(road: str | None, known: Mapping[str, Any] = ROADS) -> str:
    """The road, which this processor must be able to take, or for None the fastest of the ``known``."""
    able = roads(known=known)
    if road is not None and road not in able:
        raise ValueError(f"this processor cannot take the road {road!r}, only {', '.join(able)}")
    return road or able[0]


def four(e: Emit, road: Road, x: ir.Value, w: ir.Value, acc: ir.Value) -> Any:
    """acc + Σ (x − shift) · w over the four bytes of every lane."""
    return in_parts(e, road.four, road.lanes, acc, x, w)


def two(e: Emit, road: Road, x: ir.Value, w: ir.Value, acc: ir.Value) -> Any:
    """acc + Σ x · w over the two integers of 16 bits of every lane."""
    return in_parts(e, road.two, road.lanes, acc, x, w)


def in_parts(e: Emit, total: Callable[..., Any], lanes: int, *vectors: ir.Value) -> Any:
    """What ``total`` makes of the vectors, of so many lanes at a time."""
    parts = []
    for first in range(0, LANES, lanes):
        places = ir.Constant(ir.VectorType(I32, lanes), list(range(first, first + lanes)))
        some = [e.builder.shuffle_vector(v, v, places) if lanes < LANES else v for v in vectors]
        parts.append(total(e.builder, *some))
    while len(parts) > 1:
        parts = [_joined(e.builder, a, b) for a, b in zip(parts[::2], parts[1::2])]
    return parts[0]


def _joined(builder, a, b):
    count = 2 * a.type.count
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, count), list(range(count))))


def called(builder: Any, name: str, result: ir.Type, *values: Any) -> Any:
    """What LLVM's function of this name makes of the values."""
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, [v.type for v in values]), name)
    return builder.call(function, values)
