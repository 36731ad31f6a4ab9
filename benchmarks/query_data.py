"""Owns the events that the query benchmark asks about: generated logs over six hours, two streams to join, real sets.

Beyond what `ingest.generate` makes, every fourth event has the path `result.code`, a number, but text in one of 20 of
them; and RARE_PLACES events have a word and a trace id that no other event has. Never writes to a contender.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.record import REPOSITORY
from core.batch import TIMESTAMP, TIMESTAMP_INFERRED
from core.columns import FLOAT, INT, STR, TIMESTAMP_TYPE, ColumnKey, field_of
from core.limits import BATCH_ROWS_TARGET
from ingest.generate import LogGenerator
from ingest.generate_pools import HOSTS

TAIL_EVENTS: Final = 65_536  # the last ones, which stay in memtables
STEP_EVENTS: Final = 8 * BATCH_ROWS_TARGET

START_US: Final = 1_767_592_800_000_000  # 2026-01-05 06:00 UTC
SPAN_US: Final = 6 * 3_600_000_000

RARE_WORD: Final = "quokkazanzibar"
ABSENT_WORD: Final = "okapizanzibar"
RARE_TRACE: Final = "feedfacecafebeef0123456789abcdef"
RARE_PLACES: Final = (0.11, 0.37, 0.58, 0.83, 0.97)  # as shares of all events but the tail; one more is in the tail

CODE: Final = "result.code"
CODE_TEXT: Final = f"{CODE}::{STR}"
_CODES: Final = 500
_CODE_TEXTS: Final = ("timeout", "refused", "no answer")

_TEAMS: Final = 12
_PAYMENT_SHARE: Final = 20  # one payment to as many traces
_CURRENCIES: Final = ("EUR", "USD", "GBP", "JPY")

REAL_DIRECTORY: Final = REPOSITORY.parent / "shared" / "data"
REAL_STREAMS: Final = {
    "splunk": "splunk_attack_data.ndjson.zst",
    "cloudtrail": "cloudtrail_invictus.ndjson.zst",
    "github": "github_events.ndjson.zst",
    "wikiticker": "wikiticker.ndjson.zst",
}


def real_files() -> dict[str, Path]:
    """The real data sets that are there, by stream."""
    files = {stream: REAL_DIRECTORY / name for stream, name in REAL_STREAMS.items()}
    return {stream: path for stream, path in files.items() if path.exists()}


def log_tables(events: int) -> Iterator[tuple[pa.Table, bool]]:
    """All log events in pieces, each with whether it is the tail; in the layout of core.batch, without its flag.

    Their places in time are evenly spread over SPAN_US; each is late as the generator has it.
    """
    if events <= TAIL_EVENTS:
        raise SystemExit(f"{events} events are too few: more than {TAIL_EVENTS} are needed")
    generator = LogGenerator(1, 0)
    before_tail = events - TAIL_EVENTS
    rare = {int(share * before_tail) for share in RARE_PLACES} | {before_tail + TAIL_EVENTS // 2}
    for start in range(0, before_tail, STEP_EVENTS):
        rows = min(STEP_EVENTS, before_tail - start)
        yield _logs(generator, start, rows, events, rare), False
    yield _logs(generator, before_tail, TAIL_EVENTS, events, rare), True


def _logs(generator: LogGenerator, start: int, rows: int, events: int, rare: set[int]) -> pa.Table:
    pieces = []
    for first in range(start, start + rows, BATCH_ROWS_TARGET):
        count = min(BATCH_ROWS_TARGET, start + rows - first)
        batch = generator.batch(count, START_US)
        pieces.append(_placed(batch, first, events))
    table = pa.Table.from_batches(pieces).combine_chunks()
    numbers = np.arange(start, start + rows)
    is_rare = pa.array(np.isin(numbers, list(rare)))
    if pc.any(is_rare).as_py():
        table = _replaced(table, "message", pc.if_else(is_rare, f"lost peer {RARE_WORD} of ring", table["message"]))
        table = _replaced(table, "trace_id", pc.if_else(is_rare, RARE_TRACE, table["trace_id"]))
    code, text = _codes(numbers)
    table = table.append_column(field_of(CODE, ColumnKey(CODE, INT)), code)
    return table.append_column(field_of(CODE_TEXT, ColumnKey(CODE, STR)), text)


def _placed(batch: pa.RecordBatch, first: int, events: int) -> pa.RecordBatch:
    """`batch`, made to end at START_US, with the times of the events `first` and following out of `events`."""
    rows = batch.num_rows
    times_us = batch.column(TIMESTAMP).view(pa.int64()).to_numpy()
    late_us = np.arange(START_US - rows + 1, START_US + 1) - times_us
    places_us = START_US + np.arange(first, first + rows) * SPAN_US // events
    index = batch.schema.get_field_index(TIMESTAMP)
    placed = batch.set_column(index, batch.schema.field(index), pa.array(places_us - late_us).view(TIMESTAMP_TYPE))
    return placed.drop_columns([TIMESTAMP_INFERRED])


def _replaced(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(index), column)


def _codes(numbers: np.ndarray) -> tuple[pa.Array, pa.Array]:
    """The numbers and the texts of `result.code`."""
    quarter = numbers // 4
    has, is_text = numbers % 4 == 0, quarter % 20 == 0
    code = pa.array(quarter * 7919 % _CODES, mask=~has | is_text)
    texts = np.array(_CODE_TEXTS)[quarter // 20 % len(_CODE_TEXTS)]
    return code, pa.array(texts, mask=~has | ~is_text)


def as_written(table: pa.Table) -> pa.Table:
    """The logs as a writer's table has them: the texts of `result.code` inside a struct, which is the same path."""
    struct = pa.StructArray.from_arrays([table[CODE_TEXT].combine_chunks()], names=["code"])
    return table.drop_columns([CODE_TEXT]).append_column("result", struct).replace_schema_metadata(None)


