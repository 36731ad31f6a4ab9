"""Owns opening a shard: lock, epoch, orphans, replay, a new WAL file. Idempotent: a crash inside is just a crash.

Order: the lock keeps other processes of this host away, the new epoch in the manifest everyone else; only then is the
WAL read, and what was perhaps never synced is written again before anything is served.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from core.batch import decode_batch
from core.clock import Clock
from core.errors import Corrupt, Unavailable
from core.ids import ShardId
from storage.fs import FileSystem
from storage.keys import index_key, segments_prefix, shard_prefix
from storage.manifest import Manifest, ManifestStore
from storage.memtable import Memtable, stamp
from storage.objects import ObjectStore
from storage.producers import ProducerKey, ProducerState, accepted, opened
from storage.shard import Shard, ShardOptions, ShardState
from storage.stream_settings import StreamSettings
from storage.wal import Wal
from storage.wal_format import BatchRecord, WalRecord
from storage.wal_recovery import Recovery, replay

LOCK_NAME = "LOCK"
MARKER_NAME = "SHARD"  # says that this directory held the WAL of the shard from its first epoch on


def open_shard(
    options: ShardOptions,
    *,
    fs: FileSystem,
    objects: ObjectStore,
    wal_directory: str,
    clock: Clock,
    new_file_id: Callable[[], int],
    stream_settings: Callable[[str, str], StreamSettings],
) -> Shard:
    """Recover the shard and become its owner.

    Raises StorageInUse (another process of this host has it), Unavailable (disk or object store, or the WAL directory
    of an existing shard is missing), Corrupt (damage that recovery must not hide).
    """
    try:
        fs.make_directories(wal_directory)
        lock = fs.lock(f"{wal_directory}/{LOCK_NAME}")
    except OSError as error:
        raise Unavailable(f"cannot use the wal directory {wal_directory}: {error}; mend the disk and retry") from error
    try:
        manifests = ManifestStore(objects, options.shard, clock)
        _check_directory(fs, wal_directory, options.shard, manifests)
        manifest = manifests.take_epoch()
        _remove_orphans(objects, manifest)
        state, recovery = _replay(fs, wal_directory, manifest, clock)
        return Shard(
            options,
            state,
            wal_factory=lambda on_committed: Wal(
                fs,
                wal_directory,
                options.shard,
                manifest.epoch,
                recovery,
                new_file_id,
                on_committed,
                options.wal_file_bytes_target,
            ),
            manifests=manifests,
            objects=objects,
            stream_settings=stream_settings,
            clock=clock,
            lock=lock,
        )
    except BaseException:
        lock.release()
        raise


def _check_directory(fs: FileSystem, directory: str, shard: ShardId, manifests: ManifestStore) -> None:
    """Refuse to serve a shard without its WAL: events that were acknowledged would be missing silently."""
    marker = f"{directory}/{MARKER_NAME}"
    if fs.exists(marker):
        return
    if manifests.load() is not None:
        raise Unavailable(
            f"the wal of shard {shard} is not in {directory}: bring the disk back that holds it; if it is lost for "
            f"good and the loss of unflushed events is accepted, create the empty file {marker}"
        )
    try:
        fs.create(marker).close()
        fs.sync_directory(directory)
    except OSError as error:
        raise Unavailable(f"cannot write {marker}: {error}; mend the disk and retry") from error


def _remove_orphans(objects: ObjectStore, manifest: Manifest) -> None:
    """Delete segments and indexes that a crashed flush uploaded and never published; their events are still in the WAL.

    Everything below this shard that the newest manifest does not name belongs to an epoch that is fenced by now.
    """
    live = {segment.name for segment in manifest.segments}
    live |= {index_key(segment.name) for segment in manifest.segments if segment.index_bytes}
    found = objects.list(segments_prefix(manifest.shard))
    objects.delete([info.key for info in found if info.key not in live])
    objects.remove_unfinished(shard_prefix(manifest.shard))


def _replay(fs: FileSystem, directory: str, manifest: Manifest, clock: Clock) -> tuple[ShardState, Recovery]:
    memtable = Memtable(manifest.wal_floor)
    producers: dict[ProducerKey, ProducerState] = dict(manifest.producers)
    now_s, now_us = clock.steady_s(), clock.now_us()

    def sink(record: WalRecord, synced: bool) -> None:
        key: ProducerKey = (record.tenant, record.stream, record.producer)
        producers[key] = _replayed(producers.get(key), record, now_us)
        if isinstance(record, BatchRecord):
            batch = stamp(_decode(record), record.first_offset, record.ingested_at_us)
            memtable.insert((record.tenant, record.stream), batch, record.first_offset, now_s)

    recovery = replay(fs, directory, manifest.shard, manifest.wal_floor, sink)
    torn = tuple(f"{tail.file}: {tail.bytes} bytes from {tail.position} on" for tail in recovery.torn)
    return ShardState(manifest, memtable, producers, torn, memtable.rows), recovery


def _replayed(before: ProducerState | None, record: WalRecord, now_us: int) -> ProducerState:
    state = opened(before, record.producer_epoch, now_us)
    if not isinstance(record, BatchRecord) or record.producer_epoch < state.epoch:
        # A batch of an older epoch: its position was answered to whoever opened the newer one.
        return state
    return accepted(state, record.sequence, record.first_offset, record.rows, record.position, record.ingested_at_us)


def _decode(record: BatchRecord) -> pa.RecordBatch:
    try:
        return decode_batch(record.body)
    except Corrupt as error:
        raise Corrupt(
            f"wal batch at offset {record.first_offset} passes its checksum but does not decode: {error}"
        ) from error
