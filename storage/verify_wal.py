"""Owns reading a shard's WAL for a verification: by recovery's own readers, and without changing anything.

replay_wal is the one place that knows where a WAL can be. A fence that a reader would write into a log on the object
store stays in memory.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from core.clock import Clock
from core.errors import Corrupt, Fenced, NotFound, Unavailable
from core.ids import ShardId
from storage.fs import FileSystem
from storage.keys import wal_key, wal_position_of, wal_prefix
from storage.manifest import Manifest, ManifestStore
from storage.object_wal_recovery import seal_and_replay
from storage.objects import AlreadyExists, Data, Listing, ObjectStore, Range, view
from storage.recovery import LOCK_NAME, MARKER_NAME
from storage.verify_report import CORRUPT, GAP, MISSING, RETRY, TORN, UNREADABLE, WRONG, Findings
from storage.wal_format import (
    FILE_HEADER_BYTES,
    BatchRecord,
    DuplicatesRecord,
    FileHeader,
    WalRecord,
    decode_file_header,
    encode_file_header,
    parse_name,
)
from storage.wal_object_format import FENCE_OBJECT_BYTES, decode_object
from storage.wal_recovery import Sink, inspect_wal, replay

# Objects that are read ahead of the one that is looked at; each is some megabytes at most.
_READS_AHEAD: Final = 4

_LOST: Final = (
    "bring back the disk or the files that are missing; without them the events above the WAL floor are gone, and "
    "the shard does not open as it is"
)


@dataclass(frozen=True, slots=True)
class WalPlace:
    """Where the WAL of one shard may be; `directory` is None where no local disk with it is known."""

    objects: ObjectStore
    fs: FileSystem
    directory: str | None
    clock: Clock


@dataclass(frozen=True, slots=True)
class WalSeen:
    """What a replay found; `next_offset` is that of the next event."""

    where: str
    next_offset: int
    files: int
    bytes: int


class LockedAway(Unavailable):
    """The WAL is where this process cannot look: on a disk that was not named."""


class ReadOnlyObjects:
    """An object store of which nothing is ever changed: what is put stays here, deleting is refused."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def put_new(self, key: str, data: Data) -> None:
        """Keep nothing: only say what a create would have met."""
        try:
            self._objects.get(key)
        except NotFound:
            view(data)
            return
        raise AlreadyExists(f"object {key!r} is there already", key=key)

    def put_in_parts(self, key: str, data: Data) -> None:
        self.put_new(key, data)

    def get(self, key: str) -> bytes:
        return self._objects.get(key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self._objects.get_range(key, start, length)

    def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[bytes]:
        return self._objects.get_ranges(key, ranges)

    def list(self, prefix: str, after: str | None = None) -> Listing:
        return self._objects.list(prefix, after)

    def delete(self, keys: Iterable[str]) -> None:
        raise AssertionError(f"a verification deletes nothing: {sorted(keys)}")

    def remove_unfinished(self, prefix: str) -> None:
        raise AssertionError(f"a verification deletes nothing: {prefix}")

    def local_path(self, key: str) -> str | None:
        return self._objects.local_path(key)


def lock_is_held(path: str) -> bool:
    """Whether a process of this host has the exclusive lock on `path`. Looks for an instant; creates nothing."""
    try:
        with Path(path).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def is_served(directory: str | None, held: Callable[[str], bool] = lock_is_held) -> bool:
    """Whether a shard runs on this WAL directory now."""
    return directory is not None and held(f"{directory}/{LOCK_NAME}")


def replay_wal(place: WalPlace, manifest: Manifest, floor: int, sink: Sink, found: Findings) -> WalSeen:
    """Give `sink` every record of the shard's WAL as the next owner would get it, from `floor` on.

    `floor` is the manifest's, or lower to see more. Raises what recovery raises: Corrupt, Unavailable, Fenced.
    """
    if manifest.wal_start is not None:
        following = replace(manifest, epoch=manifest.epoch + 1, wal_floor=floor)
        store = ReadOnlyObjects(place.objects)
        manifests = ManifestStore(store, ShardId(manifest.shard), place.clock)
        read = seal_and_replay(store, manifests, following, sink, lambda: 0, _READS_AHEAD)
        return WalSeen("objects", read.next_offset, len(read.objects), sum(item.bytes for item in read.objects))
    if place.directory is None:
        raise LockedAway(f"the wal of shard {manifest.shard} is on a local disk: name it with --wal-directory")
    recovery = replay(place.fs, place.directory, manifest.shard, floor, sink)
    for tail in recovery.torn:
        message = f"{tail.bytes} bytes from {tail.position} on are no whole record and were never marked as synced"
        advice = "nothing: a crash leaves such a tail, and the shard cuts it when it opens"
        found.add(TORN, f"{place.directory}/{tail.file}", message, advice)
    return WalSeen("directory", recovery.next_offset, len(recovery.files), recovery.bytes)


def check_wal(place: WalPlace, manifest: Manifest, found: Findings) -> int:
    """Look at the files one by one before a replay does; returns the lowest offset that they may hold.

    Names every damaged header, what is between the WAL floor and the first file, and files of newer epochs.
    """
    if manifest.wal_start is not None or place.directory is None:
        return manifest.wal_floor
    headers = _headers(place, manifest, found)
    if not headers:
        return manifest.wal_floor
    first = headers[0]
    if first.base_offset > manifest.wal_floor:
        path = f"{place.directory}/{first.name}"
        message = f"offsets {manifest.wal_floor}-{first.base_offset - 1} are neither in segments nor in the WAL"
        found.add(GAP, path, f"{message}: the WAL begins here, at {first.base_offset}", _LOST)
    for header in headers:
        if header.epoch > manifest.epoch:
            message = f"it is of epoch {header.epoch}, the newest manifest of {manifest.epoch}: that one is too old"
            found.add(WRONG, f"{place.directory}/{header.name}", message)
    return min(first.base_offset, manifest.wal_floor)


def _headers(place: WalPlace, manifest: Manifest, found: Findings) -> list[FileHeader]:
    headers: list[FileHeader] = []
    assert place.directory is not None
    if not place.fs.exists(f"{place.directory}/{MARKER_NAME}"):
        message = f"it is not there: this directory did not hold the WAL of shard {manifest.shard}, or lost it"
        found.add(MISSING, f"{place.directory}/{MARKER_NAME}", message, _LOST)
    names = sorted(name for name in place.fs.list(place.directory) if parse_name(name))
    for name in names:
        path = f"{place.directory}/{name}"
        try:
            data = place.fs.read_range(path, 0, FILE_HEADER_BYTES)
            headers.append(decode_file_header(data, path))
            if encode_file_header(headers[-1]) != data:
                raise Corrupt("its header is damaged where the checksum does not look: every reader passes over it")
        except FileNotFoundError:
            continue  # removed since its name was read, because all of it is in segments
        except Corrupt as error:
            found.add(CORRUPT, path, str(error))
        except OSError as error:
            found.add(UNREADABLE, path, f"it cannot be read: {error}")
    if not names:
        message = f"there is no WAL file, and shard {manifest.shard} was opened {manifest.epoch} times"
        found.add(MISSING, place.directory, message, _LOST)
    return sorted(headers, key=lambda header: (header.epoch, header.number))


def located(place: WalPlace, manifest: Manifest) -> Iterator[tuple[str, int, WalRecord]]:
    """(file or object, position in it, record) of all that can be read, without a judgement. Raises Corrupt."""
    if manifest.wal_start is not None:
        expected: tuple[int, int] = manifest.wal_start
        for info in place.objects.list(wal_prefix(manifest.shard)):
            found = wal_position_of(info.key)
            if found is None or found < manifest.wal_start or info.size == FENCE_OBJECT_BYTES:
                continue
            if found not in (expected, (max(found[0], expected[0] + 1), 0)):
                continue  # behind the end of its epoch's log: never acknowledged
            expected = (found[0], found[1] + 1)
            key = wal_key(manifest.shard, *found)
            for record in decode_object(place.objects.get(key), key, manifest.shard, *found).records:
                yield key, 0, record
        return
    for name in sorted(place.fs.list(place.directory or ""), key=lambda name: parse_name(name) or (0, 0)):
        if parse_name(name) and place.directory is not None:
            for shown in inspect_wal(place.fs, f"{place.directory}/{name}"):
                where = (f"{place.directory}/{name}", shown["position"])
                if shown["type"] in ("BATCH", "JUDGED_BATCH") and shown["ok"]:
                    yield *where, BatchRecord(**shown["header"], body=b"")
                elif shown["type"] == "DUPLICATES" and shown["ok"]:
                    yield *where, DuplicatesRecord(**shown["header"])


def note_failure(place: WalPlace, manifest: Manifest, error: Exception, found: Findings) -> None:
    """Note why a replay ended, unless what check_wal noted says it already."""
    where = place.directory if manifest.wal_start is None else wal_prefix(manifest.shard)
    if isinstance(error, LockedAway):
        found.add(UNREADABLE, f"wal of shard {manifest.shard}", str(error), "verify where that disk is")
    elif isinstance(error, Unavailable | Fenced):
        found.add(UNREADABLE, where or "wal", str(error), RETRY)
    elif (absent := _absent(place, manifest)) is not None:
        found.add(MISSING, absent, f"it is not there although later ones are: {error}", _LOST)
    elif not found.has(GAP, CORRUPT):
        found.add(CORRUPT, _named(place, manifest, str(error)), f"{error}; what follows in the WAL was not verified")


def _named(place: WalPlace, manifest: Manifest, message: str) -> str:
    """The file or object that an error of recovery is about, or else where all of them are."""
    if manifest.wal_start is not None:
        names = [info.key for info in place.objects.list(wal_prefix(manifest.shard))]
        where = wal_prefix(manifest.shard)
    else:
        where = place.directory or "wal"
        names = [f"{where}/{name}" for name in place.fs.list(where) if parse_name(name)]
    named = [name for name in names if name in message]
    return min(named, key=message.index, default=where)


def _absent(place: WalPlace, manifest: Manifest) -> str | None:
    """The first WAL object that is not there though later ones of its epoch are."""
    if manifest.wal_start is None:
        return None
    positions = [wal_position_of(info.key) for info in place.objects.list(wal_prefix(manifest.shard))]
    expected: tuple[int, int] = manifest.wal_start
    for position in sorted(found for found in positions if found is not None and found >= expected):
        if position[0] != expected[0]:
            expected = (position[0], 0)
        if position != expected:
            return wal_key(manifest.shard, *expected)
        expected = (position[0], position[1] + 1)
    return None
