"""Owns the machine's own instructions that token kernels use: unaligned loads and 64 bytes classified at a time.

Written as portable LLVM vectors, so that each CPU gets what it has (AVX2, SSE2, NEON). Nothing here checks an index:
whoever takes an address keeps the array alive and has PADDING readable bytes behind the last used one.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

PADDING: Final = 64

_BYTE: Final = ir.IntType(8)
_WORD: Final = ir.IntType(64)
_VECTOR: Final = ir.VectorType(_BYTE, 64)


@intrinsic
def address_of(_context: Any, array: Any) -> Any:
    """The address of the first element of an array that outlives the use of it."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        return builder.ptrtoint(data, _WORD)

    return types.int64(array), code


def _load(builder: Any, place: Any, type_: Any) -> Any:
    """What is at `place`, an (address, index)."""
    return builder.load(builder.inttoptr(builder.add(*place), type_.as_pointer()), align=1)


def _splat(value: int) -> Any:
    return ir.Constant(_VECTOR, [value] * 64)


@intrinsic
def load64(_context: Any, base: Any, index: Any) -> Any:
    """The 8 bytes at `index`, little-endian."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return _load(builder, values, _WORD)

    return types.uint64(types.int64, types.int64), code


@intrinsic
def store64(_context: Any, base: Any, index: Any, value: Any) -> Any:
    """Write 8 bytes at `index`, little-endian."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        address = builder.inttoptr(builder.add(*values[:2]), _WORD.as_pointer())
        builder.store(values[2], address, align=1)
        return _context.get_dummy_value()

    return types.void(types.int64, types.int64, value), code


@intrinsic
def mask_word(_context: Any, base: Any, index: Any) -> Any:
    """Bit i is set when byte i of the 64 at `index` belongs to a word: A-Z a-z 0-9 _ or not ASCII."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        loaded = _load(builder, values, _VECTOR)
        letter = builder.icmp_unsigned("<", builder.sub(builder.or_(loaded, _splat(0x20)), _splat(0x61)), _splat(26))
        digit = builder.icmp_unsigned("<", builder.sub(loaded, _splat(0x30)), _splat(10))
        underscore = builder.icmp_unsigned("==", loaded, _splat(0x5F))
        other = builder.icmp_signed("<", loaded, _splat(0))  # non-ASCII bytes are negative
        found = builder.or_(builder.or_(letter, digit), builder.or_(underscore, other))
        return builder.bitcast(found, _WORD)

    return types.uint64(types.int64, types.int64), code


@intrinsic
def trailing_zeros(_context: Any, value: Any) -> Any:
    """Number of zero bits below the lowest set one; 64 for zero."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), code


@intrinsic
def count_ones(_context: Any, value: Any) -> Any:
    """Number of bits that are set."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.ctpop(values[0])

    return types.int64(types.uint64), code


@intrinsic
def prefetch(_context: Any, base: Any, index: Any) -> Any:
    """Have the cache line of the byte at `index` fetched: it will be used soon."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        address = builder.inttoptr(builder.add(*values), _BYTE.as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        builder.call(function, [address, number(1), number(3), number(1)])
        return _context.get_dummy_value()

    return types.void(types.int64, types.int64), code
