"""Owns the answers to DESCRIBE and SHOW STREAMS, from shapes and types alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import pyarrow as pa

from core.batch import HIDDEN_COLUMNS, TIMESTAMP
from core.columns import TIMESTAMP_TYPE
from query.readings import SYSTEM_TYPES, natural_type
from query.shape import StreamShape

_DESCRIBED = pa.schema(
    [
        ("column_name", pa.string()),
        ("column_type", pa.string()),
        ("kinds", pa.string()),
        ("values", pa.int64()),
        ("share", pa.float64()),
        ("samples", pa.list_(pa.string())),
    ]
)
_SAMPLES_MAX: Final = 3
_SAMPLE_CHARACTERS_MAX: Final = 60
_QUERY_COLUMNS = ("column_name", "column_type", "null", "key", "default", "extra")
_SHOWN = pa.schema(
    [("name", pa.string()), ("rows", pa.int64()), ("time_min", TIMESTAMP_TYPE), ("time_max", TIMESTAMP_TYPE)]
)


def describe_stream(shape: StreamShape, events: pa.Table | None = None) -> pa.Table:
    """Columns of a stream as SQL sees them: the event time, paths with their kinds, values and share, system columns.

    `share` is the part of the events that have the path. `samples` are its commonest values, as text, in `events`: some
    rows of the stream, with a column for each path of interest.
    """
    samples = _samples(events) if events is not None else {}
    rows: list[tuple[object, ...]] = [_described(TIMESTAMP, SYSTEM_TYPES[TIMESTAMP], "", shape.rows, shape, samples)]
    for path, kinds in shape.paths.items():
        rows.append(_described(path, natural_type(kinds), _kinds(kinds), sum(kinds.values()), shape, samples))
    rows += [(name, SYSTEM_TYPES[name], "", None, None, None) for name in HIDDEN_COLUMNS]
    return _table(rows, _DESCRIBED)


def _described(
    name: str, type_: str, kinds: str, values: int, shape: StreamShape, samples: Mapping[str, list[str]]
) -> tuple[object, ...]:
    # An event may be counted twice in a path, by a flush between two descriptions of it.
    share = min(1.0, values / shape.rows) if shape.rows else None
    return name, type_, kinds, values, share, samples.get(name)


def _samples(events: pa.Table) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, column in zip(events.column_names, events.columns, strict=True):
        counts = Counter(_shown(value) for value in column.drop_null().to_pylist())
        if counts:
            found[name] = [value for value, _ in counts.most_common(_SAMPLES_MAX)]
    return found


def _shown(value: object) -> str:
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, datetime):
        text = value.isoformat(" ")
    else:
        text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (list, dict)) else str(value)
    return text if len(text) <= _SAMPLE_CHARACTERS_MAX else f"{text[: _SAMPLE_CHARACTERS_MAX - 1]}…"


def describe_query(names: Sequence[str], types: Sequence[str]) -> pa.Table:
    """Columns of a query's result, in the engine's own form of DESCRIBE."""
    rows = [(name, type_, "YES", None, None, None) for name, type_ in zip(names, types, strict=True)]
    return _table(rows, pa.schema([(name, pa.string()) for name in _QUERY_COLUMNS]))


def show_streams(shapes: Mapping[str, StreamShape]) -> pa.Table:
    """One row per stream: its name, number of events and time range."""
    rows = [(name, shape.rows, shape.time_min_us, shape.time_max_us) for name, shape in sorted(shapes.items())]
    return _table(rows, _SHOWN)


def _kinds(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{kind}: {count}" for kind, count in sorted(kinds.items(), key=lambda item: -item[1]))


def _table(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )
