"""Owns the way back as text: a batch, a table read from segments or a query's result → NDJSON, without Python values.

What shredding normalizes stays so: null is absent, repeated keys are resolved, times are RFC 3339 text in UTC, bytes
are base64 text, non-finite floats the texts "NaN", "Infinity" and "-Infinity". Strings are escaped as Python's json
does without ASCII, floats are written as repr does. Shredding the text again gives the same columns, but for times and
bytes, which are text then, and for what objects cannot tell (see to_ndjson).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.batch import HIDDEN_COLUMNS, REST, TIMESTAMP, TIMESTAMP_INFERRED
from core.columns import (
    BOOL,
    FLOAT,
    INT,
    KINDS,
    STR,
    TIME,
    TIMESTAMP_TYPE,
    UINT,
    arrow_type,
    key_of,
)
from core.errors import InvalidRequest
from ingest.arrow_columns import columns_of
from ingest.arrow_values import DICTIONARY_TYPE, types, unwrapped
from ingest.compiled.json_write import SPARE_BYTES, write_rows
from ingest.compiled.json_write_columns import Part, rows_of

_SPARE_BYTES: Final = 64 * 1024
_ROW_BYTES: Final = 3  # braces and line end
_KEY_BYTES: Final = 4  # quotes, colon, comma
# Typical bytes of a value, on top of what it takes in its array.
_VALUE_BYTES: Final = {BOOL: 5, INT: 2, UINT: 12, FLOAT: 10, TIME: 22}
_TEXT_BYTES: Final = 12  # quotes, and what a text in a dictionary is longer than its index


def to_ndjson(batch: pa.RecordBatch | pa.Table, *, nested: bool = True, timestamp: str = TIMESTAMP) -> pa.Buffer:
    """One JSON object per row and line, attributes in the order of their paths.

    `nested` rebuilds objects from the dots in paths as ingest.unshred.nest does: where a path leads through a value,
    the rest of it stays one dotted key, and an empty object that other attributes fill is not told from theirs. Beyond
    63 levels paths stay dotted, because what is nested deeper could not be shredded; a JSON text that is an object with
    members, which shredding never makes a column of, counts as a value.

    An event time that came with the event stands at the path `timestamp`, unless an attribute has that path. A column
    without a path in its metadata is written as shred_arrow would store it. System columns are left out, except from a
    table that has neither `_timestamp_inferred` nor a column with a path: there they are what somebody asked for.

    Trusts the buffers: run `validate(full=True)` on what comes from outside. InvalidRequest when a name repeats or a
    type cannot be written, Corrupt when `_rest` holds something else than JSON objects.
    """
    text = _Text()
    left = batch.num_rows
    for piece in batch.to_batches() if isinstance(batch, pa.Table) else [batch]:
        if piece.num_rows:
            text.write(piece, left, nested, timestamp)
            left -= piece.num_rows
    return text.buffer()


class _Text:
    """The text so far."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)
        self._end = 0

    def write(self, batch: pa.RecordBatch, rows_left: int, nested: bool, timestamp: str) -> None:
        """Append the rows of `batch`, the first of `rows_left`."""
        parts, rest = _parts(batch, timestamp)
        guess = _bytes_guess(parts, batch)
        if len(self._bytes) - self._end < guess:
            self._grow(guess * rows_left // batch.num_rows)
        rows = rows_of(parts, rest, nested)
        row = 0
        while row < batch.num_rows:
            target, limit = self._bytes.ctypes.data, len(self._bytes) - SPARE_BYTES
            row, self._end = write_rows(rows.task.ctypes.data, row, batch.num_rows, target, limit, self._end)
            if row < batch.num_rows:
                self._grow(len(self._bytes) // 2)

    def _grow(self, size: int) -> None:
        # Memory that is never written to is never used.
        larger = np.empty(len(self._bytes) + size + _SPARE_BYTES, np.uint8)
        larger[: self._end] = self._bytes[: self._end]
        self._bytes = larger

    def buffer(self) -> pa.Buffer:
        return pa.py_buffer(self._bytes).slice(0, self._end)


def _parts(batch: pa.RecordBatch, timestamp: str) -> tuple[list[Part], pa.Array | None]:
    """(the event time and all attributes, the column `_rest`), without those that have no value."""
    parts: list[Part] = []
    foreign: list[int] = []
    rest = None
    times = batch.schema.get_field_index(TIMESTAMP)
    if times >= 0 and key_of(batch.schema.field(times)) is None and types.is_timestamp(batch.schema.field(times).type):
        parts.append(Part(timestamp, TIME, _event_times(batch, times)))
    else:
        times = -1
    keys = [key_of(field) for field in batch.schema]
    are_events = TIMESTAMP_INFERRED in batch.schema.names or any(keys)
    for index, (field, key) in enumerate(zip(batch.schema, keys, strict=True)):
        if key is not None:
            parts.append(Part(key.path, key.kind, _stored(batch.column(index), key.kind, field.name)))
        elif are_events and field.name == REST:
            rest = _stored(batch.column(index), STR, field.name, plain=True)
        elif index != times and not (are_events and field.name in HIDDEN_COLUMNS):
            foreign.append(index)
    for column in columns_of(batch.select(foreign)) if foreign else ():
        parts.append(Part(*column.key, column.array(batch.num_rows)))
    return [part for part in parts if part.array.null_count < batch.num_rows], rest


def _event_times(batch: pa.RecordBatch, index: int) -> pa.Array:
    """The event times, null where ingest time stands in."""
    times = _stored(batch.column(index), TIME, TIMESTAMP)
    if TIMESTAMP_INFERRED not in batch.schema.names:
        return times
    inferred = batch.column(TIMESTAMP_INFERRED).fill_null(False)
    if inferred.true_count == 0:
        return times
    return pc.if_else(inferred, pa.scalar(None, TIMESTAMP_TYPE), times)


def _stored(array: pa.Array, kind: str, name: str, *, plain: bool = False) -> pa.Array:
    """`array` in the type of its kind; strings may come as a dictionary without null in it, unless `plain`."""
    if kind not in KINDS:
        raise InvalidRequest(f"column {name!r} has the unknown kind {kind!r}: use one of {', '.join(KINDS)}")
    type_ = arrow_type(kind)
    if array.type == type_:
        return array
    if array.type == DICTIONARY_TYPE and kind == STR and not plain and array.dictionary.null_count == 0:
        return array
    array = unwrapped(array)
    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    try:
        return array.cast(type_)
    except pa.ArrowException as error:
        raise InvalidRequest(f"column {name!r} of kind {kind!r} has the arrow type {array.type}: {error}") from error


def _bytes_guess(parts: list[Part], batch: pa.RecordBatch) -> int:
    """About how many bytes the rows of `batch` will take: rather too many than too few."""
    rows = batch.num_rows
    size: int = _ROW_BYTES * rows + batch.nbytes
    for path, kind, array in parts:
        size += (len(path) + _KEY_BYTES + _VALUE_BYTES.get(kind, _TEXT_BYTES)) * (rows - array.null_count)
    return size
