"""Owns what a shard consists of between its parts: what recovery gives it, what is on its way, what it counts."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from storage.manifest import Manifest
from storage.memtable import Memtable, StreamKey
from storage.producers import ProducerKey, ProducerState


@dataclass(slots=True)
class ShardState:
    """What recovery hands to a shard: everything that is known after the WAL was replayed."""

    manifest: Manifest
    memtable: Memtable
    producers: dict[ProducerKey, ProducerState]
    torn_tails: tuple[str, ...] = ()
    replayed_rows: int = 0


@dataclass(slots=True)
class Accepted:
    """A batch between the WAL queue and the memtable."""

    stream: StreamKey
    producer: ProducerKey
    batch: pa.RecordBatch  # stamped
    state: ProducerState


@dataclass(slots=True)
class Counters:
    """What a shard has done since it was opened."""

    batches: int = 0
    rows: int = 0
    accepted_bytes: int = 0  # as they are in memory
    duplicates: int = 0
    overloaded: int = 0
    flushes: int = 0
    flushed_rows: int = 0
    duplicate_ids: int = 0
    late: int = 0
    flush_failures: int = 0
    delete_failures: int = 0  # of what nothing needs any more; tried again
    last_flush_error: str = ""


@dataclass(slots=True)
class Pending:
    """What is queued in the WAL: the producers as they will be when all of it is committed, and its batches."""

    producers: dict[ProducerKey, ProducerState]
    batches: dict[int, Accepted] = field(default_factory=dict)  # by first offset
    bytes: int = 0
