"""Owns whether what is said of one column of one row group is true: counts, bounds, filters. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.batch import INGESTED_AT, OFFSET, TIMESTAMP, TIMESTAMP_INFERRED
from core.columns import BOOL, FLOAT, INT, TIME, key_of
from storage.compiled.constants import SALTS
from storage.segment_index_format import ColumnIndex
from storage.snapshot import ColumnStats
from storage.string_zone_maps import decode_string_zone_map
from storage.token_blooms import BLOCK_BYTES, BloomBuilder, may_hold
from storage.tokens import tokens
from storage.zone_maps import Bound, is_ordered

_SYSTEM_KINDS: Final = {TIMESTAMP: TIME, TIMESTAMP_INFERRED: BOOL, INGESTED_AT: TIME, OFFSET: INT}
# Texts whose words are found in plain Python as well, so that the compiled scan is not believed alone.
_REFERENCE_TEXTS: Final = 32


@dataclass(frozen=True, slots=True)
class GroupColumn:
    """The values of a column in a row group, and what index and manifest say of it."""

    field: pa.Field
    array: pa.Array
    group: int
    indexed: ColumnIndex | None
    stated: ColumnStats | None


def column_faults(column: GroupColumn, deep: bool) -> Iterator[tuple[bool, str]]:
    """(whether the index is at fault, what is not true) of everything that is said of the column."""
    name, array, group = column.field.name, column.array, column.group
    key = key_of(column.field)
    kind = key.kind if key else _SYSTEM_KINDS.get(name, "")
    values = len(array) - array.null_count
    distinct = _distinct(array)
    indexed = column.indexed
    if indexed is not None:
        if indexed.values[group] != values:
            said = indexed.values[group]
            yield True, f"column {name!r} has {values} values in row group {group}, the index says {said}"
        if indexed.minima and is_ordered(kind):
            fault = _excludes(distinct, kind, indexed.minima[group], indexed.maxima[group])
            if fault:
                yield True, f"column {name!r} has {fault} in row group {group} outside of the bounds of the index"
        bloom = indexed.blooms[group] if indexed.blooms else None
        if deep and bloom is not None and pa.types.is_string(distinct.type):
            lost = tokens_missing(distinct, bloom)
            if lost:
                yield True, f"{lost} words of column {name!r} are not in the filter of row group {group}"
        yield from ((True, fault) for fault in _unlisted(column, indexed, distinct, deep))
    if column.stated is not None and is_ordered(kind):
        if values and column.stated.values == 0:
            yield False, f"column {name!r} has values, the manifest says none"
        fault = _excludes(distinct, kind, column.stated.minimum, column.stated.maximum)
        if fault:
            yield False, f"column {name!r} has {fault} in row group {group} outside of the bounds of the manifest"


def _unlisted(column: GroupColumn, indexed: ColumnIndex, distinct: pa.Array, deep: bool) -> Iterator[str]:
    """What value list and string zone map deny although it is there."""
    name, group = column.field.name, column.group
    listed = indexed.lists[group] if indexed.lists else None
    if listed is not None:
        lost = set(pc.unique(distinct).to_pylist()).difference(listed)
        if lost:
            yield f"{len(lost)} values of column {name!r} are not in the list of row group {group}"
    strings = indexed.string_zones[group] if indexed.string_zones else None
    if deep and strings is not None:
        root = decode_string_zone_map(strings)
        denied = sum(not root.accepts(text) for text in distinct.to_pylist())
        if denied:
            yield f"{denied} texts of column {name!r} are not in the string zone map of row group {group}"


def _distinct(array: pa.Array) -> pa.Array:
    """The values without nulls, once each where that is cheap."""
    if pa.types.is_dictionary(array.type):
        return pc.drop_null(pc.unique(array).dictionary_decode())
    return array.drop_null()


def _excludes(values: pa.Array, kind: str, minimum: Bound, maximum: Bound) -> str | None:
    """What values the bounds leave out although they are there, for people; None: nothing."""
    if (minimum is None and maximum is None) or len(values) == 0:
        return None
    if kind == FLOAT and pc.any(pc.is_nan(values)).as_py():
        return "NaN"
    found = pc.min_max(values.cast(pa.int64()) if kind == TIME else values)
    smallest, largest = found["min"].as_py(), found["max"].as_py()
    try:
        if minimum is not None and smallest < minimum:
            return "a smaller value"
        if maximum is not None and largest > maximum:
            return "a larger value"
    except TypeError:
        return "values of another type"
    return None


def tokens_missing(texts: pa.Array, bloom: bytes) -> int:
    """How many of the distinct tokens of `texts` a filter does not hold."""
    hashes = _builder().hashes_of(texts)
    if hashes is None:
        return 1  # so many tokens have no filter
    blocks = np.frombuffer(bloom, "<u4").reshape(-1, BLOCK_BYTES // 4)
    if len(blocks) == 0:
        return len(hashes)
    upper, lower = hashes >> np.uint64(32), hashes & np.uint64(0xFFFF_FFFF)
    block = (upper * np.uint64(len(blocks))) >> np.uint64(32)
    there = np.ones(len(hashes), np.bool_)
    for word, salt in enumerate(SALTS):
        bit = ((lower * np.uint64(salt)) & np.uint64(0xFFFF_FFFF)) >> np.uint64(27)
        there &= (blocks[block, word] >> bit.astype(np.uint32)) & np.uint32(1) == 1
    sample = {token for text in texts.slice(0, _REFERENCE_TEXTS).to_pylist() for token in tokens(text)}
    return max(int((~there).sum()), sum(not may_hold(bloom, token) for token in sample))


@functools.cache
def _builder() -> BloomBuilder:
    """One for the process: its tables take 12 MB."""
    return BloomBuilder()
