"""Owns filling the contenders of the query benchmark with the same events. Measures nothing."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from benchmarks.query_contenders import ClickHouse, DuckDB, Malamute
from benchmarks.query_data import as_written, hosts, log_tables, payments, real_files

_REAL_TIME = "@timestamp"


def fill(ours: Malamute, plain: DuckDB, house: ClickHouse | None, events: int) -> dict[str, Any]:
    """Give every contender the events; returns what there is: files, streams that are missing."""
    real = real_files()
    for stream, path in real.items():
        ours.client.write(stream, path)
        if house is not None:
            house.create(stream, _REAL_TIME)
            house.insert_file(stream, path, _REAL_TIME)
    tail = _fill_logs(ours, house, events)
    if house is not None:
        house.settle(["logs", "hosts", "payments", *real])
    files = {stream: ours.segments(stream) for stream in ("logs", "hosts", "payments", *real)}
    for stream, segments in files.items():
        plain.add(stream, [*segments, plain.tail_file(tail)] if stream == "logs" else segments)
    return {
        "segments": {stream: len(segments) for stream, segments in files.items()},
        "segment_bytes": {stream: sum(path.stat().st_size for path in files[stream]) for stream in files},
        "streams": list(files),
    }


def _fill_logs(ours: Malamute, house: ClickHouse | None, events: int) -> pa.Table:
    """Write the logs and what is joined to them; everything but the tail, which is returned, is flushed."""
    if house is not None:
        for stream in ("logs", "hosts", "payments"):
            house.create(stream)
    _write(ours, house, "hosts", hosts(), hosts())
    for table, is_tail in log_tables(events):
        paid = payments(table)
        _write(ours, house, "payments", paid, paid)
        if is_tail:
            ours.client.flush()
        _write(ours, house, "logs", as_written(table), table)
    return table


def _write(ours: Malamute, house: ClickHouse | None, stream: str, written: pa.Table, table: pa.Table) -> None:
    receipt = ours.client.write(stream, written)
    if receipt.accepted != table.num_rows or receipt.rejected:
        raise RuntimeError(f"{receipt.accepted} events of {stream} were accepted of {table.num_rows}")
    if house is not None:
        house.insert(stream, table)
