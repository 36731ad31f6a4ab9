"""Owns the machine's own instructions that kernels use: unaligned loads, 32 bytes at a time, bit counts, wide products.

Written as portable LLVM vectors, so that each CPU gets what it has (AVX2, SSE2, NEON). All integers are int64 bit
patterns, because numba turns a mix of int64 and uint64 into floats.

Bytes are reached by address and index: an array as argument of an inner function costs a reference count (measured:
a scan three times as slow). Nothing here checks an index: every array that is loaded or stored 32 bytes at a time has
PADDING bytes behind its last used one, and whoever takes an address keeps the array alive.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

PADDING: Final = 64

_BYTE: Final = ir.IntType(8)
_WORD: Final = ir.IntType(64)
_VECTOR: Final = ir.VectorType(_BYTE, 32)
_MASK: Final = ir.IntType(32)


@intrinsic
def wide(_context: Any, value: Any) -> Any:
    """A whole number of any width (an array's element, a truncated float) as int64."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return context.cast(builder, values[0], signature.args[0], types.int64)

    return types.int64(value), code


def _pointer(builder: Any, base: Any, index: Any) -> Any:
    """The byte at `index` behind the address `base`."""
    return builder.inttoptr(builder.add(base, index), _BYTE.as_pointer())


def _load(builder: Any, address: Any, type_: Any) -> Any:
    return builder.load(builder.bitcast(address, type_.as_pointer()), align=1)


def _splat(value: int) -> Any:
    return ir.Constant(_VECTOR, [value] * 32)


def _to_mask(builder: Any, comparison: Any) -> Any:
    return builder.zext(builder.bitcast(comparison, _MASK), _WORD)


@intrinsic
def address_of(_context: Any, array: Any) -> Any:
    """The address of the first element of an array that outlives the use of it."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        return builder.ptrtoint(data, _WORD)

    return types.int64(array), code


@intrinsic
def load8(_context: Any, base: Any, index: Any) -> Any:
    """The byte at `index`, 0 to 255."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        address = _pointer(builder, *values)
        return builder.zext(builder.load(address), _WORD)

    return types.int64(types.int64, types.int64), code


@intrinsic
def load64(_context: Any, base: Any, index: Any) -> Any:
    """The 8 bytes at `index`, little-endian."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return _load(builder, _pointer(builder, *values), _WORD)

    return types.int64(types.int64, types.int64), code


@intrinsic
def item32(_context: Any, base: Any, index: Any) -> Any:
    """Element `index` of an array of int32 by its address."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        base, index = values
        address = _pointer(builder, base, builder.shl(index, ir.Constant(_WORD, 2)))
        return builder.sext(_load(builder, address, ir.IntType(32)), _WORD)

    return types.int64(types.int64, types.int64), code


@intrinsic
def set_item32(_context: Any, base: Any, index: Any, value: Any) -> Any:
    """Set element `index` of an array of int32 by its address."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        base, index, value = values
        address = _pointer(builder, base, builder.shl(index, ir.Constant(_WORD, 2)))
        word = ir.IntType(32)
        builder.store(builder.trunc(value, word), builder.bitcast(address, word.as_pointer()), align=1)
        return _context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), code


@intrinsic
def prefetch(_context: Any, base: Any, index: Any) -> Any:
    """Have the cache line of the byte at `index` fetched: it will be read soon."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        address = _pointer(builder, *values)
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        builder.call(function, [address, word(0), word(3), word(1)])
        return _context.get_dummy_value()

    return types.void(types.int64, types.int64), code


@intrinsic
def store8(_context: Any, base: Any, index: Any, value: Any) -> Any:
    """Write one byte at `index`."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        builder.store(builder.trunc(values[2], _BYTE), _pointer(builder, *values[:2]))
        return _context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), code


@intrinsic
def store64(_context: Any, base: Any, index: Any, value: Any) -> Any:
    """Write 8 bytes at `index`, little-endian."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        address = _pointer(builder, *values[:2])
        builder.store(values[2], builder.bitcast(address, _WORD.as_pointer()), align=1)
        return _context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), code


