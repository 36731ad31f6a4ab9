"""Owns the translation of Arrow types to the kinds of core.columns, and of Arrow arrays to plain values.

Never copies an array that already has its kind's type; never loops over rows except in plain_values.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.columns import BIN, BOOL, DECIMAL, FLOAT, INT, JSON, STR, TIME, TIMESTAMP_TYPE, UINT, arrow_type
from core.errors import InvalidRequest
from ingest.values import INT64_MAX, Instant, Json, Number

types: Final = pa.types
DICTIONARY_TYPE: Final = pa.dictionary(pa.int32(), pa.string())

_LIST_VALUE_KINDS: Final = (BOOL, INT, FLOAT, STR)
_MARKERS: Final[dict[str, Callable[[Any], Any]]] = {TIME: Instant, DECIMAL: Number, JSON: Json}


def scalar_kind(type_: pa.DataType) -> str | None:
    """The kind that stores values of a scalar Arrow type (uint64: UINT, whatever its values), None for other types."""
    if types.is_boolean(type_):
        return BOOL
    if types.is_integer(type_):
        return UINT if types.is_uint64(type_) else INT
    if types.is_duration(type_):
        return INT
    if types.is_floating(type_):
        return FLOAT
    if is_text(type_) or types.is_time(type_):
        return STR
    if types.is_timestamp(type_) or types.is_date(type_):
        return TIME
    if types.is_decimal(type_):
        return DECIMAL
    if types.is_binary(type_) or types.is_large_binary(type_) or types.is_fixed_size_binary(type_):
        return BIN
    return BIN if types.is_binary_view(type_) else None


def is_text(type_: pa.DataType) -> bool:
    """Whether `type_` is one of Arrow's string types."""
    return bool(types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_))


def is_list(type_: pa.DataType) -> bool:
    """Whether `type_` is one of Arrow's list types; list views are none after unwrapped()."""
    return bool(types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_))


def unwrapped(array: pa.Array) -> pa.Array:
    """`array` without extension type, run ends, list view and dictionary; one of strings without null in it stays."""
    type_ = array.type
    if isinstance(type_, pa.BaseExtensionType):
        return unwrapped(array.storage)
    if types.is_run_end_encoded(type_):
        return unwrapped(pc.run_end_decode(array))
    if types.is_list_view(type_) or types.is_large_list_view(type_):
        return _list_of_view(array)
    if types.is_dictionary(type_) and not (is_text(type_.value_type) and array.dictionary.null_count == 0):
        return unwrapped(array.dictionary_decode())
    return array


def columns_of_leaf(array: pa.Array) -> list[tuple[str, pa.Array]] | None:
    """An unwrapped array as (kind, array) columns, or None when it needs plain_values.

    One column, none when all is null, two when unsigned values do not all fit int64. ArrowInvalid when a time does
    not fit int64 microseconds.
    """
    type_ = array.type
    if array.null_count == len(array):
        return []
    if types.is_dictionary(type_):
        return [(STR, _string_dictionary(array))]
    kind = scalar_kind(type_)
    if kind == UINT:
        return _split_unsigned(array)
    if kind is not None:
        return [(kind, _convert(array, kind))]
    return _scalar_lists(array) if is_list(type_) else None


def kind_values(array: pa.Array, kind: str) -> list[Any]:
    """The values of a column of `kind` as plain values."""
    values: list[Any] = (array.cast(pa.int64()) if kind == TIME else array).to_pylist()
    marker = _MARKERS.get(kind)
    return values if marker is None else [None if value is None else marker(value) for value in values]


def plain_values(array: pa.Array) -> list[Any]:
    """The elements of any Arrow array as plain values, row by row; maps with text keys become dicts."""
    array = unwrapped(array)
    type_ = array.type
    if types.is_struct(type_):
        names = field_names(type_)
        children = [plain_values(child) for child in array.flatten()]
        rows = zip(*children, strict=True) if children else iter([()] * len(array))
        return _where_valid(array, [dict(zip(names, row, strict=True)) for row in rows])
    if types.is_map(type_):
        keys, items = plain_values(array.keys), plain_values(array.items)
        return _where_valid(array, [_map_value(keys[start:end], items[start:end]) for start, end in _bounds(array)])
    if is_list(type_):
        array = array.cast(pa.list_(type_.value_type))
        values = plain_values(array.values)
        return _where_valid(array, [values[start:end] for start, end in _bounds(array)])
    if types.is_union(type_):
        return _union_values(array)
    columns = columns_of_leaf(array)
    if columns is None:
        raise InvalidRequest(f"the type {type_} cannot be stored: cast it to text or numbers")
    merged: list[Any] = [None] * len(array)
    for kind, column in columns:
        merged = [old if new is None else new for old, new in zip(merged, kind_values(column, kind), strict=True)]
    return merged


