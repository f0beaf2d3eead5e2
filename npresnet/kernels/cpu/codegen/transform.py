"""Y = M X M' for a small constant matrix M and a tile X of vectors: the transforms of a Winograd convolution."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils

from ....backend import Array
from .jit import intrinsic
from .vector import I64, VECTOR, Emit


def line(e: Emit, matrix: Array, x: list) -> list[Any]:
    """The vectors M x, with as few multiplications as the zeros, the ones and the mirrored rows of M allow.

    Winograd's points come in pairs ±a, so that two rows of M differ in the sign of their odd or even terms only:
    both are the sum and the difference of the same two halves.
    """
    y, todo = [None] * len(matrix), list(range(len(matrix)))
    while todo:
        i = todo.pop(0)
        mirror = next((j for j in todo if np.array_equal(abs(matrix[i]), abs(matrix[j]))), None)
        if mirror is None:
            y[i] = combine(e, matrix[i], x)
            continue
        todo.remove(mirror)
        same = matrix[i] == matrix[mirror]
        even, odd = combine(e, np.where(same, matrix[i], 0), x), combine(e, np.where(same, 0, matrix[i]), x)
        y[i], y[mirror] = e.plus(even, odd), e.minus(even, odd)
    return y


def combine(e: Emit, row: Array, x: list) -> Any:
    """Σ_j row[j] x[j], of floats in fused multiply-adds."""
    total = None
    for factor, vector in sorted(((f, v) for f, v in zip(row, x) if f), key=lambda term: term[0] != 1):
        if total is None:
            total = vector if factor == 1 else e.times(vector, factor)
        elif factor == 1:
            total = e.plus(total, vector)
        elif factor == -1:
            total = e.minus(total, vector)
        else:
            total = e.fma(vector, e.constant(factor), total) if vector.type == VECTOR \
                else e.plus(total, e.times(vector, factor))
    return total


def sandwich(e: Emit, matrix: Array, x: list) -> list[Any]:
    """M X M' of a square list of lists of vectors, row after row."""
    columns = [line(e, matrix, list(column)) for column in zip(*x)]       # M X, by columns
    return list(chain.from_iterable(line(e, matrix, list(row)) for row in zip(*columns)))     # (M X) M', by rows


def make_gather(matrix: Array, read: Callable[[Emit, Any], Any] = Emit.load) -> Callable[..., None]:
    """Read a tile from scattered addresses, transform it, write element e to ``to + e·step``.

    ``read`` makes what lies at an address a vector.
    """
    n = matrix.shape[1]

    @intrinsic
    def gather(context, places, offset, to, step):
        def codegen(context, builder, signature, args):
            places, offset, to, step = args
            e = Emit(builder)
            x = [[read(e, builder.add(e.load_i64(places, 8 * (n * i + j)), offset)) for j in range(n)]
                 for i in range(n)]
            for vector in sandwich(e, matrix, x):
                e.store(vector, to)
                to = builder.add(to, step)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), codegen

    return gather


def make_scatter(matrix: Array) -> Callable[..., None]:
    """Read element e at ``source + e·step``, transform the tile, write max(floor, it + bias + residual) to places."""
    n = matrix.shape[1]

    @intrinsic
    def scatter(context, source, step, places, offset, bias, residuals, floor):
        def codegen(context, builder, signature, args):
            source, step, places, offset, bias, residuals, floor = args
            e = Emit(builder)
            x = [[e.load(builder.add(source, builder.mul(step, I64(n * i + j)))) for j in range(n)] for i in range(n)]
            b, floor = e.load(bias), e.splat(floor)
            y = [cgutils.alloca_once_value(builder, builder.fadd(v, b)) for v in sandwich(e, matrix, x)]
            with builder.if_then(builder.icmp_signed("!=", residuals, I64(0))):
                for i, v in enumerate(y):
                    r = e.load(builder.add(e.load_i64(residuals, 8 * i), offset))
                    builder.store(builder.fadd(builder.load(v), r), v)
            for i, v in enumerate(y):
                e.store(e.maximum(floor, builder.load(v)), builder.add(e.load_i64(places, 8 * i), offset))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6, types.float32), codegen

    return scatter
