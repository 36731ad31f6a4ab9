"""Owns the answers to DESCRIBE and SHOW STREAMS, from shapes and types alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from core.batch import HIDDEN_COLUMNS, TIMESTAMP
from core.columns import TIMESTAMP_TYPE
from query.readings import SYSTEM_TYPES, natural_type
from query.shape import StreamShape

_DESCRIBED = pa.schema(
    [("column_name", pa.string()), ("column_type", pa.string()), ("kinds", pa.string()), ("values", pa.int64())]
)
_QUERY_COLUMNS = ("column_name", "column_type", "null", "key", "default", "extra")
_SHOWN = pa.schema(
    [("name", pa.string()), ("rows", pa.int64()), ("time_min", TIMESTAMP_TYPE), ("time_max", TIMESTAMP_TYPE)]
)


def describe_stream(shape: StreamShape) -> pa.Table:
    """Columns of a stream as SQL sees them: system columns, then paths with their kinds and numbers of values."""
    rows: list[tuple[object, ...]] = [(TIMESTAMP, SYSTEM_TYPES[TIMESTAMP], "", shape.rows)]
    rows += [(path, natural_type(kinds), _kinds(kinds), sum(kinds.values())) for path, kinds in shape.paths.items()]
    rows += [(name, SYSTEM_TYPES[name], "", None) for name in HIDDEN_COLUMNS]
    return _table(rows, _DESCRIBED)


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
