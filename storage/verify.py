"""Owns the verification of a whole storage, offline or beside a running deployment. Never writes, never deletes.

The walk: format.json, placements and the catalog (verify_manifests.py), named snapshots (verify_snapshots.py), then
shard by shard (verify_shard.py) the manifests, the segments with its offsets one at a time (verify_segment.py,
verify_column.py), their offsets together (verify_offsets.py), the WAL (verify_wal.py) and the producers
(verify_producers.py). What the findings mean: docs/verify.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from core.clock import Clock
from core.errors import MalamuteError, NotFound
from core.ids import ShardId
from storage.fs import FileSystem
from storage.keys import CATALOG_PREFIX, FORMAT_KEY
from storage.manifest import ManifestStore
from storage.objects import ObjectStore
from storage.snapshot import Segment
from storage.verify_manifests import catalog_of, note_strangers, placements_of
from storage.verify_report import MISSING, Findings, Report
from storage.verify_shard import ShardTask, verify_shard
from storage.verify_snapshots import verify_snapshots
from storage.verify_wal import WalPlace

__all__ = ["Progress", "StoragePlace", "verify_storage"]


@dataclass(frozen=True, slots=True)
class StoragePlace:
    """A storage: its objects, and the directory with the WALs of all shards, or None where no disk has them."""

    name: str
    objects: ObjectStore
    fs: FileSystem
    wal_directory: str | None
    clock: Clock

    def wal_of(self, shard: int) -> WalPlace:
        """Where the WAL of one shard may be."""
        directory = None if self.wal_directory is None else f"{self.wal_directory}/{shard:04d}"
        return WalPlace(self.objects, self.fs, directory, self.clock)


@dataclass(slots=True)
class Progress:
    """How far a verification is: segments and their bytes, of those that the newest manifests named at first."""

    shard: int = 0
    segments: int = 0
    segments_all: int = 0
    bytes: int = 0
    bytes_all: int = 0


def verify_storage(
    place: StoragePlace, *, deep: bool, read_wal: bool = True, on_progress: Callable[[Progress], None] | None = None
) -> Report:
    """Look at everything that the storage holds. Raises NotFound when there is none, Unavailable, InvalidSettings."""
    report, found = Report(place.name, deep), Findings()
    try:
        placements, size = placements_of(place.objects, found)
    except NotFound as error:
        raise NotFound(f"there is no malamute in {place.name}: {FORMAT_KEY} is not there") from error
    shards = placements.next_shard
    catalog, versions = catalog_of(place.objects, shards, found)
    report.root_objects, report.root_bytes = versions.count + (size > 0), versions.bytes + size
    note_strangers(place.objects, shards, found)
    progress, started = _foreseen(place, placements.serving)
    if versions.count == 0 and progress.segments_all:
        found.add(MISSING, CATALOG_PREFIX, "there is no catalog: no query finds a stream, though there are segments")
        catalog = None
    snapshots, size = verify_snapshots(place.objects, place.clock, shards, found)
    report.root_objects, report.root_bytes = report.root_objects + snapshots, report.root_bytes + size
    report.take(found)

    def on_segment(segment: Segment) -> None:
        progress.segments += 1
        progress.bytes += segment.bytes
        if on_progress is not None:
            on_progress(progress)

    for shard in range(shards):
        progress.shard = shard
        heirs = placements.serving if shard in placements.retired else ()
        is_placed = shard in placements.current.shards
        where = place.wal_of(shard)
        task = ShardTask(shard, where, catalog, deep, read_wal, on_segment, started, heirs, is_placed)
        seen, found = verify_shard(task)
        seen.findings, seen.warnings = report.take(found)
        report.shards.append(seen)
    return report


def _foreseen(place: StoragePlace, shards: Iterable[int]) -> tuple[Progress, int]:
    """What is to be read, as far as manifests can be read, and how many shards have one."""
    progress, started = Progress(), 0
    for shard in shards:
        try:
            manifest = ManifestStore(place.objects, ShardId(shard), place.clock).load()
        except MalamuteError:
            continue  # the shard's own verification says so
        if manifest is not None:
            started += 1
            progress.segments_all += len(manifest.segments)
            progress.bytes_all += sum(segment.bytes for segment in manifest.segments)
    return progress, started
