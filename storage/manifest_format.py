"""Owns the manifest: what it holds, its bytes, its invariants. Pure; manifest.py moves it.

The format is described in docs/formats/manifest.md. Invariants, checked before every publish:
MAN-1 the version grows by one. MAN-2 one epoch has one writer (checked in manifest.py). MAN-3 the WAL floor and the
epoch never go back. MAN-4 a segment has rows, ordered bounds, and offsets of its own shard are below the WAL floor.
MAN-5 no segment name occurs twice. MAN-6 removed segments are there. MAN-7 a producer's (epoch, sequence) never goes
back. MAN-8 an added segment either holds offsets between the old and the new WAL floor, no more rows than those, or
replaces removed segments of its stream whose offsets span its own, or is another shard's and comes with a newer
placement. MAN-9 a shard's WAL is on the object store from its first manifest on or never, and its start never goes
back. MAN-10 the ids of a stream, once there, stay there; their watermark never goes back, and no run of ids is named
twice. MAN-11 a removed segment is not live, and only what was removed is forgotten. MAN-12 the placement that a shard
serves, and the one for which it gave its producers away, never go back. MAN-13 rows of removed segments are in those
that replace them, or are counted as erased; what is counted so never gets less.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import msgpack

from core.columns import ColumnKey
from core.errors import Corrupt, check
from core.placement import FIRST, Placement
from storage.dedup_run import IdRun, StreamIdRuns, run_names
from storage.envelope import seal, unseal
from storage.keys import origin_of
from storage.memtable import StreamKey
from storage.placements import pack_placement, unpack_placement
from storage.producers import ProducerKey, ProducerState
from storage.snapshot import ColumnStats, Segment

MAGIC: Final = b"MLMTMANI"
FORMAT_VERSION: Final = 4

# What a shard writes that never erased an event: an older release would take what is missing on purpose for lost.
FORMAT_VERSION_WITHOUT_ERASED: Final = 3

# What a shard writes without removed segments, which an older release would take for orphans, and that never was part
# of a change of the placement, in which an older release would not give its producers away.
FORMAT_VERSION_WITHOUT_REMOVED: Final = 2

# What a shard without ids of events writes besides: an older release, which would store duplicates, must not read on.
FORMAT_VERSION_WITHOUT_IDS: Final = 1

# A key that an older release passes over: to it the segments have no index.
INDEXES_KEY: Final = "indexes"

# A shard that has it keeps its WAL on the object store. An older release misses the WAL directory and does not serve.
WAL_START_KEY: Final = "wal_start"

# A key that an older release passes over: to it all segments are as flushed.
LEVELS_KEY: Final = "levels"

ID_RUNS_KEY: Final = "id_runs"  # from format version 2 on

REMOVED_KEY: Final = "removed"  # in format version 3, like the next two
PLACEMENT_KEY: Final = "placement"
SEALED_KEY: Final = "sealed"

# A key that an older release passes over: to it no segment was looked through for a delete.
DELETED_KEY: Final = "deleted_through"

ERASED_KEY: Final = "erased"  # from format version 4 on

Schema = tuple[tuple[str, str, str], ...]  # (name, path, kind) of each column


class WalStart(NamedTuple):
    """The first WAL object that a replay needs: the older ones, in this order, hold nothing above the WAL floor."""

    epoch: int
    number: int


class Erased(NamedTuple):
    """How many events were erased on purpose, from how many segments."""

    rows: int
    segments: int


# The shard that wrote the events and the number of the delete that erased them, 0 for retention.
ErasedKey = tuple[int, int]


class RemovedSegment(NamedTuple):
    """A segment that is in no version from `version` on, published at `at_us`, and whose files are still there."""

    name: str
    at_us: int
    version: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of everything that is true of a shard below its WAL floor.

    `writer` is a random number of the process that wrote it: two writers never write the same bytes. `wal_start` is
    None for a shard whose WAL is files on a disk. `removed` are those that garbage collection has to delete.
    `placement` is the one that the shard serves (None: the first); with `sealed` above its version it takes nothing any
    more until it serves that one. `erased` counts the events that this shard erased.
    """

    shard: int
    version: int
    epoch: int
    wal_floor: int = 0
    segments: tuple[Segment, ...] = ()
    producers: Mapping[ProducerKey, ProducerState] = field(default_factory=dict)
    created_at_us: int = 0
    writer: int = 0
    wal_start: WalStart | None = None
    id_runs: Mapping[StreamKey, StreamIdRuns] = field(default_factory=dict)
    removed: tuple[RemovedSegment, ...] = ()
    placement: Placement | None = None
    sealed: int = 0
    erased: Mapping[ErasedKey, Erased] = field(default_factory=dict)

    @property
    def served(self) -> int:
        """The version of the placement that the shard serves, or served until it was sealed."""
        return FIRST if self.placement is None else self.placement.version


