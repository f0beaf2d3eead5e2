"""Elementwise passes over a line of floats, a vector at a time.

A compiled loop over so many arrays would check each pair of them for overlap, or take one float at a time.  Every
function takes the number of floats, a multiple of LANES, and a tuple of addresses.
"""

from collections.abc import Callable

from numba import types
from numba.core import cgutils

from .jit import intrinsic
from .vector import I64, LANES, Emit


def over_a_line(body: Callable[[Emit, list], None]) -> Callable[[int, tuple], None]:
    """The intrinsic that runs ``body(e, addresses)`` for each vector of a line."""

    @intrinsic
    def line(context, n, addresses):
        def codegen(context, builder, signature, args):
            first, e = [builder.extract_value(args[1], i) for i in range(addresses.count)], Emit(builder)
            with cgutils.for_range(builder, builder.udiv(args[0], I64(LANES))) as loop:
                offset = builder.mul(loop.index, I64(4 * LANES))
                body(e, [builder.add(at, offset) for at in first])
            return context.get_dummy_value()

        return types.void(types.int64, addresses), codegen

    return line


@over_a_line
def add_moments(e, at):
    """first += d, second += d², where d = x - origin."""
    x, origin, first, second = at
    d = e.builder.fsub(e.load(x), e.load(origin))
    e.store(e.builder.fadd(e.load(first), d), first)
    e.store(e.fma(d, d, e.load(second)), second)


@over_a_line
def affine(e, at):
    """y = max(floor, scale·x + shift)."""
    x, scale, shift, floor, y = at
    e.store(e.maximum(e.load(floor), e.fma(e.load(scale), e.load(x), e.load(shift))), y)


@over_a_line
def affine_and_add(e, at):
    """y = max(floor, scale·x + shift + s)."""
    x, scale, shift, floor, s, y = at
    v = e.fma(e.load(scale), e.load(x), e.load(shift))
    e.store(e.maximum(e.load(floor), e.builder.fadd(v, e.load(s))), y)


@over_a_line
def mask(e, at):
    """ds = dy where y > 0, else 0."""
    dy, y, ds = at
    e.store(_where_above(e, e.load(y), e.constant(0), e.load(dy)), ds)


@over_a_line
def add_cotangents(e, at):
    """first += g, second += g·(x - mean), where g is dy where scale·x + shift > floor, else 0."""
    dy, x, mean, scale, shift, floor, first, second = at
    x = e.load(x)
    g = _where_above(e, e.fma(e.load(scale), x, e.load(shift)), e.load(floor), e.load(dy))
    e.store(e.builder.fadd(e.load(first), g), first)
    e.store(e.fma(g, e.builder.fsub(x, e.load(mean)), e.load(second)), second)


@over_a_line
def combine(e, at):
    """dx = a·g + b·x + c, with g as in :func:`add_cotangents`."""
    dy, x, a, b, c, scale, shift, floor, dx = at
    x = e.load(x)
    g = _where_above(e, e.fma(e.load(scale), x, e.load(shift)), e.load(floor), e.load(dy))
    e.store(e.fma(e.load(a), g, e.fma(e.load(b), x, e.load(c))), dx)


def _where_above(e, v, floor, values):
    return e.builder.select(e.builder.fcmp_ordered(">", v, floor), values, e.constant(0))
