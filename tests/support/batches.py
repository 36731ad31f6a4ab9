"""Batches in memtable form for tests, and the rows of a batch, table or file by meaning instead of by column name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from core.batch import REST, SYSTEM_COLUMNS, SYSTEM_FIELDS, TIMESTAMP, TIMESTAMP_INFERRED
from core.columns import TIMESTAMP_TYPE, ColumnKey, allocate_names, field_of, key_of
from storage.memtable import stamp

DAY_US = 86_400_000_000
START_US = 1_767_225_600_000_000  # 2026-01-01


def memtable_batch(
    columns: Mapping[tuple[str, str], Sequence[Any] | pa.Array],
    timestamps_us: Sequence[int],
    first_offset: int = 0,
    rest: Sequence[str | None] | None = None,
) -> pa.RecordBatch:
    """A stamped batch; `columns` by (path, kind), values None where absent, arrays to choose the Arrow type."""
    rows = len(timestamps_us)
    fields = [SYSTEM_FIELDS[TIMESTAMP], SYSTEM_FIELDS[TIMESTAMP_INFERRED]]
    arrays = [pa.array(timestamps_us, pa.int64()).cast(TIMESTAMP_TYPE), pa.array(np.zeros(rows, np.bool_))]
    if rest is not None:
        fields.append(SYSTEM_FIELDS[REST])
        arrays.append(pa.array(rest, pa.string()))
    keys = [ColumnKey(*key) for key in columns]
    values = {key: columns[tuple(key)] for key in keys}
    counts = [(key, sum(v is not None for v in _plain(values[key]))) for key in keys]
    names = allocate_names(counts, SYSTEM_COLUMNS)
    for key in sorted(keys):
        field = field_of(names[key], key)
        array = values[key] if isinstance(values[key], pa.Array) else pa.array(values[key], field.type)
        fields.append(field_of(names[key], key, array.type))
        arrays.append(array)
    return stamp(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)), first_offset, START_US)


def _plain(values: Sequence[Any] | pa.Array) -> list[Any]:
    return values.to_pylist() if isinstance(values, pa.Array) else list(values)


def rows_by_meaning(table: pa.Table | pa.RecordBatch) -> list[dict[Any, Any]]:
    """Each row as {ColumnKey or system column: value}, nulls left out; times as integer microseconds."""
    rows: list[dict[Any, Any]] = [{} for _ in range(table.num_rows)]
    for field, column in zip(table.schema, table.columns, strict=True):
        key = key_of(field) or field.name
        if pa.types.is_timestamp(field.type):
            column = column.cast(pa.int64())
        for row, value in zip(rows, column.to_pylist(), strict=True):
            if value is not None:
                row[key] = value
    return rows


def log_batch(rows: int, seed: int = 0, first_offset: int = 0, start_us: int = START_US) -> pa.RecordBatch:
    """Log-like events: service and level as dictionaries, a unique id, numbers, a message."""
    rng = np.random.default_rng(seed)
    services = pa.DictionaryArray.from_arrays(
        pa.array(rng.integers(0, 5, rows), pa.int32()), pa.array([f"service-{i}" for i in (3, 1, 4, 0, 2)])
    )
    ids = [f"{value:016x}" for value in rng.integers(0, 2**63, rows).tolist()]
    columns = {
        ("service", "str"): services,
        ("trace_id", "str"): ids,
        ("http.status_code", "int"): rng.choice([200, 404, 500], rows).tolist(),
        ("duration_ms", "float"): rng.lognormal(2, 1, rows).tolist(),
        ("message", "str"): [f"request {id_[:4]} took a while" for id_ in ids],
    }
    times = start_us + np.sort(rng.integers(0, 3_600_000_000, rows)) + rng.integers(0, 1_000_000, rows)
    return memtable_batch(columns, times.tolist(), first_offset)