@dataclass(frozen=True, slots=True)
class ManifestEdit:
    """One change: segments to add, names to remove, the new WAL floor and start, all producers (None: as they are).

    `id_runs` are all ids of the streams in it; those of other streams stay as they are. Files of the segments to remove
    are deleted later, by garbage collection; `forget` are names of removed ones whose files are gone. With a newer
    `placement`, segments to add may be another shard's, and `inherit` names the files that it still had to delete.
    `erased` are rows of removed segments that are in no added one; `deleted_through` is new of segments that
    stay.
    """

    add: tuple[Segment, ...] = ()
    remove: tuple[str, ...] = ()
    wal_floor: int | None = None
    producers: Mapping[ProducerKey, ProducerState] | None = None
    wal_start: WalStart | None = None
    id_runs: Mapping[StreamKey, StreamIdRuns] = field(default_factory=dict)
    forget: tuple[str, ...] = ()
    inherit: tuple[str, ...] = ()
    placement: Placement | None = None
    sealed: int | None = None
    erased: Mapping[ErasedKey, Erased] = field(default_factory=dict)
    deleted_through: Mapping[str, int] = field(default_factory=dict)


def apply_edit(current: Manifest, edit: ManifestEdit, now_us: int) -> Manifest:
    """The next version; raises InvariantViolation when the edit breaks one."""
    removed, forgotten = set(edit.remove), set(edit.forget)
    floor = current.wal_floor if edit.wal_floor is None else edit.wal_floor
    version, at_us = current.version + 1, max(now_us, current.created_at_us)
    still_removed = tuple(segment for segment in current.removed if segment.name not in forgotten)
    following = replace(
        current,
        version=version,
        wal_floor=floor,
        segments=(*_kept(current.segments, removed, edit.deleted_through), *edit.add),
        producers=current.producers if edit.producers is None else dict(edit.producers),
        created_at_us=at_us,
        wal_start=current.wal_start if edit.wal_start is None else edit.wal_start,
        id_runs={**current.id_runs, **edit.id_runs},
        removed=(*still_removed, *(RemovedSegment(name, at_us, version) for name in (*edit.remove, *edit.inherit))),
        placement=edit.placement or current.placement,
        sealed=current.sealed if edit.sealed is None else edit.sealed,
        erased=_more_erased(current.erased, edit.erased),
    )
    known = {segment.name for segment in current.segments}
    missing = sorted(removed - known)
    check(not missing, "MAN-6", "segments to remove are not there: %s", missing)
    strangers = sorted(forgotten - {segment.name for segment in current.removed})
    check(not strangers, "MAN-11", "segments to forget were not removed: %s", strangers)
    _check_added(current, edit, floor)
    check_successor(current, following)
    return following


