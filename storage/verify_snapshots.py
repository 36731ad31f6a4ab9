"""Owns verifying named snapshots: they read, and the files that they alone hold are there and undamaged. Read-only."""

from __future__ import annotations

from core.clock import Clock
from core.errors import Corrupt, MalamuteError, NotFound
from core.ids import ShardId
from storage.keys import SNAPSHOTS_PREFIX, index_key, snapshot_key
from storage.manifest import ManifestStore
from storage.named_snapshot_format import NamedSnapshot, decode_snapshot, decode_summary, names_of, summary_of
from storage.named_snapshots import is_expired
from storage.objects import ObjectStore, is_there
from storage.snapshot_files import files_of, verified
from storage.verify_report import CORRUPT, MISSING, RETRY, UNREADABLE, WRONG, Findings

_DROP = "drop it with 'malamute snapshot drop'; nothing that it may hold is removed before"
_LOST = "restore it from a backup, or drop the snapshot: its answers are not whole"


def verify_snapshots(objects: ObjectStore, clock: Clock, shards: int, found: Findings) -> tuple[int, int]:
    """Look at all snapshots that have not expired; returns how many objects there are, and bytes with their files."""
    infos = objects.list(SNAPSHOTS_PREFIX)
    seen = _live(objects, clock, shards) if infos else set()
    size = 0
    for info in infos:
        try:
            data = objects.get(info.key)
            snapshot = decode_snapshot(data, "it")
        except NotFound:
            continue  # dropped since
        except Corrupt as error:
            found.add(CORRUPT, info.key, str(error), _DROP)
            continue
        except MalamuteError as error:
            found.add(UNREADABLE, info.key, str(error), RETRY)
            continue
        size += len(data)
        if decode_summary(data) != (summary_of(snapshot), sorted(names_of(snapshot))):
            found.add(WRONG, info.key, "its summary, which says what it holds, is not that of its manifests", _DROP)
        if snapshot_key(snapshot.tenant, snapshot.name) != info.key:
            found.add(WRONG, info.key, f"it says that it is snapshot {snapshot.name!r} of {snapshot.tenant!r}", _DROP)
        elif not is_expired(snapshot, clock.now_us()):
            size += _verify_files(objects, snapshot, info.key, seen, found)
    return len(infos), size


def _live(objects: ObjectStore, clock: Clock, shards: int) -> set[str]:
    """The files that manifests name: these are looked at with their shard."""
    named: set[str] = set()
    for shard in range(shards):
        try:
            manifest = ManifestStore(objects, ShardId(shard), clock).load()
        except MalamuteError:
            continue  # the shard's own verification says so
        if manifest is not None:
            segments = [segment.name for segment in manifest.segments]
            named |= {*segments, *map(index_key, segments)}
    return named


def _verify_files(objects: ObjectStore, snapshot: NamedSnapshot, key: str, seen: set[str], found: Findings) -> int:
    size = 0
    for file in files_of(snapshot):
        if file.name in seen:
            continue
        seen.add(file.name)
        try:
            verified(file, objects.get(file.name), "the storage")
        except NotFound:
            if not is_there(objects, key):
                return size
            found.add(MISSING, file.name, f"snapshot {snapshot.name!r} names it, and it is not there", _LOST)
        except Corrupt as error:
            found.add(CORRUPT, file.name, str(error), _LOST)
        except MalamuteError as error:
            found.add(UNREADABLE, file.name, str(error), RETRY)
        else:
            size += file.bytes
    return size
