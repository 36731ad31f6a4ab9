"""Owns what write() accepts: which shredder takes which kind of input, and cutting it into appends."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from core.clock import Clock
from core.errors import InvalidRequest
from core.limits import BATCH_BYTES_TARGET, BATCH_ROWS_TARGET
from ingest.input_files import EventBlock, blocks_of_bytes, open_events
from ingest.shred import Shredded, ShredSettings, shred_arrow, shred_dicts, shred_ndjson


def shred_events(events: Any, settings: ShredSettings, clock: Clock) -> Iterator[Shredded]:
    """Shred any input that Client.write takes, one append's worth at a time; raises InvalidRequest for anything else."""
    if isinstance(events, (str, os.PathLike)):
        for unit in open_events(os.fspath(events)):
            yield from _shred_unit(unit, settings, clock)
    elif isinstance(events, (bytes, bytearray, memoryview)):
        for block in blocks_of_bytes(events):
            yield from _shred_unit(block, settings, clock)
    elif isinstance(events, Mapping):
        yield from _shred_dicts([events], settings, clock)
    elif isinstance(events, Sequence):
        yield from _shred_dicts(events, settings, clock)
    else:
        yield from _shred_table(_as_table(events), settings, clock)


def _shred_unit(unit: Any, settings: ShredSettings, clock: Clock) -> Iterator[Shredded]:
    if isinstance(unit, EventBlock):
        yield shred_ndjson(
            unit.data,
            settings,
            ingest_time_us=clock.now_us(),
            first_line=unit.first_line,
            first_byte=unit.first_byte,
        )
    else:
        yield from _shred_table(unit, settings, clock)


def _shred_dicts(events: Sequence[Any], settings: ShredSettings, clock: Clock) -> Iterator[Shredded]:
    for start in range(0, len(events), BATCH_ROWS_TARGET):
        part = events[start : start + BATCH_ROWS_TARGET]
        piece = shred_dicts(part, settings, ingest_time_us=clock.now_us())
        yield piece if start == 0 else _moved(piece, start)


def _shred_table(table: pa.Table | pa.RecordBatch, settings: ShredSettings, clock: Clock) -> Iterator[Shredded]:
    rows_max = BATCH_ROWS_TARGET
    if table.num_rows and table.nbytes > BATCH_BYTES_TARGET:
        rows_max = max(1, min(rows_max, int(table.num_rows * BATCH_BYTES_TARGET / table.nbytes)))
    for start in range(0, table.num_rows, rows_max):
        part = table.slice(start, rows_max)
        yield shred_arrow(part, settings, ingest_time_us=clock.now_us())


def _moved(piece: Shredded, events: int) -> Shredded:
    """`piece` with its rejections counted from the start of the whole list."""
    rejected = tuple(replace(r, line=r.line + events) for r in piece.rejected)
    return replace(piece, rejected=rejected)


def _as_table(events: Any) -> pa.Table | pa.RecordBatch:
    if isinstance(events, (pa.Table, pa.RecordBatch)):
        return events
    if isinstance(events, pa.RecordBatchReader):
        return events.read_all()
    if hasattr(events, "__arrow_c_stream__"):
        return pa.table(events)
    if type(events).__module__.startswith("pandas"):
        return pa.Table.from_pandas(events, preserve_index=False)
    raise InvalidRequest(
        f"events of type {type(events).__name__} are not accepted: give a list of dicts, an arrow table or batch, a "
        f"pandas or polars frame, ndjson bytes, or a path"
    )
