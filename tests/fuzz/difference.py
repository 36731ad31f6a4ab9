"""Owns the comparison of two answers of shredders, to the last bit: schema, metadata, values, what was rejected."""

from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.compute as pc

from ingest.shred import Shredded

SHOWN_MAX = 300  # characters of a value in a message


def difference(found: Shredded, expected: Shredded) -> str | None:
    """What differs, in words; None when nothing does. Also checks the buffers of `found` themselves."""
    for name in ("rejected", "timestamps_missing", "timestamps_unreadable"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        if ours != theirs:
            return f"{name}: {_shown(ours)}, expected {_shown(theirs)}"
    if found.batch is None or expected.batch is None:
        rows = [None if answer.batch is None else answer.batch.num_rows for answer in (found, expected)]
        return None if found.batch is expected.batch else f"rows: {rows[0]}, expected {rows[1]}"
    return _batches_differ(found.batch, expected.batch)


def _batches_differ(found: pa.RecordBatch, expected: pa.RecordBatch) -> str | None:
    try:
        found.validate(full=True)
    except pa.ArrowInvalid as error:
        return f"broken buffers: {error}"
    if found.num_rows != expected.num_rows:
        return f"rows: {found.num_rows}, expected {expected.num_rows}"
    if not found.schema.equals(expected.schema, check_metadata=True):
        return f"schema: {_shown(_fields(found))}, expected {_shown(_fields(expected))}"
    for name, ours, theirs in zip(found.schema.names, found.columns, expected.columns, strict=True):
        if not _bits(ours).equals(_bits(theirs)):
            at = next(
                row
                for row in range(len(ours))
                if not _bits(ours.slice(row, 1)).equals(_bits(theirs.slice(row, 1))) or row == len(ours) - 1
            )
            return f"column {name!r}, row {at}: {_shown(ours[at].as_py())}, expected {_shown(theirs[at].as_py())}"
    return None


def _bits(array: pa.Array) -> pa.Array:
    """The array with floats as bit patterns: 0.0 and -0.0 are equal as values, NaN is not equal to itself."""
    if array.type == pa.float64():
        numbers = pc.if_else(pc.is_nan(array), math.nan, array)  # one NaN is as good as another
        return numbers.view(pa.int64())
    if array.type == pa.list_(pa.float64()):
        offsets = pa.Array.from_buffers(pa.int32(), len(array) + 1, [None, array.buffers()[1]], offset=array.offset)
        return pa.ListArray.from_arrays(offsets, _bits(array.values), mask=array.is_null())
    return array


def _fields(batch: pa.RecordBatch) -> list[str]:
    return [f"{field.name}: {field.type} {field.metadata or ''}" for field in batch.schema]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}… ({len(text)} characters)"
