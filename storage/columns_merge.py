"""Owns how batches of differing schemas become one table with one column per (path, kind). Never writes.

Columns without a value vanish; paths beyond `max_paths` go to `_rest`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.batch import INGESTED_AT, OFFSET, REST, SYSTEM_COLUMNS, SYSTEM_FIELDS, TIMESTAMP, TIMESTAMP_INFERRED
from core.columns import ColumnKey, allocate_names, arrow_type, field_of, key_of
from core.errors import check
from core.limits import MIB
from storage.rest import add_members, rest_array
from storage.sorting import sort_columns, sort_order

# A dictionary column is written out as plain text only when that stays small: hostile values may be megabytes each.
DECODED_BYTES_MAX: Final = 256 * MIB

Layout = dict[ColumnKey, int]  # column → its index in the batch


def merge_batches(
    batches: Sequence[pa.RecordBatch], max_paths: int, kept_paths: Iterable[str] = (), order_by: Sequence[str] = ()
) -> pa.Table:
    """One table of all rows of `batches` (memtable form), each column in one chunk.

    At most `max_paths` attribute columns remain, the most frequent paths with all their kinds; `kept_paths` always
    remain. `_rest` is present only where a row has it. Column order: system columns, then by (path, kind). Rows stand
    in the order of the batches, or are sorted by the paths `order_by` (see sorting.py).
    """
    sources = _sources(batches, max_paths, frozenset(kept_paths))
    fields = [field for field, _ in sources]
    # Only what sorts is merged first; every other column is then merged, ordered and let go of one by one, so that the
    # unsorted copy of the whole table never exists.
    early = set(sort_columns(pa.schema(fields), order_by))
    merged = {field.name: make() for field, make in sources if field.name in early}
    order = None
    if merged:
        firsts = [field.with_type(merged[field.name].type) for field in fields if field.name in merged]
        table = pa.Table.from_arrays([merged[field.name] for field in firsts], schema=pa.schema(firsts))
        order = sort_order(table, order_by)
    rows = None if order is None else pa.array(order)
    columns = []
    for field, make in sources:
        column = merged.pop(field.name) if field.name in merged else make()
        columns.append(column if rows is None else column.take(rows))
    typed = [field.with_type(column.type) for field, column in zip(fields, columns, strict=True)]
    return pa.Table.from_arrays(columns, schema=pa.schema(typed))


def _sources(
    batches: Sequence[pa.RecordBatch], max_paths: int, kept_paths: frozenset[str]
) -> list[tuple[pa.Field, Callable[[], pa.Array]]]:
    """The columns of the merged table: what each means, and how to make it (text may turn out a dictionary)."""
    layouts = [_layout(batch.schema) for batch in batches]
    counts: dict[ColumnKey, int] = defaultdict(int)
    for batch, layout in zip(batches, layouts, strict=True):
        for key, index in layout.items():
            counts[key] += batch.num_rows - batch.column(index).null_count
    counts = {key: values for key, values in counts.items() if values}
    kept = most_frequent(counts, max_paths, kept_paths)
    names = allocate_names(kept.items(), SYSTEM_COLUMNS)
    sources: list[tuple[pa.Field, Callable[[], pa.Array]]] = []
    for name in (TIMESTAMP, TIMESTAMP_INFERRED, INGESTED_AT, OFFSET):
        sources.append((SYSTEM_FIELDS[name], partial(_system_column, batches, SYSTEM_FIELDS[name])))
    overflow = sorted(key for key in counts if key not in kept)
    rest = pa.chunked_array([_rest(*pair, overflow) for pair in zip(batches, layouts, strict=True)], pa.string())
    if rest.null_count < len(rest):
        sources.append((SYSTEM_FIELDS[REST], partial(_one_chunk, rest)))
    for key in sorted(kept):
        sources.append((field_of(names[key], key), partial(_attribute_column, batches, layouts, key)))
    return sources


def _layout(schema: pa.Schema) -> Layout:
    keys = ((key_of(field), index) for index, field in enumerate(schema))
    return {key: index for key, index in keys if key is not None}


def most_frequent(counts: dict[ColumnKey, int], max_paths: int, always: frozenset[str]) -> dict[ColumnKey, int]:
    """The columns of `counts` (column → its values) that stay columns: the most frequent paths, and `always`."""
    if len(counts) <= max_paths:
        return counts
    by_path: dict[str, list[ColumnKey]] = defaultdict(list)
    for key in counts:
        by_path[key.path].append(key)

    def rank(path: str) -> tuple[bool, int, str]:
        return (path not in always, -sum(counts[key] for key in by_path[path]), path)

    kept: dict[ColumnKey, int] = {}
    for path in sorted(by_path, key=rank):
        if path not in always and len(kept) + len(by_path[path]) > max_paths:
            break
        kept.update((key, counts[key]) for key in by_path[path])
    return kept


def _system_column(batches: Sequence[pa.RecordBatch], field: pa.Field) -> pa.Array:
    chunks = []
    for batch in batches:
        index = batch.schema.get_field_index(field.name)
        check(index >= 0, "SEG-1", "a batch without the system column %r reached a segment", field.name)
        chunks.append(batch.column(index))
    return _one_chunk(pa.chunked_array(chunks, field.type))


def _rest(batch: pa.RecordBatch, layout: Layout, overflow: Sequence[ColumnKey]) -> pa.Array:
    fragments: dict[int, list[str]] = {}
    for key in overflow:
        if key in layout:
            add_members(fragments, key.path, key.kind, batch.column(layout[key]))
    index = batch.schema.get_field_index(REST)
    existing = batch.column(index) if index >= 0 else None
    return rest_array(existing, fragments, batch.num_rows)


def _attribute_column(batches: Sequence[pa.RecordBatch], layouts: Sequence[Layout], key: ColumnKey) -> pa.Array:
    chunks: list[pa.Array | int] = []  # an int stands for so many nulls
    for batch, layout in zip(batches, layouts, strict=True):
        if key in layout:
            chunks.append(batch.column(layout[key]))
        elif chunks and isinstance(chunks[-1], int):
            chunks[-1] += batch.num_rows
        else:
            chunks.append(batch.num_rows)
    present = [chunk for chunk in chunks if not isinstance(chunk, int)]
    type_ = _common_type(present, key.kind)
    arrays = [pa.nulls(chunk, type_) if isinstance(chunk, int) else convert(chunk, type_) for chunk in chunks]
    column = _one_chunk(pa.chunked_array(arrays, type_))
    return trim_dictionary(column) if pa.types.is_dictionary(type_) else column


def _common_type(present: Sequence[pa.Array], kind: str) -> pa.DataType:
    """dictionary<int32, string> when most values are stored so, or when plain text would be too large."""
    plain_type = arrow_type(kind)
    dictionaries = [chunk for chunk in present if pa.types.is_dictionary(chunk.type)]
    if not dictionaries:
        return plain_type
    encoded = sum(len(chunk) for chunk in dictionaries)
    if 2 * encoded >= sum(len(chunk) for chunk in present):
        return pa.dictionary(pa.int32(), plain_type)
    decoded = sum(decoded_bytes(chunk) for chunk in dictionaries)
    return plain_type if decoded <= DECODED_BYTES_MAX else pa.dictionary(pa.int32(), plain_type)


def decoded_bytes(array: pa.DictionaryArray) -> int:
    """What the texts of `array` would take as plain ones."""
    lengths = pc.binary_length(array.dictionary)
    return int(pc.sum(lengths.take(array.indices).cast(pa.int64())).as_py() or 0)


def convert(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """A text array as plain texts or as a dictionary of them."""
    if pa.types.is_dictionary(array.type) and array.dictionary.null_count:
        # A null may hide in a dictionary; from here on nulls are in the codes only.
        array = array.dictionary_decode()
    if array.type == type_:
        return array
    if pa.types.is_dictionary(type_) and not pa.types.is_dictionary(array.type):
        return array.dictionary_encode()
    return array.cast(type_)


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def trim_dictionary(array: pa.DictionaryArray) -> pa.Array:
    """`array` with a dictionary of only the values in use: Parquet writes the dictionary into every row group."""
    size = len(array.dictionary)
    codes = array.indices
    present = np.asarray(codes.drop_null() if codes.null_count else codes)
    used = np.zeros(size, np.bool_)
    used[present] = True
    if used.all():
        return array
    renumber = pa.array(np.cumsum(used, dtype=np.int32) - 1, pa.int32())
    kept = array.dictionary.filter(pa.array(used))
    return pa.DictionaryArray.from_arrays(renumber.take(codes), kept, safe=False)
