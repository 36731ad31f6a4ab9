"""Owns the way back in plain Python: a batch (or a table read from segments) → events. The reference for unshred_json.

What shredding normalizes stays so: null is absent, repeated keys are resolved, the event time is a datetime; decimals
come as Decimal, times as aware datetime. Members of `_rest` come as JSON has them (a time as text).
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from core.batch import REST, TIMESTAMP, TIMESTAMP_INFERRED
from core.columns import DECIMAL, JSON, TIME, key_of
from ingest.event_time import TIME_US_MAX, TIME_US_MIN
from ingest.json_lines import parse_exactly
from ingest.values import Number

_UTC_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def unshred(
    batch: pa.Table | pa.RecordBatch, *, nested: bool = False, timestamp: str = TIMESTAMP
) -> list[dict[str, Any]]:
    """One dict per row: path → value, or objects rebuilt from the dots in the paths when `nested`.

    An event time that came with the event stands at the path `timestamp`, unless an attribute has that path.
    """
    events: list[dict[str, Any]] = [{} for _ in range(batch.num_rows)]
    names = batch.schema.names
    for index, field in enumerate(batch.schema):
        key = key_of(field)
        if key is not None:
            for event, value in zip(events, _python_values(batch.column(index), key.kind), strict=True):
                if value is not None:
                    event[key.path] = value
    if REST in names:
        for event, text in zip(events, batch.column(names.index(REST)).to_pylist(), strict=True):
            event.update({} if text is None else _loads(text))
    times = _python_values(batch.column(names.index(TIMESTAMP)), TIME)
    inferred = batch.column(names.index(TIMESTAMP_INFERRED)).to_pylist()
    for event, time, is_inferred in zip(events, times, inferred, strict=True):
        if not is_inferred:
            event.setdefault(timestamp, time)
    return [nest(event) for event in events] if nested else events


def nest(flat: dict[str, Any]) -> dict[str, Any]:
    """Objects from dotted paths; where a path leads through a scalar, the rest of it stays one dotted key."""
    event: dict[str, Any] = {}
    for path in sorted(flat):
        node = event
        *parents, last = path.split(".")
        for depth, parent in enumerate(parents):
            child = node.setdefault(parent, {})
            if not isinstance(child, dict):
                last = ".".join(path.split(".")[depth:])
                break
            node = child
        node[last] = flat[path]
    return event


def _python_values(column: Any, kind: str) -> list[Any]:
    if kind == TIME:
        return [None if value is None else _time(value) for value in column.cast(pa.int64()).to_pylist()]
    values: list[Any] = column.to_pylist()
    if kind == DECIMAL:
        return [None if value is None else Decimal(value) for value in values]
    if kind == JSON:
        return [None if value is None else _loads(value) for value in values]
    return values


def _time(time_us: int) -> datetime.datetime | int:
    """A datetime, or the microseconds themselves beyond the years it can hold."""
    if TIME_US_MIN <= time_us <= TIME_US_MAX:
        return _UTC_EPOCH + datetime.timedelta(microseconds=time_us)
    return time_us


def _loads(text: str) -> Any:
    return _with_decimals(parse_exactly(text.encode()))


def _with_decimals(value: Any) -> Any:
    if isinstance(value, Number):
        return Decimal(value)
    if isinstance(value, dict):
        return {key: _with_decimals(item) for key, item in value.items()}
    return [_with_decimals(item) for item in value] if isinstance(value, list) else value
