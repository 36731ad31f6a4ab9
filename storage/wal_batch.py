"""Owns how a batch of the WAL becomes one of the memtable, and the state of its producer. Never reads the WAL."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from core.batch import decode_batch
from core.errors import Corrupt
from storage.dedup import stored_part
from storage.memtable import stamp
from storage.producers import ProducerState, accepted, opened
from storage.wal_format import BatchRecord, DuplicatesRecord, WalRecord


def stored_batch(record: BatchRecord) -> pa.RecordBatch:
    """The events of `record` that are stored, stamped; raises Corrupt when they are not what the record says."""
    try:
        batch = decode_batch(record.body)
    except Corrupt as error:
        raise Corrupt(
            f"wal batch at offset {record.first_offset} passes its checksum but does not decode: {error}"
        ) from error
    verdict = record.verdict
    if verdict is not None:
        kept = None
        if verdict.dropped:
            bits = np.frombuffer(verdict.dropped, np.uint8)
            if len(bits) != -(-batch.num_rows // 8):
                raise Corrupt(
                    f"wal batch at offset {record.first_offset} has a verdict of {len(bits)} bytes on its rows"
                )
            kept = ~np.unpackbits(bits, count=batch.num_rows, bitorder="little").astype(np.bool_)
        batch = stored_part(batch, kept, verdict.late_before_us)
    if batch.num_rows != record.rows:
        raise Corrupt(f"wal batch at offset {record.first_offset} has {batch.num_rows} rows, its record {record.rows}")
    return stamp(batch, record.first_offset, record.ingested_at_us)


def replayed_producer(before: ProducerState | None, record: WalRecord, now_us: int, late: int = 0) -> ProducerState:
    """The state of a record's producer after it; `late` is how many of its events are."""
    state = opened(before, record.producer_epoch, now_us)
    if record.producer_epoch < state.epoch:
        # A batch of an older epoch: its position was answered to whoever opened the newer one.
        return state
    if isinstance(record, DuplicatesRecord):
        return advanced(state, record)
    if not isinstance(record, BatchRecord):
        return state
    duplicates = record.verdict.duplicates if record.verdict else 0
    place = (record.first_offset, record.rows)
    return accepted(state, record.sequence, *place, record.position, record.ingested_at_us, duplicates, late)


def advanced(state: ProducerState, record: DuplicatesRecord) -> ProducerState:
    """The state after a batch of duplicates only; the same when it knew of it, since it has no offset to tell."""
    if record.sequence <= state.last_sequence:
        return state
    return accepted(state, record.sequence, -1, 0, record.position, record.ingested_at_us, record.duplicates)
