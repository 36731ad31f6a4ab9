"""Owns opening a shard: lock, epoch, orphans, replay, a new WAL file. Idempotent: a crash inside is just a crash.

With a WAL directory: the lock keeps other processes of this host away, the new epoch in the manifest everyone else;
only then is the WAL read, and what was perhaps never synced is written again before anything is served. With the WAL
on the object store: the new epoch ends the publishing of older owners, a fence at the end of their log their
acknowledgements.
"""

from __future__ import annotations

from collections.abc import Callable

from core.clock import Clock
from core.errors import Corrupt, Unavailable, WalMissing
from core.ids import ShardId
from core.limits import WAL_OBJECT_READS_AHEAD
from storage.dedup import late_in
from storage.dedup_run import run_names
from storage.fs import FileSystem
from storage.keys import ids_prefix, index_key, origin_of, segment_epoch, segments_prefix, shard_prefix, writer_of
from storage.manifest import Manifest, ManifestStore
from storage.memtable import Memtable
from storage.named_snapshots import leased_names
from storage.object_wal import ObjectWal, ObjectWalOptions
from storage.object_wal_recovery import remove_before, seal_and_replay
from storage.objects import ObjectStore
from storage.producers import ProducerKey, ProducerState
from storage.shard import Shard, ShardOptions
from storage.shard_state import ShardState
from storage.stream_settings import StreamSettings
from storage.wal import Wal
from storage.wal_batch import replayed_producer, stored_batch
from storage.wal_format import BatchRecord, WalRecord
from storage.wal_recovery import TornTail, replay

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
        _remove_orphans(objects, manifest, clock)
        replayed = _Replayed(manifest, clock)
        recovery = replay(fs, wal_directory, options.shard, manifest.wal_floor, replayed.sink)
        return Shard(
            options,
            replayed.state(recovery.torn),
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


def open_object_shard(
    options: ShardOptions,
    *,
    objects: ObjectStore,
    clock: Clock,
    new_file_id: Callable[[], int],
    stream_settings: Callable[[str, str], StreamSettings],
    wal_options: ObjectWalOptions | None = None,
    reads_ahead: int = WAL_OBJECT_READS_AHEAD,
) -> Shard:
    """Recover a shard whose WAL is on the object store and become its owner, on any node.

    Raises Unavailable (object store), Fenced (a newer owner took over meanwhile), InvalidSettings (the WAL of this
    shard is in a directory), Corrupt (damage that recovery must not hide).
    """
    manifests = ManifestStore(objects, options.shard, clock, wal_on_objects=True)
    manifest = manifests.take_epoch()
    assert manifest.wal_start is not None
    _remove_orphans(objects, manifest, clock)
    remove_before(objects, options.shard, manifest.wal_start)
    replayed = _Replayed(manifest, clock)
    recovery = seal_and_replay(objects, manifests, manifest, replayed.sink, new_file_id, reads_ahead)
    return Shard(
        options,
        replayed.state(()),
        wal_factory=lambda on_committed: ObjectWal(
            objects, options.shard, manifest.epoch, recovery, new_file_id, on_committed, clock, wal_options
        ),
        manifests=manifests,
        objects=objects,
        stream_settings=stream_settings,
        clock=clock,
        lock=None,
    )


def _check_directory(fs: FileSystem, directory: str, shard: ShardId, manifests: ManifestStore) -> None:
    """Refuse to serve a shard without its WAL: events that were acknowledged would be missing silently."""
    marker = f"{directory}/{MARKER_NAME}"
    if fs.exists(marker):
        return
    newest = manifests.load()
    if newest is not None and newest.version > 0:
        manifests.check_wal(newest)
        raise WalMissing(
            f"the wal of shard {shard} is not in {directory}: bring the disk back that holds it; if it is lost for "
            f"good and the loss of unflushed events is accepted, create the empty file {marker}"
        )
    try:
        fs.create(marker).close()
        fs.sync_directory(directory)
    except OSError as error:
        raise Unavailable(f"cannot write {marker}: {error}; mend the disk and retry") from error


def _remove_orphans(objects: ObjectStore, manifest: Manifest, clock: Clock) -> None:
    """Delete what was uploaded and never published: segments, indexes, runs of ids. The WAL or others have the events.

    Among them are those of events of other shards that this one wrote, beside the segments that it took over.
    Removed segments are left to garbage collection: a query may still read them. Named snapshots hold runs of ids that
    no manifest names any more. A sealed shard removes nothing: its heir, whose epochs are others, may write beside its
    segments what it makes of them.
    What the manifest does not name belongs to an epoch that is fenced by now, unless its own epoch is newer: then this
    owner was replaced while it opened, and must not touch what its successor writes.
    """
    if manifest.sealed > manifest.served:
        return
    live = {segment.name for segment in manifest.segments}
    live |= {index_key(segment.name) for segment in manifest.segments if segment.index_bytes}
    live |= run_names(manifest.id_runs)
    try:
        live |= leased_names(objects, clock.now_us())
    except Corrupt:
        return  # of a snapshot, which verify tells: what it holds is not known, so everything stays
    removed = [segment.name for segment in manifest.removed]
    adopted = {origin_of(name) for name in (*(segment.name for segment in manifest.segments), *removed)}
    live |= {*removed, *map(index_key, removed)}
    found = [*objects.list(segments_prefix(manifest.shard)), *objects.list(ids_prefix(manifest.shard))]
    for origin in adopted - {manifest.shard}:
        if origin is not None:
            found += [info for info in objects.list(segments_prefix(origin)) if writer_of(info.key) == manifest.shard]
    older = [info.key for info in found if info.key not in live and _is_older(info.key, manifest.epoch)]
    objects.delete(older)
    objects.remove_unfinished(shard_prefix(manifest.shard))


def _is_older(key: str, epoch: int) -> bool:
    written_in = segment_epoch(key)
    return written_in is None or written_in < epoch


class _Replayed:
    """What the WAL adds to a manifest, record by record."""

    def __init__(self, manifest: Manifest, clock: Clock) -> None:
        self._manifest = manifest
        self._memtable = Memtable(manifest.wal_floor)
        self._producers: dict[ProducerKey, ProducerState] = dict(manifest.producers)
        self._now_s, self._now_us = clock.steady_s(), clock.now_us()

    def sink(self, record: WalRecord, synced: bool) -> None:
        """Take the next record."""
        key: ProducerKey = (record.tenant, record.stream, record.producer)
        late = 0
        if isinstance(record, BatchRecord):
            batch = stored_batch(record)
            late = late_in(batch) if record.verdict else 0
            self._memtable.insert((record.tenant, record.stream), batch, record.first_offset, self._now_s)
        self._producers[key] = replayed_producer(self._producers.get(key), record, self._now_us, late)

    def state(self, torn: tuple[TornTail, ...]) -> ShardState:
        """What all records make."""
        tails = tuple(f"{tail.file}: {tail.bytes} bytes from {tail.position} on" for tail in torn)
        return ShardState(self._manifest, self._memtable, self._producers, tails, self._memtable.rows)
