"""Owns small helpers for WAL tests: records with recognizable bodies, opening and replaying. Asserts nothing itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from storage.fs import FileSystem
from storage.wal import Wal
from storage.wal_format import BatchRecord, OpenProducerRecord, WalRecord
from storage.wal_recovery import Recovery, replay

DIRECTORY = "/wal"
SHARD = 3


def batch(first_offset: int, rows: int = 1, body: bytes = b"") -> BatchRecord:
    """A batch whose body tells its offset."""
    return BatchRecord(
        tenant="acme",
        stream="logs",
        producer="p1",
        producer_epoch=1,
        sequence=first_offset,
        position=b"at %d" % first_offset if first_offset % 2 else None,
        first_offset=first_offset,
        rows=rows,
        ingested_at_us=1_700_000_000_000_000 + first_offset,
        body=body or b"body of %d " % first_offset * (1 + first_offset % 3),
    )


def opened(epoch: int) -> OpenProducerRecord:
    return OpenProducerRecord("acme", "logs", "p1", epoch)


def plain(record: WalRecord) -> WalRecord:
    """The record with its body as bytes, for comparison."""
    if isinstance(record, OpenProducerRecord):
        return record
    values = {name: getattr(record, name) for name in record.__dataclass_fields__}
    return BatchRecord(**{**values, "body": bytes(record.body)})


@dataclass(frozen=True, slots=True)
class Replayed:
    """All that replay gave: records with plain bodies, the flags, and its result."""

    records: list[WalRecord]
    synced: list[bool]
    recovery: Recovery

    @property
    def batches(self) -> list[WalRecord]:
        return [record for record in self.records if isinstance(record, BatchRecord)]


def replayed(fs: FileSystem, floor: int = 0, directory: str = DIRECTORY) -> Replayed:
    records: list[WalRecord] = []
    synced: list[bool] = []

    def sink(record: WalRecord, is_synced: bool) -> None:
        records.append(plain(record))
        synced.append(is_synced)

    recovery = replay(fs, directory, SHARD, floor, sink)
    return Replayed(records, synced, recovery)


def open_wal(
    fs: FileSystem,
    epoch: int = 1,
    *,
    floor: int = 0,
    directory: str = DIRECTORY,
    on_committed: Callable[[list[WalRecord]], None] = lambda records: None,
    file_bytes_target: int = 1 << 30,
) -> Wal:
    """Replay the directory and open the next epoch's writer."""
    recovery = replayed(fs, floor, directory).recovery
    ids = itertools.count(epoch << 32 | 7)
    return Wal(fs, directory, SHARD, epoch, recovery, lambda: next(ids), on_committed, file_bytes_target)


def append(wal: Wal, record: WalRecord, sync: bool = True) -> None:
    wal.commit(wal.enqueue(record, sync))