def field_names(type_: pa.DataType) -> list[str]:
    """The names of a struct's fields; InvalidRequest when one repeats."""
    names = [type_.field(index).name for index in range(type_.num_fields)]
    if len(set(names)) < len(names):
        raise InvalidRequest(f"a struct has the field {_repeated(names)!r} twice: rename one")
    return names


def _repeated(names: list[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def _convert(array: pa.Array, kind: str) -> pa.Array:
    type_ = array.type
    if types.is_timestamp(type_) and type_.unit == "ns":
        return _floor_divided(array.cast(pa.int64()), 1000).cast(TIMESTAMP_TYPE)
    if types.is_duration(type_):
        if type_.unit == "ns":
            return _floor_divided(array.cast(pa.int64()), 1000)
        return array.cast(pa.duration("us")).cast(pa.int64())
    if types.is_date32(type_):
        days = array.cast(pa.int32()).cast(pa.int64())
        return pc.multiply_checked(days, 86_400_000_000).cast(TIMESTAMP_TYPE)
    return array.cast(arrow_type(kind))


def _floor_divided(values: pa.Array, divisor: int) -> pa.Array:
    """values // divisor; Arrow's own division cuts towards zero, which would move times before 1970 forward."""
    quotient = pc.divide(values, divisor)
    low = pc.min(values).as_py()
    if low is None or low >= 0:
        return quotient
    remainder = pc.subtract(values, pc.multiply(quotient, divisor))
    return pc.subtract(quotient, pc.less(remainder, 0).cast(pa.int64()))


def _string_dictionary(array: pa.Array) -> pa.Array:
    if array.type == DICTIONARY_TYPE:
        return array
    indices, values = array.indices.cast(pa.int32()), array.dictionary.cast(pa.string())
    return pa.DictionaryArray.from_arrays(indices, values)


def _split_unsigned(array: pa.Array) -> list[tuple[str, pa.Array]]:
    bounds = pc.min_max(array).as_py()
    if bounds["max"] <= INT64_MAX:
        return [(INT, array.cast(pa.int64()))]
    if bounds["min"] > INT64_MAX:
        return [(UINT, array)]
    fits = pc.less_equal(array, pa.scalar(INT64_MAX, pa.uint64()))
    none = pa.scalar(None, pa.uint64())
    return [(INT, pc.if_else(fits, array, none).cast(pa.int64())), (UINT, pc.if_else(fits, none, array))]


def _list_of_view(array: pa.Array) -> pa.Array:
    """A list view as a list, by way of lengths: pyarrow 26 casts views with offsets out of order to wrong lists."""
    lengths = pc.list_value_length(array).cast(pa.int32())
    offsets = np.zeros(len(array) + 1, np.int32)
    np.cumsum(lengths.fill_null(0).to_numpy(), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), pc.list_flatten(array), mask=array.is_null())


def _scalar_lists(array: pa.Array) -> list[tuple[str, pa.Array]] | None:
    value_type = array.type.value_type
    if types.is_dictionary(value_type):
        value_type = value_type.value_type
    kind = scalar_kind(value_type)
    # Times and durations in lists have no list kind; unsigned 64-bit ones need a look at each list.
    if kind not in _LIST_VALUE_KINDS or not (kind != INT or types.is_integer(value_type)) or types.is_time(value_type):
        return None
    return [(f"{kind}[]", array.cast(arrow_type(f"{kind}[]")))]


def _bounds(array: pa.Array) -> Any:
    return itertools.pairwise(array.offsets.to_pylist())


def _where_valid(array: pa.Array, values: list[Any]) -> list[Any]:
    if array.null_count == 0:
        return values
    valid = array.is_valid().to_pylist()
    return [value if good else None for value, good in zip(values, valid, strict=True)]


def _map_value(keys: list[Any], items: list[Any]) -> Any:
    if all(type(key) is str for key in keys):
        return dict(zip(keys, items, strict=True))
    return [[key, item] for key, item in zip(keys, items, strict=True)]


def _union_values(array: pa.Array) -> list[Any]:
    type_ = array.type
    child_of = {code: index for index, code in enumerate(type_.type_codes)}
    children = [plain_values(array.field(index)) for index in range(type_.num_fields)]
    codes = array.type_codes.to_pylist()
    places = array.offsets.to_pylist() if type_.mode == "dense" else range(len(codes))
    return [children[child_of[code]][place] for code, place in zip(codes, places, strict=True)]
