"""Owns what can still be told of one producer: its sequences, positions and offsets, and where they are. Read-only.

Batches keep their producer and sequence in the WAL only. Segments hold events without them, so below the WAL floor
there is what the kept manifests say: the last batch of each producer at the time of each flush.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.batch import OFFSET
from core.errors import Corrupt, MalamuteError, NotFound
from core.ids import ShardId
from storage.keys import manifest_prefix
from storage.manifest import Manifest, ManifestStore
from storage.manifest_format import decode_manifest
from storage.objects import ObjectStore
from storage.placements import Placements
from storage.producers import ProducerKey, ProducerState
from storage.snapshot import Segment
from storage.verify import StoragePlace
from storage.verify_manifests import placements_of
from storage.verify_report import Findings
from storage.verify_wal import located
from storage.wal_format import BatchRecord, DuplicatesRecord

UNTOLD: Final = (
    "segments hold events without their producer and sequence: of batches below the WAL floor only those are told "
    "apart that were the last of the producer when a manifest that is still kept was published"
)
FORGOTTEN: Final = "a producer that was idle for a week is forgotten, and with it that it ever wrote"


@dataclass(frozen=True, slots=True)
class Held:
    """How many events of a range of offsets one object holds."""

    where: str
    events: int


@dataclass(slots=True)
class Batch:
    """One batch that can still be told apart. `source` is what tells of it: the WAL, or a version of the manifest.

    Offsets are -1 when all of its events were duplicates by id.
    """

    epoch: int
    sequence: int
    first_offset: int
    last_offset: int
    position: bytes | None
    source: str
    stored: list[Held] = field(default_factory=list)


@dataclass(slots=True)
class Trace:
    """What one shard knows of a producer: its newest state, its batches by offset, and what cannot be told."""

    shard: int
    wal_floor: int
    state: ProducerState
    batches: list[Batch]
    untold: list[str]

    def to_plain(self) -> dict[str, Any]:
        """Everything, as what JSON can hold; positions as text where they are text."""
        plain = asdict(self)
        for part in (plain["state"], *plain["batches"]):
            part["position"] = position_text(part["position"])
        return plain


def position_text(position: bytes | None) -> str | None:
    """A position for people; bytes that are no text, or that a terminal obeys, are escaped."""
    if position is None:
        return None
    text = position.decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def audit_producer(place: StoragePlace, tenant: str, stream: str, producer: str) -> list[Trace]:
    """What each shard that knows the producer can tell. Raises NotFound when none does, Corrupt, Unavailable."""
    placements, _ = placements_of(place.objects, Findings())
    key: ProducerKey = (tenant, stream, producer)
    shards = range(placements.next_shard)
    traces = [trace for shard in shards if (trace := _trace(place, shard, key, placements)) is not None]
    if not traces:
        raise NotFound(f"no shard knows producer {producer!r} of stream {tenant}/{stream}: {FORGOTTEN}")
    return traces


def _trace(place: StoragePlace, shard: int, key: ProducerKey, placements: Placements) -> Trace | None:
    manifest = ManifestStore(place.objects, ShardId(shard), place.clock).load()
    if manifest is None:
        return None
    # By first offset (below 0: nothing is stored); what is nearer to the batch itself replaces what is farther.
    batches: dict[int, Batch] = {}
    for version, state in _told_by_manifests(place.objects, shard, key):
        if state.first_offset >= 0 and state.shard < 0:  # the shard that took the batch tells of it
            source = f"manifest version {version}"
            offsets = (state.first_offset, state.last_offset)
            batch = Batch(state.epoch, state.last_sequence, *offsets, state.position, source)
            batches.setdefault(state.first_offset, batch)
    untold = _from_wal(place, manifest, key, batches)
    known = manifest.producers.get(key)
    if known is None and not batches:
        return None
    ordered = [batches[first] for first in sorted(batches)]
    for batch in ordered:
        batch.stored += _stored(place.objects, manifest, key, batch)
    newest = known or ProducerState(ordered[-1].epoch)
    for batch in ordered:
        if (batch.epoch, batch.sequence) > (newest.epoch, newest.last_sequence):
            offsets = (batch.first_offset, batch.last_offset)
            newest = ProducerState(batch.epoch, batch.sequence, *offsets, batch.position or newest.position)
    told = [*untold, *_holes(ordered, newest), *_moves(shard, newest, key, placements)]
    return Trace(shard, manifest.wal_floor, newest, ordered, told)


def _moves(shard: int, newest: ProducerState, key: ProducerKey, placements: Placements) -> list[str]:
    """Where the producer came from and went to."""
    told = []
    if newest.shard >= 0:
        told.append(f"its last batch was taken by shard {newest.shard}: it came here with its sequence and position")
    if shard in placements.retired:
        told.append(f"shard {shard} is retired: placement {placements.current.version} has the producer elsewhere")
    elif placements.version and placements.current.shard_of(*key) != shard:
        told.append(
            f"placement {placements.current.version} pins it to shard {placements.current.shard_of(*key)} (in a stream "
            "with a dedup key it writes to all shards)"
        )
    return told


def _told_by_manifests(objects: ObjectStore, shard: int, key: ProducerKey) -> list[tuple[int, ProducerState]]:
    """(version, state) from every kept manifest that reads, oldest first."""
    told = []
    for info in objects.list(manifest_prefix(shard)):
        try:
            manifest = decode_manifest(objects.get(info.key))
        except (NotFound, Corrupt):
            continue  # deleted since, or damaged: `verify` says so
        state = manifest.producers.get(key)
        if state is not None:
            told.append((manifest.version, state))
    return told


def _from_wal(place: StoragePlace, manifest: Manifest, key: ProducerKey, batches: dict[int, Batch]) -> list[str]:
    """Add the batches that the WAL holds; returns why there may be more."""
    wal = place.wal_of(manifest.shard)
    if manifest.wal_start is None and wal.directory is None:
        return ["the WAL is on a local disk that was not named: batches above the WAL floor are not shown"]
    try:
        for where, position, record in located(wal, manifest):
            if (record.tenant, record.stream, record.producer) != key:
                continue
            name = where.rpartition("/")[2]
            source = f"WAL {name} at {position}" if position else f"WAL {name}"
            if isinstance(record, DuplicatesRecord):
                none = Batch(record.producer_epoch, record.sequence, -1, -1, record.position, source)
                batches[-1 - len(batches)] = none
            elif isinstance(record, BatchRecord):
                last = record.first_offset + record.rows - 1
                batch = Batch(
                    record.producer_epoch, record.sequence, record.first_offset, last, record.position, source
                )
                if last >= manifest.wal_floor:
                    batch.stored.append(Held(where, record.rows))
                batches[record.first_offset] = batch
    except (MalamuteError, OSError) as error:
        return [f"the WAL could not be read to its end, later batches are not shown: {error}"]
    return []


def _stored(objects: ObjectStore, manifest: Manifest, key: ProducerKey, batch: Batch) -> list[Held]:
    """The segments that hold events of the batch's offsets, when it lies below the WAL floor."""
    if batch.first_offset >= manifest.wal_floor:
        return []
    held = []
    for segment in manifest.segments:
        overlaps = segment.first_offset <= batch.last_offset and segment.last_offset >= batch.first_offset
        if (segment.tenant, segment.stream) == key[:2] and overlaps:
            events = _events_of(objects, segment, batch)
            if events:
                held.append(Held(segment.name, events))
    return held


