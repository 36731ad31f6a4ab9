"""Owns what write() accepts: which shredder takes which kind of input, and cutting it into appends."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from core.clock import Clock
from core.errors import InvalidRequest
from core.limits import BATCH_BYTES_TARGET, BATCH_ROWS_TARGET
from ingest.ahead import in_order
from ingest.input_files import JsonUnit, Unit, open_events, shred_unit
from ingest.shred import Shredded, ShredSettings, fitting, json_blocks, shred_arrow, shred_dicts, slices


def shred_events(events: Any, settings: ShredSettings, clock: Clock) -> Iterator[Shredded]:
    """Shred any input that Client.write takes, one append's worth at a time; raises InvalidRequest for others."""
    for piece in _shred(events, settings, clock):
        batches = [] if piece.batch is None else list(fitting(piece.batch))
        yield replace(piece, batch=batches[0]) if batches else piece
        for batch in batches[1:]:
            yield Shredded(batch, (), 0, 0)


def _shred(events: Any, settings: ShredSettings, clock: Clock) -> Iterator[Shredded]:
    if isinstance(events, (str, os.PathLike)):
        yield from shred_units(open_events(os.fspath(events)), settings, clock)
    elif isinstance(events, (bytes, bytearray, memoryview)):
        blocks = json_blocks(io.BytesIO(events), BATCH_BYTES_TARGET)
        yield from shred_units((JsonUnit(block, 0) for block in blocks), settings, clock)
    elif isinstance(events, Mapping):
        yield shred_dicts([events], settings, ingest_time_us=clock.now_us())
    elif isinstance(events, Sequence):
        yield from _shred_dicts(events, settings, clock)
    else:
        yield from _shred_table(_as_table(events), settings, clock)


def shred_units(units: Iterable[Unit], settings: ShredSettings, clock: Clock) -> Iterator[Shredded]:
    """The units of an input shredded, in order; the next ones are shredded while the caller sends one."""
    return in_order(lambda unit: shred_unit(unit, settings, ingest_time_us=clock.now_us()), units)


def _shred_dicts(events: Sequence[Any], settings: ShredSettings, clock: Clock) -> Iterator[Shredded]:
    done = 0
    for part in slices(events):
        piece = shred_dicts(part, settings, ingest_time_us=clock.now_us())
        # Positions count from the start of the whole list.
        yield replace(piece, rejected=tuple(replace(r, line=r.line + done) for r in piece.rejected))
        done += len(part)


def _shred_table(table: pa.Table | pa.RecordBatch, settings: ShredSettings, clock: Clock) -> Iterator[Shredded]:
    rows_max = BATCH_ROWS_TARGET
    if table.num_rows and table.nbytes > BATCH_BYTES_TARGET:
        rows_max = max(1, min(rows_max, int(table.num_rows * BATCH_BYTES_TARGET / table.nbytes)))
    for start in range(0, table.num_rows, rows_max):
        yield shred_arrow(table.slice(start, rows_max), settings, ingest_time_us=clock.now_us())


def _as_table(events: Any) -> pa.Table | pa.RecordBatch:
    if isinstance(events, (pa.Table, pa.RecordBatch)):
        return events
    if type(events).__module__.startswith("pandas"):
        return pa.Table.from_pandas(events, preserve_index=False)
    if hasattr(events, "__arrow_c_stream__"):
        return pa.table(events)
    raise InvalidRequest(
        f"events of type {type(events).__name__} are not accepted: give a list of dicts, an arrow table or batch, a "
        f"pandas or polars frame, ndjson bytes, or a path"
    )