@intrinsic
def copy32(_context: Any, target: Any, to: Any, source: Any, at: Any) -> Any:
    """Copy 32 bytes; source and target may be the same array."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        address = _pointer(builder, *values[:2])
        loaded = _load(builder, _pointer(builder, *values[2:]), _VECTOR)
        builder.store(loaded, builder.bitcast(address, _VECTOR.as_pointer()), align=1)
        return _context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), code


@intrinsic
def mask_string_end(_context: Any, base: Any, index: Any) -> Any:
    """Bit i is set when byte i of the 32 at `index` ends plain text: a quote, backslash, control or non-ASCII."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        loaded = _load(builder, _pointer(builder, *values), _VECTOR)
        quote = builder.icmp_unsigned("==", loaded, _splat(0x22))
        backslash = builder.icmp_unsigned("==", loaded, _splat(0x5C))
        other = builder.icmp_signed("<", loaded, _splat(0x20))  # non-ASCII bytes are negative
        return _to_mask(builder, builder.or_(builder.or_(quote, backslash), other))

    return types.int64(types.int64, types.int64), code


@intrinsic
def mask_non_ascii(_context: Any, base: Any, index: Any) -> Any:
    """Bit i is set when byte i of the 32 at `index` is not ASCII."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        loaded = _load(builder, _pointer(builder, *values), _VECTOR)
        return _to_mask(builder, builder.icmp_signed("<", loaded, _splat(0)))

    return types.int64(types.int64, types.int64), code


@intrinsic
def mask_newline(_context: Any, base: Any, index: Any) -> Any:
    r"""Bit i is set when byte i of the 32 at `index` is \n."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        loaded = _load(builder, _pointer(builder, *values), _VECTOR)
        return _to_mask(builder, builder.icmp_unsigned("==", loaded, _splat(0x0A)))

    return types.int64(types.int64, types.int64), code


@intrinsic
def mask_different(_context: Any, left: Any, at: Any, right: Any, other: Any) -> Any:
    """Bit i is set when byte i of the 32 at `left[at]` and `right[other]` differ."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        first = _load(builder, _pointer(builder, *values[:2]), _VECTOR)
        second = _load(builder, _pointer(builder, *values[2:]), _VECTOR)
        return _to_mask(builder, builder.icmp_unsigned("!=", first, second))

    return types.int64(types.int64, types.int64, types.int64, types.int64), code


@intrinsic
def trailing_zeros(_context: Any, value: Any) -> Any:
    """Number of zero bits below the lowest set one; 64 for zero."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), code


@intrinsic
def leading_zeros(_context: Any, value: Any) -> Any:
    """Number of zero bits above the highest set one; 64 for zero."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.ctlz(values[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), code


@intrinsic
def multiply_high(_context: Any, left: Any, right: Any) -> Any:
    """The upper 64 bits of the unsigned 128-bit product (`left * right` gives the lower ones)."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(values[0], wide), builder.zext(values[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), _WORD)

    return types.int64(types.int64, types.int64), code


@intrinsic
def shift_right(_context: Any, value: Any, count: Any) -> Any:
    """`value` as unsigned, shifted right by 0 to 63."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.lshr(*values)

    return types.int64(types.int64, types.int64), code


@intrinsic
def below_unsigned(_context: Any, left: Any, right: Any) -> Any:
    """Whether `left` is less than `right` when both are read as unsigned."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.icmp_unsigned("<", *values)

    return types.boolean(types.int64, types.int64), code


@intrinsic
def bits_of(_context: Any, value: Any) -> Any:
    """The bit pattern of a float64."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], _WORD)

    return types.int64(types.float64), code


@intrinsic
def float_of(_context: Any, value: Any) -> Any:
    """The float64 of a bit pattern."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], ir.DoubleType())

    return types.float64(types.int64), code


@intrinsic
def float_of_unsigned(_context: Any, value: Any) -> Any:
    """The nearest float64 to `value` read as unsigned."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.uitofp(values[0], ir.DoubleType())

    return types.float64(types.int64), code


@intrinsic
def float32_of(_context: Any, value: Any) -> Any:
    """The float64 with the value of the float32 whose pattern is in the lower 32 bits."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        single = builder.bitcast(builder.trunc(values[0], ir.IntType(32)), ir.FloatType())
        return builder.fpext(single, ir.DoubleType())

    return types.float64(types.int64), code


@intrinsic
def swap_bytes(_context: Any, value: Any) -> Any:
    """The 8 bytes in reverse order."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.bswap(values[0])

    return types.int64(types.int64), code
