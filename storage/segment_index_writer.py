"""Owns building the index of a segment from its rows, and the zone map of the whole segment with it. Never writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

import pyarrow as pa

from core.batch import INGESTED_AT, OFFSET, TIMESTAMP, TIMESTAMP_INFERRED
from core.columns import BOOL, DECIMAL, INT, JSON, STR, TIME, key_of
from core.limits import INDEX_VALUES_ROWS_MIN
from storage.segment_index_format import ColumnIndex, IndexContents
from storage.snapshot import ColumnStats
from storage.string_zone_maps import string_zone_map
from storage.token_blooms import BloomBuilder, used_entries
from storage.value_lists import value_list
from storage.zone_maps import bounds, is_ordered, merged

_SYSTEM_KINDS: Final = {TIMESTAMP: TIME, TIMESTAMP_INFERRED: BOOL, INGESTED_AT: TIME, OFFSET: INT}
# Kinds that are stored as text, whose words may be searched. `_rest` is not among them: see the format page.
_TEXT_KINDS: Final = (STR, JSON, DECIMAL)


Part = TypeVar("Part")


def build_index(table: pa.Table, row_group_rows: int) -> IndexContents:
    """The index of a segment of the rows of `table`, each column in one chunk."""
    starts = range(0, table.num_rows, row_group_rows)
    rows = tuple(min(row_group_rows, table.num_rows - start) for start in starts)
    groups = ([column.chunk(0).slice(start, row_group_rows) for start in starts] for column in table.columns)
    return IndexContents(rows, _column_indexes(table.schema, groups, rows))


def index_of(schema: pa.Schema, arrays: Sequence[pa.Array], rows: int) -> IndexContents:
    """The index of one row group of `rows` rows; the array of a column has all of them, or those with a value.

    Every entry of a dictionary is in use.
    """
    return IndexContents((rows,), _column_indexes(schema, ([array] for array in arrays), (rows,)))


def column_stats(schema: pa.Schema, contents: IndexContents) -> tuple[ColumnStats, ...]:
    """What the manifest says of the attribute columns, from their row groups."""
    stats = []
    for field, column in zip(schema, contents.columns, strict=True):
        key = key_of(field)
        if key is not None:
            groups = zip(column.values, column.minima, column.maxima, strict=True) if column.minima else ()
            stats.append(ColumnStats(field.name, key, sum(column.values), *merged(groups)))
    return tuple(stats)


def _column_indexes(
    schema: pa.Schema, columns: Iterable[Sequence[pa.Array]], rows: Sequence[int]
) -> tuple[ColumnIndex, ...]:
    """The index of each column, which has an array for each row group."""
    blooms, worth = BloomBuilder(), [count >= INDEX_VALUES_ROWS_MIN for count in rows]
    indexes = []
    for field, groups in zip(schema, columns, strict=True):
        key = key_of(field)
        kind = key.kind if key else _SYSTEM_KINDS.get(field.name, "")
        indexes.append(_column_index(field.name, kind, groups, worth, blooms))
    return tuple(indexes)


def _column_index(
    name: str, kind: str, groups: Sequence[pa.Array], worth: Sequence[bool], blooms: BloomBuilder
) -> ColumnIndex:
    values = tuple(len(group) - group.null_count for group in groups)
    ordered, texts = is_ordered(kind), kind in _TEXT_KINDS
    if ordered or texts:
        groups = [_used(group, len(groups) == 1) for group in groups]
    found = [bounds(group, kind) for group in groups] if ordered else []
    lists = [value_list(group, kind) if many else None for group, many in zip(groups, worth, strict=True)]
    zones = [
        string_zone_map(group) if many and kind == STR and listed is None else None
        for group, many, listed in zip(groups, worth, lists, strict=True)
    ]
    return ColumnIndex(
        name,
        values,
        tuple(minimum for minimum, _ in found),
        tuple(maximum for _, maximum in found),
        tuple(blooms.bloom_of(group) for group in groups) if texts else (),
        _known(lists),
        _known(zones),
    )


def _known(parts: Sequence[Part | None]) -> tuple[Part | None, ...]:
    """The parts, or none at all when nothing is known of any row group."""
    return tuple(parts) if any(part is not None for part in parts) else ()


def _used(group: pa.Array, whole: bool) -> pa.Array:
    """Values that bound a row group and hold all its words: the ones in use of a dictionary-encoded one."""
    if not pa.types.is_dictionary(group.type):
        return group
    if whole:
        return group.dictionary  # every entry is in use (columns_merge.trim_dictionary)
    return group.dictionary.filter(pa.array(used_entries(group)))
