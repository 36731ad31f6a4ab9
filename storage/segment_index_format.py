"""Owns the bytes of a segment's index. Pure: never builds one from rows, never prunes.

The format is described in docs/formats/segment_index.md: a sealed header (storage/envelope.py), then the filters.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import google_crc32c
import numpy as np

from core.errors import Corrupt
from storage.column_chunks import ColumnChunks
from storage.envelope import seal, unseal
from storage.string_zone_maps import TRANSITIONS_MAX, decode_string_zone_map
from storage.token_blooms import BLOCK_BYTES
from storage.value_lists import VALUES_MAX, Listed
from storage.zone_maps import Bound

MAGIC: Final = b"MLMTINDX"
FORMAT_VERSION: Final = 1

# Keys of the header that releases before them pass over, and fields of ColumnIndex.
_LISTS: Final = "lists"
_STRING_ZONES: Final = "string_zones"
_CHUNKS: Final = "chunks"
_LISTED_TYPES: Final[tuple[set[type], ...]] = (set(), {int}, {str})
_STRING_ZONE_BYTES_MAX: Final = 2 * TRANSITIONS_MAX + 1

# Where the frame of storage/envelope.py says how long it is.
_FRAME_BYTES: Final = 24
_BODY_BYTES_AT: Final = 16


@dataclass(frozen=True, slots=True)
class ColumnIndex:
    """What is known of one column, by its name in the Parquet file. Every tuple has one entry per row group.

    `values` counts rows that are not null. `minima` and `maxima` follow storage/zone_maps.py; None where unknown or
    without values, empty tuples for a column that is not ordered. `blooms` are of storage/token_blooms.py, None where
    any token may be in; an empty tuple for a column without them. `lists` are of storage/value_lists.py, `string_zones`
    of storage/string_zone_maps.py, None where unknown; empty tuples for a column without them.
    """

    name: str
    values: tuple[int, ...]
    minima: tuple[Bound, ...] = ()
    maxima: tuple[Bound, ...] = ()
    blooms: tuple[bytes | None, ...] = ()
    lists: tuple[Listed | None, ...] = ()
    string_zones: tuple[bytes | None, ...] = ()


@dataclass(frozen=True, slots=True)
class IndexContents:
    """Everything an index says: the rows of each row group and the columns, in the order of the file.

    `chunks` None: nothing is said of its bytes.
    """

    rows: tuple[int, ...]
    columns: tuple[ColumnIndex, ...]
    chunks: ColumnChunks | None = None


def encode_index(contents: IndexContents) -> bytes:
    """The bytes of an index."""
    blooms = [bloom for column in contents.columns for bloom in column.blooms if bloom is not None]
    filters = b"".join(blooms)
    header: dict[str, Any] = {
        "rows": contents.rows,
        "columns": [_pack_column(column) for column in contents.columns],
        "filter_bytes": len(filters),
        "filter_crc32c": google_crc32c.value(filters),
    }
    for key in (_LISTS, _STRING_ZONES):
        parts = [(number, getattr(column, key)) for number, column in enumerate(contents.columns)]
        if any(known for _, known in parts):
            header[key] = [(number, known) for number, known in parts if known]
    if contents.chunks is not None:
        header[_CHUNKS] = _pack_chunks(contents.chunks)
    return seal(MAGIC, FORMAT_VERSION, header) + filters


def decode_index(data: bytes, what: str = "index") -> IndexContents:
    """The contents of encode_index; raises Corrupt on any damage and on newer formats. `what` names it."""
    filters_at = len(data)
    if len(data) >= _FRAME_BYTES:
        (body_bytes,) = struct.unpack_from("<I", data, _BODY_BYTES_AT)
        filters_at = min(filters_at, _FRAME_BYTES + body_bytes)
    _, header = unseal(MAGIC, FORMAT_VERSION, data[:filters_at], what)
    filters = data[filters_at:]
    try:
        if (header["filter_bytes"], header["filter_crc32c"]) != (len(filters), google_crc32c.value(filters)):
            raise Corrupt(f"{what} has filters that fail their checksum: restore it")
        rows = _counts(header["rows"])
        columns: list[ColumnIndex] = []
        taken = 0
        for packed in header["columns"]:
            column, taken = _unpack_column(packed, rows, filters, taken)
            columns.append(column)
        if taken != len(filters) or len({column.name for column in columns}) != len(columns):
            raise ValueError(f"{taken} of {len(filters)} bytes of filters in use by {len(columns)} columns")
        for number, lists in _unpack_parts(header, _LISTS, columns):
            columns[number] = replace(columns[number], lists=tuple(map(_list, lists)))
        for number, zones in _unpack_parts(header, _STRING_ZONES, columns):
            columns[number] = replace(columns[number], string_zones=tuple(map(_string_zone, zones)))
        chunks = _unpack_chunks(header[_CHUNKS], len(rows), len(columns)) if _CHUNKS in header else None
        return IndexContents(rows, tuple(columns), chunks)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise Corrupt(f"{what} has a header of an unexpected shape: {error!r}") from error


def _pack_column(column: ColumnIndex) -> tuple[Any, ...]:
    blocks = [None if bloom is None else len(bloom) // BLOCK_BYTES for bloom in column.blooms]
    return column.name, column.values, column.minima, column.maxima, blocks


def _unpack_column(packed: Any, rows: tuple[int, ...], filters: bytes, taken: int) -> tuple[ColumnIndex, int]:
    """(column, how many bytes of `filters` are in use after it)."""
    name, values, minima, maxima, blocks = packed
    counts = _counts(values)
    if not isinstance(name, str) or len(counts) != len(rows) or any(v > r for v, r in zip(counts, rows, strict=True)):
        raise ValueError(f"values {values} of column {name!r} in row groups of {rows} rows")
    if any(len(part) not in (0, len(rows)) for part in (minima, maxima, blocks)) or len(minima) != len(maxima):
        raise ValueError(f"column {name!r} has another number of row groups than {len(rows)}")
    if not all(bound is None or isinstance(bound, bool | int | float | str) for bound in (*minima, *maxima)):
        raise ValueError(f"column {name!r} has bounds of no known type")
    blooms: list[bytes | None] = []
    for count in blocks:
        if count is None:
            blooms.append(None)
            continue
        end = taken + _counts([count])[0] * BLOCK_BYTES
        if end > len(filters):
            raise ValueError(f"filters of column {name!r} end at {end} of {len(filters)} bytes")
        blooms.append(filters[taken:end])
        taken = end
    return ColumnIndex(name, counts, tuple(minima), tuple(maxima), tuple(blooms)), taken


def _unpack_parts(header: dict[str, Any], key: str, columns: Sequence[ColumnIndex]) -> list[tuple[int, list[Any]]]:
    """(number of the column, its part for each row group) for columns that have any."""
    found = [(number, parts) for number, parts in header.get(key, ())]
    numbers = [number for number, _ in found]
    if _counts(numbers) != tuple(sorted(set(numbers))) or any(number >= len(columns) for number in numbers):
        raise ValueError(f"{key} of columns {numbers}, there are {len(columns)}")
    if any(not isinstance(parts, list) or len(parts) != len(columns[number].values) for number, parts in found):
        raise ValueError(f"{key} of another number of row groups than the columns have")
    return found


def _pack_chunks(chunks: ColumnChunks) -> tuple[bytes, bytes, int]:
    return chunks.bytes.astype("<u4").tobytes(), chunks.crc32c.astype("<u4").tobytes(), chunks.tail_crc32c


def _unpack_chunks(packed: Any, groups: int, columns: int) -> ColumnChunks:
    sizes, sums, tail_crc32c = packed
    parts = [np.frombuffer(part, "<u4").reshape(groups, columns) for part in (sizes, sums)]
    return ColumnChunks(parts[0].astype(np.int64), parts[1].astype(np.uint32), _counts([tail_crc32c])[0])


def _list(values: Any) -> Listed | None:
    if values is None:
        return None
    types = {type(value) for value in values} if isinstance(values, list) else None
    if types not in _LISTED_TYPES or len(values) > VALUES_MAX:
        raise ValueError(f"{str(values)[:100]} is no list of values")
    return tuple(values)


def _string_zone(encoded: Any) -> bytes | None:
    if encoded is None:
        return None
    if not isinstance(encoded, bytes) or len(encoded) > _STRING_ZONE_BYTES_MAX:
        raise ValueError("a string zone map is not one")
    decode_string_zone_map(encoded)
    return encoded


def _counts(numbers: Sequence[Any]) -> tuple[int, ...]:
    if not isinstance(numbers, list) or any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError(f"{numbers!r} are not counts")
    return tuple(numbers)
