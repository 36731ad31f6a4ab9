"""Owns a shard's unflushed events as Arrow batches in offset order. Never writes, never decides when to flush.

The shard holds its lock around every call; what snapshot() returns is immutable and needs none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from core.batch import INGESTED_AT, OFFSET, SYSTEM_FIELDS
from core.columns import TIMESTAMP_TYPE
from core.errors import check

StreamKey = tuple[str, str]  # tenant, stream

# What one batch costs beyond its Arrow buffers: schema, Python objects. Keeps a flood of tiny batches bounded.
BATCH_OVERHEAD_BYTES = 4_096


@dataclass(slots=True)
class Memtable:
    """Batches of the offsets [first_offset, next_offset), grouped by stream."""

    first_offset: int
    next_offset: int = field(init=False)
    bytes: int = 0
    rows: int = 0
    oldest_s: float | None = None  # steady clock of the first insert
    batches: dict[StreamKey, list[pa.RecordBatch]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.next_offset = self.first_offset

    def insert(self, key: StreamKey, batch: pa.RecordBatch, first_offset: int, now_s: float) -> None:
        """Append `batch` (already stamped, see stamp()); its offsets must follow the last ones."""
        check(
            first_offset == self.next_offset, "MEM-1", "batch at %d does not follow %d", first_offset, self.next_offset
        )
        self.batches.setdefault(key, []).append(batch)
        self.next_offset += batch.num_rows
        self.rows += batch.num_rows
        self.bytes += batch_bytes(batch)
        if self.oldest_s is None:
            self.oldest_s = now_s

    def snapshot(self, key: StreamKey) -> tuple[pa.RecordBatch, ...]:
        """The batches of one stream, in offset order."""
        return tuple(self.batches.get(key, ()))


def batch_bytes(batch: pa.RecordBatch) -> int:
    """What `batch` is counted for against the memtable's limits."""
    return int(batch.nbytes) + BATCH_OVERHEAD_BYTES


def stamp(batch: pa.RecordBatch, first_offset: int, ingested_at_us: int) -> pa.RecordBatch:
    """`batch` with the system columns that the shard adds: `_ingested_at` and `_offset`."""
    rows = batch.num_rows
    ingested_at = pa.array(np.full(rows, ingested_at_us, np.int64)).cast(TIMESTAMP_TYPE)
    offsets = pa.array(np.arange(first_offset, first_offset + rows, dtype=np.int64))
    fields = [*batch.schema, SYSTEM_FIELDS[INGESTED_AT], SYSTEM_FIELDS[OFFSET]]
    return pa.RecordBatch.from_arrays([*batch.columns, ingested_at, offsets], schema=pa.schema(fields))
