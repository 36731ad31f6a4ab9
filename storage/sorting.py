"""Owns the sort order of a segment. Never moves a row.

Every sort column becomes unsigned integers of the same order (ranks for text), and the order is built by a stable
radix sort from the last column to the first, 16 bits at a time: numpy sorts uint16 with a radix sort, and a column
whose values already stand in order, as arrival order mostly does for timestamps, costs one comparison.
Measured on 1 M rows by (service, timestamp), CPU time of one core: 27 ms when timestamps are in order, 85 ms when
they are not; Arrow's sort_indices over text and timestamps takes 290 to 360 ms in the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.batch import TIMESTAMP
from core.columns import key_of

_DIGIT_BITS: Final = 16
_SIGN: Final = np.uint64(1 << 63)


def sort_columns(schema: pa.Schema, sort_key: Sequence[str]) -> list[str]:
    """The columns of `schema` that stand for the paths of `sort_key`, first is the most significant.

    A path that is absent is left out; of a path with several kinds the bare name, its most common kind, sorts; lists
    cannot sort.
    """
    names: list[str] = []
    for path in sort_key:
        name = TIMESTAMP if path == TIMESTAMP else _column_of(schema, path)
        if name is not None and name not in names:
            names.append(name)
    return names


def _column_of(schema: pa.Schema, path: str) -> str | None:
    candidates = []
    for field in schema:
        key = key_of(field)
        if key is not None and key.path == path and not pa.types.is_list(field.type):
            candidates.append(field.name)
    # The most common kind has the shortest name: the path itself, or `path::kind` where that was taken.
    return min(candidates, key=lambda name: (name != path, len(name), name)) if candidates else None


def sort_order(table: pa.Table, sort_key: Sequence[str]) -> Any | None:
    """Row numbers (numpy int64) that put `table` in the order of `sort_key`, nulls last, equal rows as they stand.

    None when the rows are in that order already.
    """
    order: Any | None = None
    for name in reversed(sort_columns(table.schema, sort_key)):
        order = _sort_by(sort_ranks(table.column(name)), order)
    if order is not None and bool((order[1:] > order[:-1]).all()):
        return None
    return order


def _sort_by(ranks: Any, order: Any | None) -> Any | None:
    """The stable refinement of `order` (None: as the rows stand) by `ranks`, smallest first."""
    current = ranks if order is None else ranks[order]
    if len(current) < 2 or bool((current[1:] >= current[:-1]).all()):
        return order
    bits = int(ranks.max()).bit_length()
    for shift in range(0, bits, _DIGIT_BITS):
        digits = (ranks >> ranks.dtype.type(shift)).astype(np.uint16)
        ordered = digits if order is None else digits[order]
        finer = np.argsort(ordered, kind="stable")
        order = finer if order is None else order[finer]
    return order


def sort_ranks(column: pa.ChunkedArray) -> Any:
    """Unsigned integers in the order of the values, from 0; nulls take the largest."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], column.type)
    if pa.types.is_string(array.type) or pa.types.is_binary(array.type):
        array = array.dictionary_encode()
    if pa.types.is_dictionary(array.type):
        return _dictionary_ranks(array)
    return _from_zero(_ordered_integers(array), array)


def _dictionary_ranks(array: pa.DictionaryArray) -> Any:
    values = array.dictionary
    if len(values) == 0:
        return np.zeros(len(array), np.uint16)
    # Equal entries share a rank, from 1; nulls, in the dictionary or in the codes, come last.
    rank_of = pc.rank(values, sort_keys="ascending", tiebreaker="dense")
    last = len(values) + 1
    width = np.uint16 if last < 1 << 16 else np.uint32
    table = np.asarray(rank_of).astype(width)
    if values.null_count:
        table[np.asarray(pc.is_null(values))] = last
    codes = array.indices
    if not array.indices.null_count:
        return table[np.asarray(codes)]
    return np.append(table, width(last))[np.asarray(pc.fill_null(codes, len(values)))]


def _ordered_integers(array: pa.Array) -> Any:
    """uint64 in the order of the values of a bool, integer, float or time array; garbage where null."""
    if pa.types.is_boolean(array.type):
        return np.asarray(pc.fill_null(array, False).cast(pa.uint8())).astype(np.uint64)
    if pa.types.is_uint64(array.type):
        return np.asarray(pc.fill_null(array, 0))
    if pa.types.is_floating(array.type):
        numbers = np.asarray(pc.fill_null(array, 0.0)) + 0.0  # -0.0 and 0.0 are equal
        bits = numbers.view(np.uint64)
        # IEEE 754: positive numbers order as integers, negative ones the other way round; NaN is the largest.
        ordered = np.where(bits >= _SIGN, ~bits, bits | _SIGN)
        return np.where(np.isnan(numbers), np.uint64(2**64 - 1), ordered)
    signed = np.asarray(pc.fill_null(array.cast(pa.int64()), 0))
    return signed.view(np.uint64) ^ _SIGN


def _from_zero(values: Any, array: pa.Array) -> Any:
    """Subtract the smallest value, so that few digits are left, and put nulls last."""
    if not array.null_count:
        return values - values.min() if len(values) else values
    valid = np.asarray(array.is_valid())
    if not valid.any():
        return np.zeros(len(values), np.uint64)
    ranks = values - values[valid].min()
    last = int(ranks[valid].max())
    if last < 2**64 - 1:
        ranks[~valid] = last + 1
        return ranks
    # The values span all of uint64: dense ranks make room for null.
    distinct, dense = np.unique(values[valid], return_inverse=True)
    ranks = np.full(len(values), len(distinct), np.uint64)
    ranks[valid] = dense
    return ranks
