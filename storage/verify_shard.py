"""Owns verifying one shard: manifests, segments, WAL, producers, and that its offsets are dense and there once.

A shard may be served meanwhile. Segments are immutable, so one pass over them stands; what was published during it is
looked at afterwards, and the WAL is read again when a flush moved its floor away. What the newest manifest no longer
names when it is missed is not missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from core.errors import Corrupt, Fenced, MalamuteError, Unavailable
from core.ids import ShardId
from storage.catalog import Catalog
from storage.dedup_run import run_names
from storage.keys import (
    index_key,
    manifest_prefix,
    origin_of,
    segment_epoch,
    shard_prefix,
    wal_position_of,
    wal_prefix,
    writer_of,
)
from storage.manifest import Manifest, ManifestStore
from storage.named_snapshots import leased_names
from storage.snapshot import Segment
from storage.verify_ids import verify_ids
from storage.verify_manifests import check_manifests
from storage.verify_offsets import Coverage, Range, count_of, ranges_text, runs_from
from storage.verify_producers import WalRecords
from storage.verify_report import (
    CORRUPT,
    DOUBLE,
    GAP,
    MISSING,
    ORPHAN,
    RETRY,
    UNREADABLE,
    WRONG,
    Findings,
    ShardReport,
)
from storage.verify_segment import verify_segment
from storage.verify_wal import WalPlace, WalSeen, check_wal, is_served, note_failure, replay_wal
from storage.wal_object_format import FENCE_OBJECT_BYTES

# A round is repeated when a flush moved the floor during it: by default one comes every minute.
_ROUNDS_MAX: Final = 20

_LOST: Final = (
    "these events were acknowledged and are lost here: restore the segments that held them, with the manifest that "
    "names them, or send them again from their source"
)
_TWICE: Final = "queries count these events twice: restore the manifest from a backup"

OnSegment = Callable[[Segment], None]


@dataclass(frozen=True, slots=True)
class ShardTask:
    """What to verify: a shard, where it lies, what the catalog says, how thoroughly, whom to tell of each segment."""

    shard: int
    place: WalPlace
    catalog: Catalog | None
    deep: bool
    read_wal: bool
    on_segment: OnSegment
    started: int = 0  # shards of this storage that have a manifest
    heirs: tuple[int, ...] = ()  # of a shard that is retired: those that may have its segments now
    is_placed: bool = True  # False: no placement in force has it, so it need not have begun


def verify_shard(task: ShardTask) -> tuple[ShardReport, Findings]:
    """Look at everything of one shard; never changes anything."""
    return _ShardCheck(task).run()


class _ShardCheck:
    def __init__(self, task: ShardTask) -> None:
        self._task, self._place, self._objects = task, task.place, task.place.objects
        self._found = Findings(task.shard)
        self._report = ShardReport(task.shard, live=is_served(task.place.directory))
        self._manifests = ManifestStore(self._objects, ShardId(task.shard), task.place.clock)
        self._coverage = Coverage()
        self._verified: set[str] = set()
        self._gaps: list[Range] = []
        self._streams: set[tuple[str, str]] | None = None
        if task.catalog is not None:
            self._streams = {(tenant, name) for tenant, streams in task.catalog.tenants.items() for name in streams}

    def run(self) -> tuple[ShardReport, Findings]:
        counted = check_manifests(self._objects, self._task.shard, self._found)
        self._report.manifests, self._report.bytes = counted.count, counted.bytes
        manifest = self._newest()
        if manifest is None:
            self._without_manifest(counted.count)
            return self._report, self._found
        self._segments(manifest, 0)
        first, manifest = manifest, self._rest(manifest)
        self._missing(manifest, settled=manifest.version == first.version)
        self._ids(manifest)
        self._orphans(manifest)
        self._report.live = self._report.live or is_served(self._place.directory)
        self._report.epoch, self._report.manifest_version = manifest.epoch, manifest.version
        self._report.wal_floor = manifest.wal_floor
        return self._report, self._found

    def _newest(self) -> Manifest | None:
        """The newest manifest, with the segments of this shard's offsets, whoever has them."""
        try:
            return self._load()
        except Corrupt as error:
            if not self._found.has(CORRUPT):
                self._found.add(CORRUPT, manifest_prefix(self._task.shard), str(error))
        except MalamuteError as error:
            self._found.add(UNREADABLE, manifest_prefix(self._task.shard), str(error), RETRY)
        return None

    def _load(self) -> Manifest | None:
        manifest = self._manifests.load()
        if manifest is None:
            return None
        holders = [manifest]
        if self._task.heirs:
            heirs = sorted(self._task.heirs)
            stores = (ManifestStore(self._objects, ShardId(heir), self._place.clock) for heir in heirs)
            holders = [held for store in stores if (held := store.load()) is not None]
        own = (None, manifest.shard)
        held_by = ([s for s in holder.segments if origin_of(s.name) in own] for holder in holders)
        # Who has a higher number gave them away, and does not know what they were merged to since.
        return replace(manifest, segments=tuple(next(filter(None, held_by), ())))

    def _without_manifest(self, versions: int) -> None:
        where = manifest_prefix(self._task.shard)
        if versions or self._found.has(CORRUPT, UNREADABLE):
            message = "the newest manifest does not read: segments, WAL and producers of this shard were not verified"
            self._found.add(UNREADABLE, where, message, "restore the manifest and verify again")
        elif not self._task.is_placed:
            return
        elif self._task.started or self._objects.list(shard_prefix(self._task.shard)):
            message = "there is no manifest, so nothing of this shard is served; other shards or its segments are there"
            advice = "restore it from a backup; a launch that was cut off before this shard opened is no loss"
            self._found.add(MISSING, where, message, advice)

    # --- segments -------------------------------------------------------------------------------------------------

    def _segments(self, manifest: Manifest, settled: int) -> None:
        """Verify the segments not seen yet; their events from the offset `settled` on, and no others, are counted.

        What was merged meanwhile holds events that were counted where they were before.
        """
        fresh = {segment.name: segment for segment in manifest.segments if segment.name not in self._verified}
        for segment in sorted(fresh.values(), key=lambda item: (item.first_offset, item.name)):
            self._verified.add(segment.name)
            self._coverage.settle(min(max(segment.first_offset, settled), manifest.wal_floor))
            self._segment(segment, manifest, settled)
            self._task.on_segment(segment)
        self._coverage.settle(manifest.wal_floor)
        self._gaps += self._coverage.take_gaps()

    def _segment(self, segment: Segment, manifest: Manifest, settled: int) -> None:
        found = Findings(self._task.shard)
        seen = verify_segment(self._objects, segment, self._task.shard, self._task.deep, found)
        if self._streams is not None and (segment.tenant, segment.stream) not in self._streams:
            message = f"its stream {segment.tenant}/{segment.stream} is not in the catalog, so no query finds it"
            found.add(WRONG, segment.name, message, "restore the catalog")
        if found.has(MISSING, UNREADABLE, CORRUPT) and self._no_longer_named(segment):
            self._coverage.add_unknown(segment.first_offset, segment.last_offset)
            return
        self._found.extend(found)
        self._report.bytes += seen.bytes
        self._report.segments += seen.runs is not None
        self._report.indexes += seen.objects - 1 if seen.runs is not None and seen.objects else 0
        self._report.segment_events += seen.rows
        if seen.runs is None:
            self._coverage.add_unknown(segment.first_offset, segment.last_offset)
        else:
            self._doubles(self._coverage.add(runs_from(seen.runs, settled)), segment, manifest)

    def _no_longer_named(self, segment: Segment) -> bool:
        try:
            newest = self._load()
        except MalamuteError:
            return False
        return newest is not None and all(segment.name != other.name for other in newest.segments)

    def _doubles(self, doubles: list[Range], segment: Segment, manifest: Manifest) -> None:
        if not doubles:
            return
        first, last = doubles[0][0], doubles[-1][1]
        others = sorted(
            other.name
            for other in manifest.segments
            if other.name != segment.name and other.first_offset <= last and other.last_offset >= first
        )
        message = (
            f"{count_of(doubles)} events are in it and in another segment: offsets {ranges_text(doubles)}; "
            f"the other is among {', '.join(others[:3])}"
        )
        self._found.add(DOUBLE, segment.name, message, _TWICE)

    def _missing(self, manifest: Manifest, settled: bool) -> None:
        """Whether just as many events are in no segment as were erased on purpose; `settled`: nothing was meanwhile."""
        missing, erased = count_of(self._gaps), self._erased()
        where = manifest_prefix(self._task.shard)
        if missing > erased:
            but = f", {erased} of which were erased on purpose" if erased else ""
            message = (
                f"{missing} events below the WAL floor {manifest.wal_floor} are in no segment{but}: "
                f"offsets {ranges_text(self._gaps)}"
            )
            self._found.add(GAP, where, message, _LOST)
        elif missing < erased and settled and not self._found.has(MISSING, UNREADABLE, CORRUPT):
            message = f"it says that {erased} events were erased, {missing} are in no segment"
            self._found.add(WRONG, where, message, "what was deleted may be there again: delete it once more")

    def _erased(self) -> int:
        """How many events of this shard were erased on purpose, by whoever had them then."""
        shards = range(max((self._task.shard, *self._task.heirs)) + 1)
        count = 0
        for shard in shards if self._task.heirs else (self._task.shard,):
            try:
                manifest = ManifestStore(self._objects, ShardId(shard), self._place.clock).load()
            except MalamuteError:
                continue  # its own verification says so
            erased = {} if manifest is None else manifest.erased
            count += sum(rows for (origin, _), (rows, _) in erased.items() if origin == self._task.shard)
        return count

    # --- WAL ------------------------------------------------------------------------------------------------------

    def _rest(self, manifest: Manifest) -> Manifest:
        """Verify the WAL, and what was published meanwhile; returns the manifest that all of it is true of."""
        for _ in range(_ROUNDS_MAX):
            newest = self._newest() or manifest
            self._segments(newest, manifest.wal_floor)
            manifest = newest
            found = Findings(self._task.shard)
            seen, records = self._wal(manifest, found)
            again = self._newest() or manifest
            if again.version == manifest.version or not found.items:
                break
        self._found.extend(found)
        self._report.wal_events, self._report.producers = records.events, records.producers
        self._report.next_offset = seen.next_offset if seen else manifest.wal_floor
        if seen is not None:
            self._report.wal, self._report.wal_files = seen.where, seen.files
            self._report.bytes += seen.bytes
        return manifest

    def _wal(self, manifest: Manifest, found: Findings) -> tuple[WalSeen | None, WalRecords]:
        if not self._task.read_wal or manifest.version == 0:  # restored: nobody has begun a WAL yet
            return None, WalRecords(manifest, found, self._streams)
        where = self._place.directory if manifest.wal_start is None else wal_prefix(self._task.shard)
        lowest = check_wal(self._place, manifest, found)
        # From the floor on when what lies below it has a hole, which is harmless.
        for floor in sorted({lowest, manifest.wal_floor}):
            tried = Findings(self._task.shard)
            records = WalRecords(manifest, tried, self._streams)
            try:
                seen = replay_wal(self._place, manifest, floor, records.sink, tried)
            except (Corrupt, Unavailable, Fenced) as error:
                failure: Exception = error
                continue
            records.finish(where or "wal")
            found.extend(tried)
            return seen, records
        found.extend(tried)
        note_failure(self._place, manifest, failure, found)
        return None, records

    # --- ids ------------------------------------------------------------------------------------------------------

    def _ids(self, manifest: Manifest) -> None:
        """Verify the runs of ids, again when a flush replaced some of them meanwhile."""
        for _ in range(_ROUNDS_MAX):
            found = Findings(self._task.shard)
            size = verify_ids(self._objects, manifest, found)
            newest = self._newest() or manifest
            if not found.items or newest.id_runs == manifest.id_runs:
                break
            manifest = newest
        self._found.extend(found)
        self._report.bytes += size

    # --- orphans --------------------------------------------------------------------------------------------------

    def _orphans(self, manifest: Manifest) -> None:
        """Warn of what nothing refers to. Beside a running shard only what an older epoch left is looked at."""
        if self._task.heirs:
            return  # what is there of it is named by versions that nobody reads any more
        keys = [info.key for info in self._objects.list(shard_prefix(self._task.shard))]
        newest = self._newest() or manifest  # after the listing: what was published meanwhile is named
        segments = (*manifest.segments, *newest.segments)
        named = {segment.name for segment in segments}
        named |= {index_key(segment.name) for segment in segments if segment.index_bytes}
        removed = [segment.name for segment in (*manifest.removed, *newest.removed)]
        named |= {*removed, *map(index_key, removed)}
        named |= run_names(manifest.id_runs) | run_names(newest.id_runs)
        advice = "nothing: the shard removes it when it opens the next time"
        leased = self._leased()
        for key in self._unnamed(keys, named | leased) if leased is not None else ():
            if self._report.live and (segment_epoch(key) or 0) >= manifest.epoch:
                continue
            self._found.add(ORPHAN, key, "no manifest names it: a flush was cut off before it was published", advice)
        start = manifest.wal_start
        prefix = wal_prefix(self._task.shard)
        for log in self._objects.list(prefix):
            position = wal_position_of(log.key)
            if position is None or start is None:
                self._found.add(ORPHAN, log.key, "the WAL of this shard is not there", "remove it if it is not yours")
            elif position < start and log.size != FENCE_OBJECT_BYTES:
                self._found.add(ORPHAN, log.key, "all of it is in segments, and it was not removed", advice)

    def _leased(self) -> set[str] | None:
        """What named snapshots hold; None when one does not read, which is a finding: it may hold anything."""
        try:
            return leased_names(self._objects, self._place.clock.now_us())
        except (Corrupt, Unavailable):
            return None

    def _unnamed(self, keys: Iterable[str], named: set[str]) -> Iterable[str]:
        known = (manifest_prefix(self._task.shard), wal_prefix(self._task.shard))
        unnamed = (key for key in keys if key not in named and not key.startswith(known))
        return (key for key in unnamed if writer_of(key) is None)  # else it is an heir's, whose placement is to come