def _events_of(objects: ObjectStore, segment: Segment, batch: Batch) -> int:
    try:
        # In this thread: one of Arrow's that still holds the bytes when the program ends would abort it.
        table = pq.read_table(pa.BufferReader(objects.get(segment.name)), columns=[OFFSET], use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise Corrupt(f"segment {segment.name} cannot be read: {error}: verify the storage") from error
    offsets = np.asarray(table.column(OFFSET))
    return int(((offsets >= batch.first_offset) & (offsets <= batch.last_offset)).sum())


def _holes(batches: list[Batch], newest: ProducerState) -> list[str]:
    """What is known to have been stored, but not where."""
    told: list[str] = []
    epochs = sorted({batch.epoch for batch in batches} | {newest.epoch})
    for epoch in epochs:
        following = 0
        for sequence in sorted(batch.sequence for batch in batches if batch.epoch == epoch):
            if sequence > following:
                span = f"{following}" if sequence == following + 1 else f"{following}-{sequence - 1}"
                told.append(
                    f"epoch {epoch}, sequence {span}: stored, in segments; their offsets are not known any more "
                    "(or all were duplicates by id)"
                )
            following = max(following, sequence + 1)
    older = epochs[0] - 1
    if older > 0:
        span = "epoch 1" if older == 1 else f"epochs 1-{older}"
        told.append(f"{span}: whatever was stored then is in segments; how many batches there were is not known")
    return [*told, UNTOLD] if told else told