def hosts() -> pa.Table:
    """One event for each host of the logs: its team and its rack."""
    numbers = np.arange(HOSTS)
    return _events(
        (
            ("host", STR, pa.array([f"node-{number:04d}" for number in numbers])),
            ("owner.team", STR, pa.array([f"team-{number * 7 % _TEAMS:02d}" for number in numbers])),
            ("rack", INT, pa.array(numbers // 20)),
        ),
        numbers * 1_000_000,
    )


def payments(logs: pa.Table) -> pa.Table:
    """Payments of the traces in a piece of the logs: one to every 20th trace."""
    rows = logs.filter(pc.is_valid(logs["trace_id"])).select([TIMESTAMP, "trace_id", "load.sequence"])
    rows = rows.take(np.arange(0, rows.num_rows, _PAYMENT_SHARE))
    sequence = rows["load.sequence"].to_numpy()
    return _events(
        (
            ("trace_id", STR, rows["trace_id"].combine_chunks()),
            ("amount.value", FLOAT, pa.array(sequence % 10_007 / 4)),
            ("amount.currency", STR, pa.array(np.array(_CURRENCIES)[sequence // 64 % len(_CURRENCIES)])),
        ),
        rows[TIMESTAMP].combine_chunks().view(pa.int64()).to_numpy() - START_US,
    )


def _events(columns: tuple[tuple[str, str, pa.Array], ...], after_us: np.ndarray) -> pa.Table:
    fields = [pa.field(TIMESTAMP, TIMESTAMP_TYPE, nullable=False)]
    fields += [field_of(path, ColumnKey(path, kind)) for path, kind, _ in columns]
    times = pa.array(START_US + after_us).view(TIMESTAMP_TYPE)
    return pa.Table.from_arrays([times, *(array for _, _, array in columns)], schema=pa.schema(fields))
