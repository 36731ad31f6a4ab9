"""Owns ending the log of older owners on the object store and reading it back. Restartable; writes only fences.

An owner numbers its objects without gaps and acknowledges them in that order. Where the numbers end, a newer owner
creates the next one itself, a fence: whoever wanted to create it finds it there and can acknowledge nothing beyond. The
reasons are in docs/formats/wal.md, "Objects".
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NoReturn

from core.errors import Corrupt, Fenced, NotFound, Unavailable, UnknownOutcome
from core.limits import WAL_OBJECT_CREATE_ATTEMPTS, WAL_OBJECT_READS_AHEAD
from storage.keys import wal_key, wal_position_of, wal_prefix
from storage.manifest import Manifest, ManifestStore
from storage.manifest_format import WalStart
from storage.objects import AlreadyExists, Data, ObjectStore, joined
from storage.wal_format import BatchRecord, FileHeader, WalRecord
from storage.wal_object_format import FENCE_OBJECT_BYTES, WalObject, decode_object, encode_fence, needed_until
from storage.wal_recovery import Sink


@dataclass(frozen=True, slots=True)
class LoggedObject:
    """A data object of the log: from the WAL floor `needed_until` on, it may be removed."""

    start: WalStart
    needed_until: int
    bytes: int


@dataclass(slots=True)
class ObjectRecovery:
    """What was found: the objects that a replay needs, oldest first, and the offset of the next event."""

    next_offset: int
    objects: list[LoggedObject] = field(default_factory=list)
    records: int = 0


def create_or_read(objects: ObjectStore, key: str, data: Data) -> bytes | None:
    """Create `key` with `data` and return None, or return what another writer had created there before.

    A lost answer is settled by asking again: contents are unique, so what stands there says whose it is. Raises
    UnknownOutcome when the store does not say, Unavailable when the object is certainly not there.
    """
    for attempt in range(1, WAL_OBJECT_CREATE_ATTEMPTS + 1):
        try:
            objects.put_new(key, data)
        except AlreadyExists as error:
            try:
                found = objects.get(key)
            except NotFound:  # of another owner, and in segments since
                raise Unavailable(f"object {key!r} of another owner was removed meanwhile: retry") from error
            return None if found == joined(data) else found
        except UnknownOutcome:
            if attempt == WAL_OBJECT_CREATE_ATTEMPTS:
                raise
        else:
            return None
    raise AssertionError("unreachable")


def seal_and_replay(
    objects: ObjectStore,
    manifests: ManifestStore,
    manifest: Manifest,
    sink: Sink,
    new_file_id: Callable[[], int],
    reads_ahead: int = WAL_OBJECT_READS_AHEAD,
) -> ObjectRecovery:
    """End the logs of all epochs before `manifest`'s, and give `sink` what they hold from its WAL floor on, in order.

    Raises Corrupt when an object is missing or damaged, Fenced when a newer owner has taken over meanwhile.
    """
    start = manifest.wal_start
    assert start is not None
    run = _Replay(objects, manifests, manifest, sink, new_file_id)
    with _Reader(objects, manifest.shard, start, reads_ahead) as reader:
        for epoch in range(start.epoch, manifest.epoch):
            number = start.number if epoch == start.epoch else 0
            while run.object(WalStart(epoch, number), reader):
                number += 1
    return run.result()


def remove_before(objects: ObjectStore, shard: int, start: WalStart) -> None:
    """Delete the data objects that no replay needs any more. Fences stay for ever: each holds off one owner.

    A slow request of a dead owner may create an object anew that was deleted; the next owner removes it here.
    """
    doomed = [
        info.key
        for info in objects.list(wal_prefix(shard))
        if (position := wal_position_of(info.key)) and position < start and info.size != FENCE_OBJECT_BYTES
    ]
    objects.delete(doomed)


class _Reader:
    """The objects from `start` on as they were listed, some read ahead of being asked for."""

    def __init__(self, objects: ObjectStore, shard: int, start: WalStart, reads_ahead: int) -> None:
        self._objects = objects
        self._keys: dict[WalStart, str] = {}
        # A prefix of the first key sorts right before it.
        for info in objects.list(wal_prefix(shard), after=wal_key(shard, *start)[:-1]):
            position = wal_position_of(info.key)
            if position is not None and position >= start:
                self._keys[WalStart(*position)] = info.key
        self._ahead = list(self._keys)[::-1]  # taken from the end
        self._reads: dict[WalStart, Future[bytes]] = {}
        self._pool = ThreadPoolExecutor(reads_ahead, "read wal") if reads_ahead > 1 else None
        self._reads_ahead = reads_ahead

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def get(self, position: WalStart) -> bytes | None:
        """The bytes of an object, or None when it was not listed; raises NotFound when it is gone since."""
        key = self._keys.get(position)
        if key is None:
            return None
        if self._pool is None:
            return self._objects.get(key)
        for passed in [read for read in self._reads if read < position]:
            del self._reads[passed]
        while self._ahead and len(self._reads) < self._reads_ahead:
            following = self._ahead.pop()
            if following >= position:
                self._reads[following] = self._pool.submit(self._objects.get, self._keys[following])
        read = self._reads.pop(position, None)
        return read.result() if read is not None else self._objects.get(key)

    def newest(self, epoch: int) -> WalStart | None:
        """The last object of an epoch that was listed."""
        return max((position for position in self._keys if position.epoch == epoch), default=None)


class _Replay:
    """The state of one replay between objects."""

    def __init__(
        self,
        objects: ObjectStore,
        manifests: ManifestStore,
        manifest: Manifest,
        sink: Sink,
        new_file_id: Callable[[], int],
    ) -> None:
        self._objects = objects
        self._manifests = manifests
        self._manifest = manifest
        self._shard = manifest.shard
        self._floor = manifest.wal_floor
        self._sink = sink
        self._new_file_id = new_file_id
        self._next: int | None = None  # the next offset expected; None before the first object
        self._result = ObjectRecovery(manifest.wal_floor)

    def object(self, position: WalStart, reader: _Reader) -> bool:
        """Replay one object, or end its epoch where it is not there. Returns whether the epoch goes on."""
        key = wal_key(self._shard, *position)
        try:
            data = reader.get(position)
        except NotFound:
            self._missing(f"object {key!r} was removed while it was needed")
        if data is None:
            data = self._fence(position, key, reader)
        found = decode_object(data, key, self._shard, *position)
        if found.fenced_by is not None:
            if found.fenced_by > self._manifest.epoch:
                self._fenced(found.fenced_by)
            return False
        self._deliver(found, key)
        until = needed_until(found.header.base_offset, found.records)
        self._result.objects.append(LoggedObject(position, until, len(data)))
        return True

    def _fence(self, position: WalStart, key: str, reader: _Reader) -> bytes:
        """What stands at `key` after trying to put a fence there."""
        newest = reader.newest(position.epoch)
        if newest is not None and newest > position:
            # Either it was never confirmed, like all after it, or it is lost.
            later = decode_object(reader.get(newest) or b"", wal_key(self._shard, *newest), self._shard, *newest)
            if later.fenced_by is not None or later.confirmed > position.number:
                self._missing(f"object {key!r} is not there although later ones are")
        header = FileHeader(self._shard, *position, self._new_file_id(), max(self._next or 0, self._floor))
        fence = encode_fence(header, self._manifest.epoch)
        return create_or_read(self._objects, key, fence) or fence

    def _deliver(self, found: WalObject, key: str) -> None:
        base = found.header.base_offset
        if base != self._next and (self._next is not None or base > self._floor):
            expected = self._floor if self._next is None else self._next
            self._missing(f"object {key!r} begins at offset {base} where {expected} must come next")
        self._next = base
        for record in found.records:
            if isinstance(record, BatchRecord):
                first, end = record.first_offset, record.first_offset + record.rows
                if first != self._next or end <= first or first < self._floor < end:
                    raise Corrupt(
                        f"object {key!r} holds a batch of offsets {first}-{end - 1} where {self._next} must come next "
                        f"and the floor is {self._floor}: restore it, nothing was changed"
                    )
                self._next = end
                if end <= self._floor:
                    continue
            self._give(record)

    def _give(self, record: WalRecord) -> None:
        self._result.records += 1
        self._sink(record, True)

    def _missing(self, what: str) -> NoReturn:
        """Raise why the log has a hole: a newer owner removed what it no longer needs, or objects are lost."""
        newer = self._manifests.newer_epoch(self._manifest.epoch)
        if newer is not None:
            self._fenced(newer)
        raise Corrupt(f"{what}: acknowledged events are missing; restore the object, nothing was changed")

    def _fenced(self, newer: int) -> NoReturn:
        raise Fenced(f"shard {self._shard} epoch {self._manifest.epoch} was fenced by epoch {newer} while it opened")

    def result(self) -> ObjectRecovery:
        self._result.next_offset = max(self._next or 0, self._floor)
        return self._result
