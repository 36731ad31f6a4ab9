"""Owns what the id of an event is, and its 128-bit hash: ingest chooses the shard by it, the shard knows it again.

The id is the value at one path, a text, a number or bytes. Numbers are equal by value (1 is 1.0), a text never equals a
number ("1" is not 1), bytes never equal either. Anything else at the path (a boolean, a time, a list, NaN), null and
absence are no id. docs/dedup.md says so to users.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.batch import REST
from core.columns import BIN, DECIMAL, FLOAT, INT, STR, UINT, key_of

# One seed for what may equal each other.
_TEXT: Final = 0
_INTEGER: Final = 1
_FRACTION: Final = 2
_LARGE: Final = 3  # from 2^63 on, where the bits are those of a negative integer
_DECIMAL: Final = 4
_BYTES: Final = 5

_SIGN: Final = np.uint64(1 << 63)


@dataclass(frozen=True, slots=True)
class EventIds:
    """The ids of a batch, one element per row: `high` and `low` (uint64) are the hash where `present` (bool)."""

    high: Any
    low: Any
    present: Any


def event_ids(batch: pa.RecordBatch, path: str) -> EventIds:
    """The ids of the events of `batch` (core.batch) at `path`, wherever in the batch its values are."""
    rows = batch.num_rows
    ids = EventIds(np.zeros(rows, np.uint64), np.zeros(rows, np.uint64), np.zeros(rows, np.bool_))
    for field, column in zip(batch.schema, batch.columns, strict=True):
        key = key_of(field)
        if key is not None and key.path == path:
            _add_column(ids, key.kind, column)
    rest = batch.schema.get_field_index(REST)
    if rest >= 0 and not ids.present.all():
        _add_rest(ids, path, batch.column(rest))
    return ids


def shards_of(low: Any, shards: Sequence[int]) -> Any:
    """The shard (int64) of each id, of which `low` is the lower half, in a placement of these shards."""
    return np.asarray(shards, np.int64)[(low % np.uint64(len(shards))).astype(np.int64)]


def _add_column(ids: EventIds, kind: str, column: pa.Array) -> None:
    valid = np.asarray(column.is_valid())
    if kind in (STR, DECIMAL, BIN):
        seed = {STR: _TEXT, DECIMAL: _DECIMAL, BIN: _BYTES}[kind]
        if isinstance(column, pa.DictionaryArray):
            high, low = _of_texts(column.dictionary, seed)
            places = np.asarray(column.indices.fill_null(0))
            if len(high):
                _put(ids, valid, high[places], low[places])
        else:
            _put(ids, valid, *_of_texts(column, seed))
    elif kind in (INT, UINT):
        words = np.asarray(column.fill_null(0)).view(np.uint64)
        large = (words >= _SIGN) if kind == UINT else np.zeros(len(words), np.bool_)
        _put(ids, valid & ~large, *_of_words(words, _INTEGER))
        if large.any():
            _put(ids, valid & large, *_of_words(words, _LARGE))
    elif kind == FLOAT:
        _add_floats(ids, valid, np.asarray(column.fill_null(math.nan)))


def _add_floats(ids: EventIds, valid: Any, values: Any) -> None:
    whole = np.isfinite(values) & (np.floor(values) == values)
    integer = whole & (values >= -(2.0**63)) & (values < 2.0**63)
    large = whole & (values >= 2.0**63) & (values < 2.0**64)
    numbers = np.where(integer, values, 0.0).astype(np.int64).view(np.uint64)
    _put(ids, valid & integer, *_of_words(numbers, _INTEGER))
    _put(ids, valid & large, *_of_words(np.where(large, values, 0.0).astype(np.uint64), _LARGE))
    others = valid & ~integer & ~large & ~np.isnan(values)
    _put(ids, others, *_of_words(values.view(np.uint64), _FRACTION))


def _put(ids: EventIds, rows: Any, high: Any, low: Any) -> None:
    ids.high[rows], ids.low[rows] = high[rows], low[rows]
    ids.present[rows] = True


def _of_texts(texts: pa.Array, seed: int) -> tuple[Any, Any]:
    from core.compiled.id_hash import hash_texts  # imports numba: only streams with a dedup key pay for it

    high, low = np.zeros(len(texts), np.uint64), np.zeros(len(texts), np.uint64)
    _, offsets, data = texts.buffers()
    if len(texts):
        ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
        # Where all texts are empty there may be no bytes to point at.
        characters = np.frombuffer(data if data is not None and data.size else b"\0", np.uint8)
        characters.flags.writeable = False  # some buffers are, and the kernel is compiled for one sort of array
        hash_texts(characters, ends, seed, high, low)
    return high, low


def _of_words(words: Any, seed: int) -> tuple[Any, Any]:
    from core.compiled.id_hash import hash_words

    high, low = np.empty(len(words), np.uint64), np.empty(len(words), np.uint64)
    hash_words(np.array(words), seed, high, low)
    return high, low


def _add_rest(ids: EventIds, path: str, rest: pa.Array) -> None:
    """Add the ids that stand in `_rest`, where the rarest columns of a batch with too many paths go."""
    named = pc.match_substring(rest, json.dumps(path, ensure_ascii=False)).fill_null(False)
    for row in np.flatnonzero(np.asarray(named) & ~ids.present).tolist():
        value = json.loads(rest[row].as_py()).get(path)
        column = _one(value)
        if column is not None:
            one = EventIds(np.zeros(1, np.uint64), np.zeros(1, np.uint64), np.zeros(1, np.bool_))
            _add_column(one, *column)
            ids.high[row], ids.low[row], ids.present[row] = one.high[0], one.low[0], one.present[0]


def _one(value: Any) -> tuple[str, pa.Array] | None:
    """(kind, array of it) of a JSON value that can be an id."""
    if isinstance(value, str):
        return STR, pa.array([value], pa.string())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float):
        return FLOAT, pa.array([value], pa.float64())
    if -(2**63) <= value < 2**63:
        return INT, pa.array([value], pa.int64())
    return (UINT, pa.array([value], pa.uint64())) if 0 <= value < 2**64 else (DECIMAL, pa.array([str(value)]))
