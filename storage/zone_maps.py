"""Owns the zone map of a segment: count and bounds of each column's values. Never prunes.

Bounds may be loose but never exclude a value: text is cut to 64 characters, the maximum rounded up.
"""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from core.columns import BOOL, FLOAT, INT, STR, TIME, UINT, key_of
from storage.snapshot import ColumnStats

TEXT_BOUND_CHARACTERS: Final = 64

# DECIMAL and JSON are text whose order is not that of their values; lists and bytes are not ordered for queries.
_ORDERED_KINDS: Final = (BOOL, INT, UINT, FLOAT, STR, TIME)

_CHARACTER_MAX: Final = "\U0010ffff"


def zone_map(table: pa.Table) -> tuple[ColumnStats, ...]:
    """Statistics of the attribute columns of `table`, in its order."""
    stats = []
    for field, column in zip(table.schema, table.columns, strict=True):
        key = key_of(field)
        if key is not None:
            minimum, maximum = bounds(column, key.kind) if key.kind in _ORDERED_KINDS else (None, None)
            stats.append(ColumnStats(field.name, key, len(column) - column.null_count, minimum, maximum))
    return tuple(stats)


def bounds(column: pa.ChunkedArray, kind: str) -> tuple[Any, Any]:
    """(minimum, maximum) of the values of an ordered kind; TIME as integer microseconds; None where unknown."""
    if pa.types.is_dictionary(column.type):
        # Every entry is in use (columns_merge.trim_dictionary).
        values: Any = pa.chunked_array([chunk.dictionary for chunk in column.chunks], column.type.value_type)
    else:
        values = column.cast(pa.int64()) if kind == TIME else column
    found = pc.min_max(values)
    minimum, maximum = found["min"].as_py(), found["max"].as_py()
    if kind == FLOAT and pc.any(pc.is_nan(column)).as_py():
        return None, None  # NaN is beyond every bound
    if kind == STR and minimum is not None:
        return minimum[:TEXT_BOUND_CHARACTERS], text_upper_bound(maximum)
    return minimum, maximum


def text_upper_bound(text: str) -> str | None:
    """The text itself when short, else a text of at most 64 characters that is greater; None when there is none."""
    if len(text) <= TEXT_BOUND_CHARACTERS:
        return text
    cut = text[:TEXT_BOUND_CHARACTERS].rstrip(_CHARACTER_MAX)
    if not cut:
        return None
    following = ord(cut[-1]) + 1
    # Surrogates are not characters.
    return cut[:-1] + chr(0xE000 if following == 0xD800 else following)
