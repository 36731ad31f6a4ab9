"""Makes small stores with the real shard for tests of the verification, and changes them as damage would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from core.append import LOCAL, OBJECT, AppendRequest
from core.clock import ManualClock
from storage.catalog import CatalogStore
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.manifest import Manifest
from storage.manifest_format import decode_manifest, encode_manifest
from storage.objects import ObjectStore
from storage.shard import Shard
from storage.storage_format import open_storage
from storage.stream_settings import StreamSettings
from storage.verify import StoragePlace, verify_storage
from storage.verify_report import Report
from tests.support.shards import TENANT, body, open_on, open_on_objects

START_US = 1_700_000_000_000_000
DAY_US = 86_400_000_000
STREAMS = ("logs", "spans")


def fill(shard: Shard, level: str = LOCAL) -> None:
    """Two flushes of two streams over two days, by two producers that take turns, and a WAL that goes on."""
    epochs = {name: shard.open_producer(TENANT, stream, name).epoch for name, stream in zip("ab", STREAMS, strict=True)}
    for sequence in range(7):
        for name, stream in zip("ab", STREAMS, strict=True):
            first = sequence * 20
            data = body(range(first, first + 10), START_US + (sequence % 2) * DAY_US)
            position = b"at %d" % sequence if name == "a" else None
            shard.append(AppendRequest(TENANT, stream, name, epochs[name], sequence, data, level, position=position))
        if sequence in (2, 4):
            shard.flush()


@dataclass(frozen=True, slots=True)
class SmallStore:
    """A store on a local directory."""

    root: Path
    on_objects: bool = False

    @property
    def objects(self) -> LocalObjectStore:
        return LocalObjectStore(str(self.root), LocalFileSystem())

    @property
    def wal(self) -> Path:
        """The directory of the shard's WAL."""
        return self.root / "wal" / "0000"

    def make(self) -> SmallStore:
        """Fill it and kill its shard."""
        shard = begin(self.objects, None if self.on_objects else str(self.wal))
        fill(shard, OBJECT if self.on_objects else LOCAL)
        shard.abandon()
        return self

    def verify(self, deep: bool = True) -> Report:
        place = place_of(self.objects, str(self.root / "wal"))
        return verify_storage(place, deep=deep)

    def files(self) -> dict[str, bytes]:
        """Every file by its path below the root, but for the lock."""
        found = {str(path.relative_to(self.root)): path for path in self.root.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in sorted(found.items()) if path.name != "LOCK"}

    def one(self, pattern: str) -> Path:
        """The first file that matches."""
        return sorted(self.root.glob(pattern))[0]

    def manifest_path(self) -> Path:
        return sorted(self.root.glob("shards/0000/manifest/*"))[-1]

    def manifest(self) -> Manifest:
        return decode_manifest(self.manifest_path().read_bytes())

    def change_manifest(self, change: Callable[[Manifest], Manifest]) -> None:
        """Put another newest manifest, of right checksum, in the place of the newest."""
        self.manifest_path().write_bytes(encode_manifest(change(self.manifest())))

    def change_segment(self, at: int, **values: object) -> None:
        """Let the manifest say something else of one segment."""

        def change(manifest: Manifest) -> Manifest:
            segments = list(manifest.segments)
            segments[at] = replace(segments[at], **values)
            return replace(manifest, segments=tuple(segments))

        self.change_manifest(change)


def begin(objects: ObjectStore, wal_directory: str | None, clock: ManualClock | None = None) -> Shard:
    """A new storage of one shard with two streams; its shard is open."""
    clock = clock or ManualClock(START_US)
    open_storage(objects, 1)
    catalog = CatalogStore(objects, clock, 1)
    for stream in STREAMS:
        catalog.ensure_stream(TENANT, StreamSettings(stream))
    if wal_directory is None:
        return open_on_objects(objects, clock=clock)
    return open_on(LocalFileSystem(), clock=clock, objects=objects, wal_directory=wal_directory)


def place_of(objects: ObjectStore, wal_directory: str | None) -> StoragePlace:
    return StoragePlace("the store", objects, LocalFileSystem(), wal_directory, ManualClock(START_US))


def kinds(report: Report) -> set[str]:
    """The kinds of all findings, warnings too."""
    return {finding.kind for finding in report.findings}


__all__ = ["DAY_US", "START_US", "STREAMS", "SmallStore", "begin", "fill", "kinds", "place_of"]
