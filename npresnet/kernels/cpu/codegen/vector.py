"""Vector instructions for Numba kernels.

A compiled Python loop leaves much of a core's arithmetic unused, because the accumulators of a product do not stay in
registers.  What is built on this file writes the vector instructions itself (LLVM's ``<n x float>``), so that the same
source serves AVX-512, AVX2 and NEON, and takes addresses: a row may lie anywhere.
"""

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.typing import templates
from numba.np.arrayobj import populate_array

from .jit import inlined, intrinsic

I64, I32, I8, F32 = ir.IntType(64), ir.IntType(32), ir.IntType(8), ir.FloatType()


def host_lanes() -> int:
    """Floats in this machine's widest vector register."""
    features = binding.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx2") else 4


LANES = host_lanes()
LINE = 64                           # bytes of a line of the cache
FIRST_CACHE, SECOND_CACHE = 3, 2    # LLVM's names for where to prefetch
VECTOR, INTEGERS, OCTETS = (ir.VectorType(kind, LANES) for kind in (F32, I32, I8))


class Emit:
    """Writes the few vector instructions the kernels are made of, by LLVM's ``builder``."""

    def __init__(self, builder: Any):
        self.builder = builder
        ternary = ir.FunctionType(VECTOR, [VECTOR] * 3)
        self._fma = cgutils.get_or_insert_function(builder.module, ternary, f"llvm.fma.v{LANES}f32")

    def at(self, address: ir.Value, kind: ir.Type = VECTOR) -> Any:
        """An address as a pointer to a value of this kind."""
        return self.builder.inttoptr(address, kind.as_pointer())

    def load(self, address: ir.Value, offset: int | ir.Value = 0, kind: ir.Type = VECTOR) -> Any:
        """The vector, or the value of this kind, at an address, which need only fit its elements."""
        value = self.builder.load(self.at(self.add(address, offset), kind))
        value.align = _element_bytes(kind)
        return value

    def store(self, value: Any, address: ir.Value, offset: int | ir.Value = 0) -> None:
        """Write a vector, or a value, to an address, which need only fit its elements."""
        self.builder.store(value, self.at(self.add(address, offset), value.type)).align = _element_bytes(value.type)

    def load_i64(self, address: ir.Value, offset: int | ir.Value = 0) -> Any:
        """The integer at an address."""
        return self.builder.load(self.at(self.add(address, offset), I64))

    def splat(self, scalar: Any) -> Any:
        """The same number in every lane."""
        none, b = ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined), self.builder
        first = b.insert_element(none, scalar, I32(0))
        return b.shuffle_vector(first, none, ir.Constant(INTEGERS, [0] * LANES))

    def constant(self, number: float) -> ir.Constant:
        """The same number in every lane."""
        return ir.Constant(VECTOR, [float(number)] * LANES)

    def add(self, address: ir.Value, offset: int | ir.Value) -> Any:
        """An address plus an offset, a number or a value, in bytes."""
        return self.builder.add(address, offset if isinstance(offset, ir.Value) else ir.Constant(I64, offset))

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> Any:
        """a·b + c, rounded once."""
        return self.builder.call(self._fma, [a, b, c])

    def plus(self, a: Any, b: Any) -> Any:
        """a + b, of floats or of integers."""
        return (self.builder.fadd if a.type == VECTOR else self.builder.add)(a, b)

    def minus(self, a: Any, b: Any) -> Any:
        """a − b, of floats or of integers."""
        return (self.builder.fsub if a.type == VECTOR else self.builder.sub)(a, b)

    def times(self, a: Any, number: float) -> Any:
        """The product with a number, of floats or, with a whole one, of integers."""
        if a.type == VECTOR:
            return self.builder.fmul(a, self.constant(number))
        return self.builder.mul(a, ir.Constant(a.type, [int(number)] * a.type.count))

    def prefetch(self, address: ir.Value, cache: int) -> None:
        """Prefetch the cache line at an address, which may lie outside every array, into this cache."""
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, I32, I32, I32])
        prefetch = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0i8")
        self.builder.call(prefetch, [self.at(address, I8), I32(0), I32(cache), I32(1)])

    def maximum(self, floor: ir.Value, a: ir.Value) -> Any:
        """max(floor, a), where a NaN in a stays a NaN."""
        return self.builder.select(self.builder.fcmp_ordered(">", floor, a), floor, a)


def _element_bytes(kind):
    element = getattr(kind, "element", kind)
    return 4 if element == F32 else element.width // 8


@intrinsic
def copy(context, source, target, n):
    """n floats from one address to another."""
    def codegen(context, builder, signature, args):
        source, target = (builder.inttoptr(at, cgutils.voidptr_t) for at in args[:2])
        cgutils.raw_memcpy(builder, target, source, args[2], 4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def fill(context, target, n, octet):
    """4·n bytes, all the same, at an address."""
    def codegen(context, builder, signature, args):
        target, n, octet = args
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, I8, I64, ir.IntType(1)])
        memset = cgutils.get_or_insert_function(builder.module, kind, "llvm.memset.p0i8.i64")
        octet, size = builder.trunc(octet, I8), builder.mul(n, I64(4))
        builder.call(memset, [builder.inttoptr(target, cgutils.voidptr_t), octet, size, cgutils.false_bit])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@inlined
def clear(target, n):
    """n zeros, floats, at an address."""
    fill(target, n, 0)


@intrinsic
def prefetch(context, source, n):
    """Prefetch the n bytes at an address into the second cache."""
    def codegen(context, builder, signature, args):
        with cgutils.for_range(builder, builder.udiv(args[1], I64(LINE))) as line:
            Emit(builder).prefetch(builder.add(args[0], builder.mul(line.index, I64(LINE))), SECOND_CACHE)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def address(context, array):
    """Where an array begins, as a signed integer (an unsigned one plus a signed one is a float in Numba).

    Numba frees an array after the last line that names it, and an address does not name it: a function that takes
    one ends with :func:`hold`.
    """
    def codegen(context, builder, signature, args):
        return builder.ptrtoint(context.make_array(array)(context, builder, args[0]).data, I64)

    return types.int64(array), codegen


@intrinsic
def hold(context, *arrays):
    """Keeps the arrays alive until here: the last line of a function that has taken their :func:`address`."""
    def codegen(context, builder, signature, args):
        return context.get_dummy_value()

    return templates.signature(types.void, types.StarArgTuple.from_types(arrays)), codegen


def _array_at(kind):
    @intrinsic
    def array_at(context, where, n):
        """The n numbers at an address, as an array."""
        def codegen(context, builder, signature, args):
            made, size = context.make_array(signature.return_type)(context, builder), I64(kind.bitwidth // 8)
            data = builder.inttoptr(args[0], context.get_data_type(kind).as_pointer())
            populate_array(made, data=data, shape=[args[1]], strides=[size], itemsize=size, meminfo=None)
            return made._getvalue()

        return types.Array(kind, 1, "C")(types.int64, types.int64), codegen

    return array_at


floats, doubles = _array_at(types.float32), _array_at(types.float64)
octets, words = _array_at(types.uint8), _array_at(types.uint16)
integers32, integers = _array_at(types.int32), _array_at(types.int64)