def _check_added(current: Manifest, edit: ManifestEdit, floor: int) -> None:
    replaced = [segment for segment in current.segments if segment.name in set(edit.remove)]
    flushed = replacing = 0
    moves = edit.placement is not None and edit.placement.version > current.served
    for segment in edit.add:
        if moves and not _is_own(segment, current.shard):
            continue
        if current.wal_floor <= segment.first_offset and segment.last_offset < floor:
            flushed += segment.rows
            continue
        replacing += segment.rows
        inputs = [s for s in replaced if (s.tenant, s.stream) == (segment.tenant, segment.stream)]
        spans = bool(inputs) and min(s.first_offset for s in inputs) <= segment.first_offset
        spans = spans and segment.last_offset <= max(s.last_offset for s in inputs)
        values = (segment.name, segment.first_offset, segment.last_offset, current.wal_floor, floor)
        check(
            spans, "MAN-8", "segment %s of offsets %d-%d is neither new between floors %d and %d nor replaces", *values
        )
    rows = (sum(segment.rows for segment in replaced), replacing, sum(erased.rows for erased in edit.erased.values()))
    check(rows[0] == rows[1] + rows[2], "MAN-13", "%d removed rows became %d rows and %d erased ones", *rows)
    room = floor - current.wal_floor
    check(flushed <= room, "MAN-8", "%d flushed rows for %d offsets below the new WAL floor", flushed, room)


def _kept(
    segments: Sequence[Segment], removed: Collection[str], deleted_through: Mapping[str, int]
) -> Iterator[Segment]:
    for segment in segments:
        if segment.name not in removed:
            through = deleted_through.get(segment.name, 0)
            yield segment if through <= segment.deleted_through else replace(segment, deleted_through=through)


def _more_erased(before: Mapping[ErasedKey, Erased], more: Mapping[ErasedKey, Erased]) -> dict[ErasedKey, Erased]:
    erased = dict(before)
    for key, (rows, segments) in more.items():
        known = erased.get(key, Erased(0, 0))
        erased[key] = Erased(known.rows + rows, known.segments + segments)
    return erased


def _is_own(segment: Segment, shard: int) -> bool:
    """Whether the offsets of the segment are those of the shard that has it."""
    return origin_of(segment.name) in (None, shard)


def check_successor(current: Manifest, following: Manifest) -> None:
    """Check that `following` may come after `current`; raises InvariantViolation."""
    versions = (following.version, current.version)
    check(following.version == current.version + 1, "MAN-1", "version %d does not follow %d", *versions)
    floors = (following.wal_floor, current.wal_floor)
    check(following.wal_floor >= current.wal_floor, "MAN-3", "WAL floor %d is below %d", *floors)
    check(following.epoch >= current.epoch, "MAN-3", "epoch %d is below %d", following.epoch, current.epoch)
    starts = (following.wal_start, current.wal_start)
    if current.version > 0:
        check((following.wal_start is None) == (current.wal_start is None), "MAN-9", "WAL start %s after %s", *starts)
    if following.wal_start is not None and current.wal_start is not None:
        check(following.wal_start >= current.wal_start, "MAN-9", "WAL start %s is before %s", *starts)
    names: set[str] = set()
    for segment in following.segments:
        check(segment.name not in names, "MAN-5", "segment %s is there twice", segment.name)
        names.add(segment.name)
        offsets = (segment.name, segment.first_offset, segment.last_offset, segment.rows, following.wal_floor)
        below = segment.last_offset < following.wal_floor or not _is_own(segment, following.shard)
        within = 0 <= segment.first_offset <= segment.last_offset and below
        fits = 0 < segment.rows <= segment.last_offset - segment.first_offset + 1
        check(within and fits, "MAN-4", "segment %s of offsets %d-%d, %d rows, floor %d", *offsets)
    removed = [segment.name for segment in following.removed]
    live_again = sorted(names & set(removed))
    check(not live_again, "MAN-11", "removed segments are live: %s", live_again)
    check(len(set(removed)) == len(removed), "MAN-11", "a segment was removed twice among %d", len(removed))
    for key, state in following.producers.items():
        before = current.producers.get(key)
        if before is not None and state is not before:
            forward = (state.epoch, state.last_sequence) >= (before.epoch, before.last_sequence)
            check(forward, "MAN-7", "producer %s goes back from %s to %s", key, before, state)
    _check_id_runs(current, following)
    forward = following.served >= current.served and following.sealed >= current.sealed
    served = (following.served, following.sealed, current.served, current.sealed)
    check(forward, "MAN-12", "placement %d, sealed %d, after %d and %d", *served)
    fewer = sorted(key for key, erased in current.erased.items() if following.erased.get(key, Erased(0, 0)) < erased)
    check(not fewer, "MAN-13", "fewer rows are erased than were: %s", fewer)


