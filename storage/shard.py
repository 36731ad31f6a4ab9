"""Owns one shard: deduplicate → WAL → memtable → flush, and the snapshot that readers get. Plain threads, no Ray.

A shard has one owner at a time: locally by the lock on the WAL directory, everywhere by the epoch in the manifest, and
with the WAL on the object store by the fence that ends the log of the owner before. Every caller brings its own
thread; appends of several callers share one fdatasync or one object.

Invariants: SHD-1 an append is acknowledged only after its WAL record reached the level it names. SHD-2 the memtable
holds committed batches only, in offset order. SHD-3 the manifest's producers are those of its WAL floor: a batch above
the floor is known from the WAL alone. SHD-4 a flush writes every row that it took. SHD-5 which events
of a batch are duplicates by id is decided in offset order, before its WAL record, which says it; the next batch knows
its ids once the record is queued, and the manifest knows them together with its segments.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from core.append import MEMORY, Ack, AppendRequest, ProducerOpened, check_request
from core.batch import check_batch, decode_batch
from core.clock import Clock
from core.errors import Corrupt, InvalidRequest, Moved, Overloaded, Unavailable, check
from core.ids import ShardId, check_name, check_producer_id
from core.limits import PRODUCER_IDLE_S_MAX, PRODUCERS_MAX
from core.placement import FIRST, Placement
from storage.adoption import Change, adoption, sealed_manifests
from storage.dedup import BatchIds, DedupRule, Judged, stored_part
from storage.dedup_flush import write_runs
from storage.dedup_run import StreamIdRuns, run_names
from storage.dedup_streams import DedupStreams, rule_of
from storage.fs import DirectoryLock
from storage.garbage import delete_garbage, forgetting
from storage.keys import origin_of, segment_number
from storage.manifest import Manifest, ManifestEdit, ManifestStore
from storage.memtable import Memtable, StreamKey, batch_bytes, stamp
from storage.named_snapshots import leased_names
from storage.objects import ObjectStore
from storage.producers import ProducerKey, ProducerState, Verdict, accepted, judge, opened, retained
from storage.replacement import SegmentChange
from storage.segment_writer import write_segments
from storage.shard_state import Accepted, Counters, Pending, ShardState
from storage.snapshot import Segment, StreamSnapshot
from storage.stream_settings import StreamSettings
from storage.wal import OnCommitted, Ticket, WriteAheadLog
from storage.wal_batch import advanced
from storage.wal_format import BatchRecord, DuplicatesRecord, IdVerdict, OpenProducerRecord, WalRecord

# How long a refused producer should wait: a flush of one full memtable takes about a second on one core.
RETRY_AFTER_S = 0.2


@dataclass(frozen=True, slots=True)
class ShardOptions:
    """Sizes in bytes, ages in seconds."""

    shard: ShardId
    memtable_bytes_target: int
    memtable_bytes_max: int
    flush_age_s: float
    wal_file_bytes_target: int
    admission_wait_s: float = 0.0  # how long an append waits for room before it is refused


class Shard:
    """One open shard. Made by storage.recovery.open_shard."""

    def __init__(
        self,
        options: ShardOptions,
        state: ShardState,
        *,
        wal_factory: Callable[[OnCommitted], WriteAheadLog],
        manifests: ManifestStore,
        objects: ObjectStore,
        stream_settings: Callable[[str, str], StreamSettings],
        clock: Clock,
        lock: DirectoryLock | None,
    ) -> None:
        self.options = options
        self._objects = objects
        self._manifests = manifests
        self.stream_settings = stream_settings
        self._clock = clock
        self._directory_lock = lock
        self._lock = threading.Condition()  # guards all below; notified when a flush made room
        self._flush_lock = threading.Lock()
        self._manifest = state.manifest
        self._active = state.memtable
        self._frozen: Memtable | None = None
        self._frozen_producers: dict[ProducerKey, ProducerState] = {}
        self._committed = dict(state.producers)
        self._pending = Pending(dict(state.producers))
        self._next_offset = state.memtable.next_offset
        self._numbers = itertools.count(1)
        self._ids = DedupStreams(options.shard, objects, stream_settings, self._stored, state.manifest.placement)
        self._sealed = state.manifest.sealed
        self._doomed_runs: set[str] = set()  # guarded by _flush_lock
        self._counters = Counters()
        self._torn_tails = state.torn_tails
        self._replayed_rows = state.replayed_rows
        self._wal = wal_factory(self._on_committed)

    # --- writes ---------------------------------------------------------------------------------------------------

    def append(self, request: AppendRequest) -> Ack:
        """Store one batch and return when it has reached its level. Blocks; call it from many threads.

        Raises InvalidRequest, SequenceGap, Fenced, Overloaded (nothing was written), Unavailable (the WAL is
        poisoned, nothing was written), Moved (it was not written before, and never will be here) or UnknownOutcome
        (retry with the same sequence).
        """
        check_request(request)
        level = self._wal.granted(request.level)
        producer: ProducerKey = (request.tenant, request.stream, request.producer)
        batch = self._decode(request)
        id_streams = self._ids
        placed = self._refusal(request.placement) is None
        ids = id_streams.ids_of((request.tenant, request.stream), batch) if placed else None
        with self._lock:
            verdict = self._judge(request, producer, id_streams)
            if verdict is Verdict.NEXT and not self._has_room(batch):
                self._lock.wait_for(lambda: self._has_room(batch), self.options.admission_wait_s)
                verdict = self._judge(request, producer, id_streams)  # much may have happened meanwhile
            if verdict is Verdict.NEXT:
                self._admit(batch)
                state, ticket = self._enqueue(request, producer, batch, ids)
            else:
                # A batch that was committed at a lower level, or replayed from a tail, must reach this level too:
                # logging the open epoch again is harmless and makes everything before it durable.
                record = OpenProducerRecord(*producer, request.epoch)
                ticket = self._wal.enqueue(record, sync=level != MEMORY)
        self._wal.commit(ticket)
        if verdict is Verdict.DUPLICATE:
            return self._duplicate(request, producer, level)
        return self._ack(state, level, False)

    def open_producer(self, tenant: str, stream: str, producer_id: str, placement: int = FIRST) -> ProducerOpened:
        """Begin the producer's next epoch, durably, and fence its older ones. Raises Moved, see append."""
        check_name("tenant", tenant)
        check_name("stream", stream)
        producer: ProducerKey = (tenant, stream, check_producer_id(producer_id))
        with self._lock:
            refusal = self._refusal(placement)
            if refusal is not None:
                raise refusal
            before = self._pending.producers.get(producer)
            state = opened(before, before.epoch + 1 if before else 1, self._clock.now_us())
            ticket = self._wal.enqueue(OpenProducerRecord(*producer, state.epoch), sync=True)
            self._pending.producers[producer] = state
        self._wal.commit(ticket)
        # The position is stored: what was before the record in the log is committed with it. Another opener may have
        # been faster since; this caller's epoch is then fenced at its first append.
        return ProducerOpened(state.epoch, state.position)

    def _decode(self, request: AppendRequest) -> pa.RecordBatch:
        try:
            return check_batch(decode_batch(request.body))
        except Corrupt as error:
            raise InvalidRequest(str(error)) from error

    def _judge(self, request: AppendRequest, producer: ProducerKey, id_streams: DedupStreams) -> Verdict:
        state = self._pending.producers.get(producer)
        refusal = self._refusal(request.placement)
        if refusal is None and id_streams is not self._ids:
            refusal = Unavailable(f"shard {self.options.shard} took over ids of another meanwhile: retry")
        if refusal is not None:
            if state is not None and state.epoch == request.epoch and request.sequence <= state.last_sequence:
                return Verdict.DUPLICATE
            raise refusal
        return judge(state, producer, request.epoch, request.sequence)

    def _refusal(self, placement: int) -> Unavailable | None:
        """Why nothing is taken that was routed by this version of the placement; None when it is."""
        served, shard = self._manifest.served, self.options.shard
        if placement < max(served, self._sealed):
            newest = max(served, self._sealed)
            return Moved(f"shard {shard} gives its producers away to placement {newest}: ask for it", placement=newest)
        if placement > served:
            return Unavailable(f"shard {shard} does not serve placement {placement} yet: retry")
        return None

    def _held_bytes(self) -> int:
        return self._active.bytes + (self._frozen.bytes if self._frozen else 0) + self._pending.bytes

    def _has_room(self, batch: pa.RecordBatch) -> bool:
        held = self._held_bytes()
        return held == 0 or held + batch_bytes(batch) <= self.options.memtable_bytes_max

    def _admit(self, batch: pa.RecordBatch) -> None:
        if not self._has_room(batch):
            self._counters.overloaded += 1
            raise Overloaded(
                f"shard {self.options.shard} holds {self._held_bytes()} unflushed bytes of at most "
                f"{self.options.memtable_bytes_max}: send again in {RETRY_AFTER_S} s",
                retry_after=RETRY_AFTER_S,
            )

    def _enqueue(
        self, request: AppendRequest, producer: ProducerKey, batch: pa.RecordBatch, ids: BatchIds | None
    ) -> tuple[ProducerState, Ticket]:
        first_offset, now_us = self._next_offset, self._clock.now_us()
        stream: StreamKey = (request.tenant, request.stream)
        judged = None if ids is None else self._ids.judge(stream, ids, now_us)
        if judged is not None and judged.duplicates == batch.num_rows:
            return self._enqueue_nothing(request, producer, judged, now_us)
        if judged is not None:
            batch = stored_part(batch, judged.kept, judged.late_before_us)
        record = BatchRecord(
            tenant=request.tenant,
            stream=request.stream,
            producer=request.producer,
            producer_epoch=request.epoch,
            sequence=request.sequence,
            position=request.position,
            first_offset=first_offset,
            rows=batch.num_rows,
            ingested_at_us=now_us,
            body=request.body,
            verdict=None if judged is None else _verdict(judged),
        )
        ticket = self._wal.enqueue(record, sync=request.level != MEMORY)
        if judged is not None:
            self._ids.take(stream, judged)
        counts = (judged.duplicates, judged.late) if judged is not None else (0, 0)
        state = self._pending.producers[producer]
        state = accepted(state, request.sequence, first_offset, batch.num_rows, request.position, now_us, *counts)
        self._pending.producers[producer] = state
        stamped = stamp(batch, first_offset, now_us)
        self._pending.batches[first_offset] = Accepted(stream, producer, stamped, state)
        self._pending.bytes += batch_bytes(stamped)
        self._next_offset = first_offset + batch.num_rows
        return state, ticket

    def _enqueue_nothing(
        self, request: AppendRequest, producer: ProducerKey, judged: Judged, now_us: int
    ) -> tuple[ProducerState, Ticket]:
        """A batch of duplicates only: its producer goes on, as durably as if something had been stored."""
        record = DuplicatesRecord(
            *producer, request.epoch, request.sequence, request.position, now_us, judged.duplicates
        )
        ticket = self._wal.enqueue(record, sync=request.level != MEMORY)
        state = self._pending.producers[producer] = advanced(self._pending.producers[producer], record)
        return state, ticket

    def _duplicate(self, request: AppendRequest, producer: ProducerKey, level: str) -> Ack:
        with self._lock:
            self._counters.duplicates += 1
            state = self._committed.get(producer)  # None when another shard took the producer over meanwhile
        if state is None or (state.epoch, state.last_sequence) != (request.epoch, request.sequence):
            state = ProducerState(request.epoch)
        return self._ack(state, level, True)

    def _ack(self, state: ProducerState, level: str, duplicate: bool) -> Ack:
        offsets, counts = (state.first_offset, state.last_offset), (state.duplicate_ids, state.late)
        shard = self.options.shard if state.shard < 0 else state.shard
        return Ack(shard, self._manifest.epoch, *offsets, level, duplicate, *counts)

    def _on_committed(self, records: Sequence[WalRecord]) -> None:
        """Called by the WAL, in order, when `records` reached their level: only now they become visible."""
        with self._lock:
            for record in records:
                if not isinstance(record, BatchRecord):
                    key: ProducerKey = (record.tenant, record.stream, record.producer)
                    now_us = self._clock.now_us()
                    state = opened(self._committed.get(key), record.producer_epoch, now_us)
                    if isinstance(record, DuplicatesRecord):
                        state = advanced(state, record)
                        self._counters.batches += 1
                        self._counters.duplicate_ids += record.duplicates
                    self._committed[key] = state
                    continue
                entry = self._pending.batches.pop(record.first_offset)
                self._pending.bytes -= batch_bytes(entry.batch)
                self._active.insert(entry.stream, entry.batch, record.first_offset, self._clock.steady_s())
                self._committed[entry.producer] = entry.state
                self._counters.batches += 1
                self._counters.rows += record.rows
                self._counters.accepted_bytes += batch_bytes(entry.batch)
                self._counters.duplicate_ids += entry.state.duplicate_ids
                self._counters.late += entry.state.late

    # --- flush ----------------------------------------------------------------------------------------------------

    def flush_due(self) -> bool:
        """Whether the memtable is large or old enough to be flushed."""
        with self._lock:
            if self._frozen is not None:
                return True
            if self._active.rows == 0:
                return False
            old = self._active.oldest_s is not None and (
                self._clock.steady_s() - self._active.oldest_s >= self.options.flush_age_s
            )
            return old or self._active.bytes >= self.options.memtable_bytes_target

    def flush(self) -> int:
        """Write everything committed so far into segments, publish them, drop the WAL below. Returns the rows.

        After a failure the frozen memtable stays readable and the next flush tries again.
        """
        with self._flush_lock:
            frozen = self._freeze()
            if frozen is None:
                return 0
            try:
                segments, id_runs = self._write(frozen), self._write_ids(frozen)
                manifest = self._publish(frozen, segments, id_runs)
            except Exception as error:
                self._counters.flush_failures += 1
                self._counters.last_flush_error = f"{type(error).__name__}: {error}"
                raise
            self._wal.rotate()
            self._remove_wal(manifest)
            self._remove_runs()
            return frozen.rows

    def _freeze(self) -> Memtable | None:
        """Set the active memtable aside, or return the one that an earlier, failed flush left; None when empty."""
        with self._lock:
            if self._frozen is None and self._active.rows > 0:
                self._frozen = self._active
                self._frozen_producers = dict(self._committed)
                self._active = Memtable(self._frozen.next_offset)
            return self._frozen

    def _write(self, frozen: Memtable) -> list[Segment]:
        segments: list[Segment] = []
        for (tenant, stream), batches in frozen.batches.items():
            settings = self.stream_settings(tenant, stream)
            segments += write_segments(
                batches, tenant, settings, self.options.shard, new_name=self.new_number, objects=self._objects
            )
        written = sum(segment.rows for segment in segments)
        check(written == frozen.rows, "SHD-4", "flush wrote %d of %d rows", written, frozen.rows)
        return segments

    def _write_ids(self, frozen: Memtable) -> dict[StreamKey, StreamIdRuns]:
        written: dict[StreamKey, StreamIdRuns] = {}
        for key, batches in frozen.batches.items():
            rule = rule_of(self.stream_settings(*key))
            if rule is not None:
                before, shard = self._manifest.id_runs.get(key), self.options.shard
                written[key] = write_runs(
                    before, batches, key, rule, shard, new_name=self.new_number, objects=self._objects
                )
        return written

    def _remove_wal(self, manifest: Manifest) -> None:
        """Remove what is below the WAL floor; what cannot be removed is tried again after the next flush."""
        try:
            self._wal.remove_below(manifest.wal_floor, manifest.wal_start)
        except Unavailable:
            self._counters.delete_failures += 1

    def _remove_runs(self) -> None:
        """Delete the runs of ids that neither the manifest nor a named snapshot names; what stays is tried again."""
        try:
            leased = leased_names(self._objects, self._clock.now_us()) if self._doomed_runs else set()
            self._objects.delete(sorted(self._doomed_runs - leased))
        except (Corrupt, Unavailable):
            self._counters.delete_failures += 1
        else:
            self._doomed_runs &= leased

    def _stored(self, key: StreamKey) -> tuple[StreamIdRuns | None, list[pa.RecordBatch]]:
        """The runs of a stream's ids, and its events above the WAL floor, at one instant."""
        with self._lock:
            memtables = [self._active] if self._frozen is None else [self._frozen, self._active]
            batches = [batch for memtable in memtables for batch in memtable.snapshot(key)]
            return self._manifest.id_runs.get(key), batches

    def new_number(self) -> str:
        """A name part that no other segment or run of this shard ever had or will have: epoch and number within it."""
        return segment_number(self._manifest.epoch, next(self._numbers))

    def _publish(self, frozen: Memtable, segments: list[Segment], id_runs: dict[StreamKey, StreamIdRuns]) -> Manifest:
        producers = self._retained(self._frozen_producers)
        edit = ManifestEdit(
            add=tuple(segments),
            wal_floor=frozen.next_offset,
            producers=producers,
            wal_start=self._wal.start_at(frozen.next_offset),
            id_runs=id_runs,
        )
        before, manifest = self._manifest, self._manifests.publish(edit)
        self._doomed_runs |= run_names(before.id_runs) - run_names(manifest.id_runs)
        with self._lock:
            self._manifest = manifest
            self._frozen = None
            self._forget_idle_producers()
            self._lock.notify_all()
            self._counters.flushes += 1
            self._counters.flushed_rows += frozen.rows
        return manifest

    def _forget_idle_producers(self) -> None:
        known = self._pending.producers
        kept = self._retained(known)
        for key in known.keys() - kept.keys():
            del known[key]
            self._committed.pop(key, None)

    # --- compaction -----------------------------------------------------------------------------------------------

    @property
    def manifest(self) -> Manifest:
        """The newest manifest that this owner published."""
        return self._manifest

    def replace(self, change: SegmentChange) -> str | None:
        """Publish a merge or an erasure of segments; returns why not, None when it was done.

        Commutes with appends and with other changes. Raises what ManifestStore.publish raises.
        """
        with self._flush_lock:
            return "a flush has to be repeated first" if self._frozen else self._edit(change.edit)

    def collect_garbage(self, grace_s: float) -> int:
        """Delete the files of segments that were removed `grace_s` ago, unless a snapshot holds them; how many."""
        names = delete_garbage(self._manifest, self._manifests, self._objects, self._clock, grace_s)
        with self._flush_lock:
            if names and not self._frozen:
                self._edit(lambda manifest: forgetting(manifest, names))
        return len(names)

    def _edit(self, edit_of: Callable[[Manifest], ManifestEdit | str]) -> str | None:
        """Publish the edit that is made of the newest manifest, or return why there is none."""
        manifest = self._manifests.settled()
        self._go_on_from(manifest)  # it may be an adoption that was in doubt
        edit = edit_of(manifest)
        if isinstance(edit, str):
            return edit
        self._go_on_from(self._manifests.publish(edit))
        return None

    # --- changes of the placement ---------------------------------------------------------------------------------

    def seal(self, placement: int) -> None:
        """Take nothing more that was routed before `placement`, durably; what was acknowledged is in segments then.

        Raises what flush raises; may be repeated.
        """
        if self._manifest.sealed >= placement:
            return
        self.flush()  # most of it, while producers still write
        with self._lock:
            self._sealed = max(self._sealed, placement)
            self._lock.notify_all()
            known = next(iter(self._pending.producers.items()), None)
            # Logging an open epoch again is harmless and makes everything before it durable.
            record = None if known is None else OpenProducerRecord(*known[0], known[1].epoch)
            ticket = None if record is None else self._wal.enqueue(record, sync=True)
        if ticket is not None:
            self._wal.commit(ticket)
        while self.flush():
            pass
        with self._flush_lock:
            with self._lock:
                edit = ManifestEdit(producers=self._retained(self._committed), sealed=self._sealed)
            self._go_on_from(self._manifests.publish(edit))

    def adopt(self, before: Placement, after: Placement) -> None:
        """Begin to serve `after`: take over what comes to this shard from those of `before`, all of them sealed.

        Raises Unavailable when one is not, and what ManifestStore.publish and reading raise; may be repeated.
        """
        with self._flush_lock:
            own = self._manifest
            if own.served >= after.version:
                return
            change = Change(before, after, sealed_manifests(self._objects, self._clock, before, after))
            edit = adoption(change, own, self._committed, self._rule, new_name=self.new_number, objects=self._objects)
            self._go_on_from(self._manifests.publish(edit))

    def _go_on_from(self, manifest: Manifest) -> None:
        """Serve from `manifest`, which was published, with what it took over if it is of a newer placement."""
        with self._lock:
            takes_over = manifest.served > self._manifest.served
            self._manifest = manifest
            if takes_over:
                self._sealed = manifest.sealed
                self._committed = dict(manifest.producers)
                self._pending.producers = dict(manifest.producers)
                settings = self.stream_settings
                self._ids = DedupStreams(self.options.shard, self._objects, settings, self._stored, manifest.placement)

    def _rule(self, key: StreamKey) -> DedupRule | None:
        return rule_of(self.stream_settings(*key))

    def _retained(self, producers: Mapping[ProducerKey, ProducerState]) -> dict[ProducerKey, ProducerState]:
        return retained(producers, self._clock.now_us(), PRODUCER_IDLE_S_MAX, PRODUCERS_MAX)

    # --- reads ----------------------------------------------------------------------------------------------------

    def snapshots(self, tenant: str, streams: Sequence[str]) -> dict[str, StreamSnapshot]:
        """Everything of each stream that was acknowledged before this call, each event once, at one instant."""
        with self._lock:
            memtables = [self._active] if self._frozen is None else [self._frozen, self._active]
            return {
                stream: StreamSnapshot(
                    shard=self.options.shard,
                    tenant=tenant,
                    stream=stream,
                    manifest_version=self._manifest.version,
                    visible_offset=self._active.next_offset,
                    segments=tuple(s for s in self._manifest.segments if (s.tenant, s.stream) == (tenant, stream)),
                    memtable=tuple(batch for memtable in memtables for batch in memtable.snapshot((tenant, stream))),
                )
                for stream in streams
            }

    def snapshot(self, tenant: str, stream: str) -> StreamSnapshot:
        """The snapshot of one stream."""
        return self.snapshots(tenant, [stream])[stream]

    @property
    def poisoned(self) -> str | None:
        """Why this shard cannot accept writes any more until it is opened again, or None."""
        return self._wal.poisoned

    @property
    def fenced(self) -> str | None:
        """That a newer owner ended the WAL of this one, or None."""
        return self._wal.fenced

    def replaced_by(self) -> int | None:
        """The epoch of a newer owner, or None; asked of the object store, so it may raise Unavailable.

        With a WAL directory None: there the lock decides who may open it.
        """
        manifest = self._manifest
        return None if manifest.wal_start is None else self._manifests.newer_epoch(manifest.epoch)

    def status(self) -> dict[str, object]:
        """Numbers of this shard: bytes, rows, offsets, versions."""
        with self._lock:
            manifest, counters = self._manifest, self._counters
            frozen_rows = self._frozen.rows if self._frozen else 0
            return {
                "shard": self.options.shard,
                "epoch": manifest.epoch,
                "manifest_version": manifest.version,
                "events": sum(s.rows for s in manifest.segments) + self._active.rows + frozen_rows,
                "next_offset": self._next_offset,
                "wal_floor": manifest.wal_floor,
                "wal_bytes": self._wal.bytes,
                "memtable_rows": self._active.rows + frozen_rows,
                "memtable_bytes": self._held_bytes(),
                "segments": len(manifest.segments),
                "placement": manifest.served,
                "sealed": manifest.sealed > manifest.served,
                "origins": dict(Counter(origin_of(segment.name) for segment in manifest.segments)),
                "segment_bytes": sum(s.bytes for s in manifest.segments),
                "producers": len(self._committed),
                **asdict(counters),
                **self._ids.status(),
                "delete_failures": counters.delete_failures + self._manifests.delete_failures,
                "replayed_rows": self._replayed_rows,
                "torn_tails": list(self._torn_tails),
                "poisoned": self._wal.poisoned,
            }

    def streams(self) -> dict[StreamKey, int]:
        """Events per (tenant, stream) in this shard."""
        with self._lock:
            counts: dict[StreamKey, int] = {}
            for segment in self._manifest.segments:
                key = (segment.tenant, segment.stream)
                counts[key] = counts.get(key, 0) + segment.rows
            for memtable in (self._active, *([self._frozen] if self._frozen else [])):
                for key, batches in memtable.batches.items():
                    counts[key] = counts.get(key, 0) + sum(b.num_rows for b in batches)
            return counts

    def close(self) -> None:
        """Flush, seal the WAL and let go of the directory. A poisoned shard only lets go."""
        try:
            if self._wal.poisoned is None:
                self.flush()
                self._wal.close()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go without flushing, as a crash would; the next open recovers."""
        self._wal.abandon()
        if self._directory_lock is not None:
            self._directory_lock.release()


def _verdict(judged: Judged) -> IdVerdict:
    dropped = b"" if judged.kept is None else np.packbits(~judged.kept, bitorder="little").tobytes()
    return IdVerdict(dropped, judged.late_before_us)