def _check_id_runs(current: Manifest, following: Manifest) -> None:
    for key, before in current.id_runs.items():
        after = following.id_runs.get(key)
        forward = after is not None and after.watermark_us >= before.watermark_us
        check(forward, "MAN-10", "the ids of stream %s go back", key)
    runs = sum(len(stream.runs) for stream in following.id_runs.values())
    check(len(run_names(following.id_runs)) == runs, "MAN-10", "a run of ids is named twice among %d", runs)


class PackedSegments:
    """The packed form of segments, by name, kept from one manifest to the next: most of them are in both."""

    def __init__(self) -> None:
        self._packed: dict[str, tuple[Schema, bytes]] = {}
        self._schemas: dict[Schema, Schema] = {}  # each once, so that manifests compare them by identity

    @property
    def held(self) -> int:
        """How many segments are kept."""
        return len(self._packed)

    def of(self, segments: Sequence[Segment]) -> tuple[list[Schema], list[tuple[int, bytes]]]:
        """The schemas of the segments, and of each segment the number of its schema and its packed form."""
        packed = [self._packed.get(segment.name) or self._pack(segment) for segment in segments]
        if len(self._packed) > 2 * len(segments) + 64:
            names = [segment.name for segment in segments]
            self._packed = dict(zip(names, packed, strict=True))
            self._schemas = {schema: schema for schema, _ in packed}
        schemas = {id(schema): schema for schema, _ in packed}
        numbers = {key: number for number, key in enumerate(schemas)}
        return list(schemas.values()), [(numbers[id(schema)], data) for schema, data in packed]

    def _pack(self, segment: Segment) -> tuple[Schema, bytes]:
        schema: Schema = tuple((column.name, *column.key) for column in segment.columns)
        packed = self._schemas.setdefault(schema, schema), msgpack.packb(_pack_segment(segment), use_bin_type=True)
        self._packed[segment.name] = packed
        return packed


def encode_manifest(manifest: Manifest, packed: PackedSegments | None = None) -> bytes:
    """The bytes of a manifest. `packed` keeps the packed form of segments between calls."""
    schemas, segments = (PackedSegments() if packed is None else packed).of(manifest.segments)
    body = {
        "shard": manifest.shard,
        "version": manifest.version,
        "epoch": manifest.epoch,
        "writer": manifest.writer,
        "created_at_us": manifest.created_at_us,
        "wal_floor": manifest.wal_floor,
        "schemas": schemas,
        "segments": segments,
        "producers": [(*key, *_pack_producer(manifest.producers[key])) for key in sorted(manifest.producers)],
    }
    if any(segment.index_bytes for segment in manifest.segments):
        body[INDEXES_KEY] = [(segment.index_bytes, segment.index_crc32c) for segment in manifest.segments]
    if any(segment.level for segment in manifest.segments):
        body[LEVELS_KEY] = [(segment.level, segment.first_key, segment.last_key) for segment in manifest.segments]
    if manifest.wal_start is not None:
        body[WAL_START_KEY] = list(manifest.wal_start)
    version = FORMAT_VERSION_WITHOUT_IDS
    if manifest.id_runs:
        body[ID_RUNS_KEY] = [(*key, ids.watermark_us, ids.runs) for key, ids in sorted(manifest.id_runs.items())]
        version = FORMAT_VERSION_WITHOUT_REMOVED
    if manifest.removed:
        body[REMOVED_KEY] = manifest.removed
        version = FORMAT_VERSION_WITHOUT_ERASED
    if manifest.placement is not None or manifest.sealed:
        body[PLACEMENT_KEY] = None if manifest.placement is None else pack_placement(manifest.placement)
        body[SEALED_KEY] = manifest.sealed
        version = FORMAT_VERSION_WITHOUT_ERASED
    if any(segment.deleted_through for segment in manifest.segments):
        body[DELETED_KEY] = [segment.deleted_through for segment in manifest.segments]
    if manifest.erased:
        body[ERASED_KEY] = [(*key, *erased) for key, erased in sorted(manifest.erased.items())]
        version = FORMAT_VERSION
    return seal(MAGIC, version, body)


def decode_manifest(data: bytes, what: str = "manifest") -> Manifest:
    """The manifest of encode_manifest; raises Corrupt on any damage and on newer formats. `what` names it."""
    _, body = unseal(MAGIC, FORMAT_VERSION, data, what)
    try:
        schemas = [[(name, ColumnKey(path, kind)) for name, path, kind in schema] for schema in body["schemas"]]
        indexes = body.get(INDEXES_KEY, [(0, 0)] * len(body["segments"]))
        levels = body.get(LEVELS_KEY, [(0, (), ())] * len(body["segments"]))
        deleted = body.get(DELETED_KEY, [0] * len(body["segments"]))
        segments = (
            _unpack_segment(msgpack.unpackb(packed, raw=False), schemas[schema], index, level, through)
            for (schema, packed), index, level, through in zip(body["segments"], indexes, levels, deleted, strict=True)
        )
        return Manifest(
            shard=body["shard"],
            version=body["version"],
            epoch=body["epoch"],
            wal_floor=body["wal_floor"],
            segments=tuple(segments),
            producers={(p[0], p[1], p[2]): ProducerState(*p[3:]) for p in body["producers"]},
            created_at_us=body["created_at_us"],
            writer=body["writer"],
            wal_start=WalStart(*body[WAL_START_KEY]) if WAL_START_KEY in body else None,
            id_runs={
                (tenant, stream): StreamIdRuns(watermark_us, tuple(IdRun(*run) for run in runs))
                for tenant, stream, watermark_us, runs in body.get(ID_RUNS_KEY, ())
            },
            placement=unpack_placement(body[PLACEMENT_KEY]) if body.get(PLACEMENT_KEY) else None,
            sealed=body.get(SEALED_KEY, 0),
            removed=tuple(RemovedSegment(*segment) for segment in body.get(REMOVED_KEY, ())),
            erased={(origin, delete): Erased(rows, count) for origin, delete, rows, count in body.get(ERASED_KEY, ())},
        )
    except (KeyError, IndexError, TypeError, ValueError, msgpack.UnpackException) as error:
        raise Corrupt(f"{what} has a body of an unexpected shape: {error!r}") from error


def _pack_producer(state: ProducerState) -> tuple[Any, ...]:
    offsets = (state.first_offset, state.last_offset)
    packed = (state.epoch, state.last_sequence, *offsets, state.position, state.last_seen_us)
    judged = (state.duplicate_ids, state.late)
    if state.shard >= 0:
        return (*packed, *judged, state.shard)
    return (*packed, *judged) if any(judged) else packed


def _pack_segment(segment: Segment) -> tuple[Any, ...]:
    # Columns as three lists: values, minima, maxima; their names are in the schema.
    return (
        segment.name,
        segment.tenant,
        segment.stream,
        segment.window_start_us,
        segment.window_end_us,
        segment.rows,
        segment.bytes,
        segment.crc32c,
        segment.timestamp_min_us,
        segment.timestamp_max_us,
        segment.first_offset,
        segment.last_offset,
        segment.has_rest,
        segment.sort_key,
        [column.values for column in segment.columns],
        [column.minimum for column in segment.columns],
        [column.maximum for column in segment.columns],
    )


def _unpack_segment(
    packed: list[Any],
    schema: list[tuple[str, ColumnKey]],
    index: Sequence[int],
    leveled: Sequence[Any],
    deleted_through: int,
) -> Segment:
    *head, sort_key, values, minima, maxima = packed
    columns = tuple(
        ColumnStats(name, key, count, minimum, maximum)
        for (name, key), count, minimum, maximum in zip(schema, values, minima, maxima, strict=True)
    )
    index_bytes, index_crc32c = index
    level, first_key, last_key = leveled
    keys = (tuple(first_key), tuple(last_key))
    return Segment(*(*head, tuple(sort_key), columns, index_bytes, index_crc32c, level, *keys, deleted_through))
