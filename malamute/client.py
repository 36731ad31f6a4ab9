"""Owns the client: the calls a Python program makes on one deployment."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import TracebackType
from typing import Any

from cluster.transport import Transport
from core.append import LEVELS
from core.clock import Clock, SystemClock
from core.errors import InvalidRequest, InvalidSettings, Unavailable
from core.ids import check_name, check_producer_id
from core.limits import DELETE_POLL_S, QUERY_SECONDS_MAX, SCALE_POLL_S, SCALE_WAIT_S_DEFAULT
from ingest.routing import SpreadSender, producer_sender
from ingest.sender import Sent
from ingest.shredded import Shredded, ShredSettings
from malamute.deletion import Deletion, deletion_of
from malamute.producer import Producer
from malamute.questions import Questions
from malamute.receipt import Receipt
from malamute.retention import retention_as_given
from malamute.snapshot import Snapshot, snapshot_of, ttl_us
from malamute.status import Status
from query.stream_files import StreamFiles
from storage.catalog import StreamSettings
from storage.deletes import DONE
from storage.iceberg.exported import Exported
from storage.retention import TENANT_DEFAULT, Retention


class Client(Questions):
    """One open connection to a deployment. Made by malamute.connect. Thread-safe."""

    def __init__(self, transport: Transport, tenant: str, level: str, on_close: Callable[[], None]) -> None:
        self._transport = transport
        self._tenant = check_name("tenant", tenant)
        self._level = level
        self._on_close = on_close
        self._clock: Clock = SystemClock()
        self._streams: dict[str, StreamSettings] = {}
        self._idle_senders: dict[tuple[str, str], deque[_Writer]] = {}
        self._closed = False

    def create_stream(
        self,
        stream: str,
        *,
        sort_key: list[str] | None = None,
        timestamp: str | None = None,
        max_paths: int | None = None,
        dedup_key: str | None = None,
        dedup_window: timedelta | None = None,
    ) -> StreamSettings:
        """Create a stream, or confirm that it exists with these settings.

        `sort_key` are paths by which segments are sorted (default service, timestamp); `timestamp` is the attribute
        that holds the event time (default: "timestamp" or "@timestamp", whichever an event has). With a `dedup_key`,
        the path of the event's id, an event is stored once however often it is sent, as long as it is not older in
        event time than the newest by more than `dedup_window` (default one day); see docs/dedup.md.
        """
        given: dict[str, Any] = {"timestamp": timestamp, "max_paths": max_paths, "dedup_key": dedup_key}
        given["sort_key"] = tuple(sort_key) if sort_key else None
        given["dedup_window"] = None if dedup_window is None else _microseconds(dedup_window)
        settings = StreamSettings(stream, **{key: value for key, value in given.items() if value is not None})
        self._streams[stream] = self._ask("ensure_stream", self._tenant, settings, stream)
        return self._streams[stream]

    def streams(self) -> dict[str, StreamSettings]:
        """All streams of the tenant by name."""
        answer: dict[str, StreamSettings] = self._ask("streams", self._tenant)
        return answer

    def write(self, stream: str, events: Any, *, durability: str | None = None) -> Receipt:
        """Store events and return when all of them are acknowledged.

        `events`: a list of dicts, an Arrow table or batch, a pandas or polars frame, NDJSON bytes, or a path (str or
        Path) to an NDJSON (also gz, zst, lz4), Parquet or Arrow file. The stream appears at its first write.
        """
        writer = self._writer(stream, durability or self._level)
        receipt = Receipt()
        writer.receipt = receipt
        for piece in self._shredded(stream, events, receipt):
            writer.spread.send(piece.batch)
        writer.spread.drain()
        # Given back only when nothing is in flight: after an error the writer is not used again.
        self._idle_senders[(stream, writer.level)].append(writer)
        return receipt

    def producer(self, producer_id: str, *, stream: str, durability: str | None = None) -> Producer:
        """Open the named producer: fences its older incarnations and knows the position they left."""
        check_producer_id(producer_id)
        settings = self._settings(stream)
        receipt = Receipt()
        level = _check_level(durability or self._level)
        sender = producer_sender(
            self._transport,
            self._transport.placement,
            self._tenant,
            stream,
            producer_id,
            settings.dedup_key,
            level=level,
            on_sent=lambda sent: _count(receipt, sent),
        )
        return Producer(sender, lambda events: list(self._shredded(stream, events, receipt)), receipt)

    def snapshot(self, name: str, *, ttl: str | timedelta | None = None) -> Snapshot:
        """Keep what the tenant has in the store now, under a name for the `at` of queries; see docs/snapshots.md.

        `ttl`, a length such as "7d", says for how long; without it, until drop_snapshot(). Raises SnapshotExists.
        """
        ttl_s = None if ttl is None else ttl_us(ttl) / 1e6
        return snapshot_of(self._ask("take_snapshot", self._tenant, name, ttl_s, timeout_s=600.0))

    def snapshots(self) -> list[Snapshot]:
        """The tenant's snapshots that have not expired, by name."""
        return [snapshot_of(summary) for summary in self._ask("snapshots", self._tenant)]

    def drop_snapshot(self, name: str) -> None:
        """Let go of a snapshot and of the files that nothing else needs. Raises NotFound."""
        self._ask("drop_snapshot", self._tenant, name)

    def delete(self, stream: str, *, where: str, wait_s: float | None = None) -> Deletion:
        """Delete the events that meet `where`, a condition in SQL, and are there now; see docs/deletes.md.

        No query that starts after this returned shows them. They are rewritten away in the background: deletes() shows
        how far that is. With `wait_s` returns when it is done, or nothing but named snapshots holds it up; raises
        Unavailable after so many seconds, with the reason, and it goes on then. Raises InvalidQuery (the condition,
        with line and column), NotFound (the stream), UnknownOutcome (it may have begun: look at deletes(); a second
        one does no harm).
        """
        begun = self._ask("delete", self._tenant, stream, where, timeout_s=QUERY_SECONDS_MAX)
        deletion = deletion_of(begun)
        deadline_s = self._clock.steady_s() + (wait_s or 0.0)
        while wait_s is not None and deletion.state != DONE and not deletion.held_by:
            if self._clock.steady_s() > deadline_s:
                raise Unavailable(f"delete {deletion.id} is not done after {wait_s:g} s: {deletion.reason}")
            time.sleep(DELETE_POLL_S)
            (deletion,) = [one for one in self.deletes() if one.id == deletion.id]
        return deletion

    def matching(self, stream: str, *, where: str) -> int:
        """How many events delete() would remove now. Raises as delete()."""
        count: int = self._ask("count", self._tenant, stream, where, timeout_s=QUERY_SECONDS_MAX)
        return count

    def deletes(self) -> list[Deletion]:
        """The tenant's deletes, those under way and the last that are done, oldest first."""
        return [deletion_of(status) for status in self._ask("deletes", self._tenant)]

    def set_retention(
        self, stream: str | None, *, age: str | timedelta | None = None, bytes_max: str | int | None = None
    ) -> None:
        """Keep the events of `stream` for `age` after their time ("30d"), and the newest `bytes_max` of its segments
        ("100GB"); None is no bound. See docs/retention.md.

        `stream` None sets the default of the tenant, for streams without one of their own. What is not kept is hidden
        at once and gone within minutes. Raises InvalidSettings, NotFound (the stream).
        """
        self._ask("set_retention", self._tenant, stream or TENANT_DEFAULT, retention_as_given(age, bytes_max))

    def retention(self) -> dict[str | None, Retention]:
        """The tenant's retention by stream; that of None is the default."""
        found: dict[str, Retention] = self._ask("retentions", self._tenant)
        return {stream or None: retention for stream, retention in found.items()}

    def status(self) -> Status:
        """The numbers of every shard and of the coordinator."""
        return Status(self._ask("status"))

    def scale(self, shards: int, *, wait_s: float = SCALE_WAIT_S_DEFAULT) -> dict[str, Any]:
        """Change the number of shards while everything goes on; returns the placement once it is in force.

        The same as asking again: a change that is under way to this number is waited for. Raises InvalidRequest (a
        change to another number is under way), Unavailable when it is not done after `wait_s` seconds, with the reason;
        it goes on then, and status().placement shows it.
        """
        deadline_s = self._clock.steady_s() + wait_s
        placement: dict[str, Any] = self._ask("scale", shards)
        while placement["state"] != "steady" or len(placement["shards"]) != shards:
            if self._clock.steady_s() > deadline_s:
                reason = placement["failure"] or "it is under way"
                raise Unavailable(f"the change to {shards} shards is not done after {wait_s:g} s: {reason}")
            time.sleep(SCALE_POLL_S)
            placement = self._ask("placement_status")
        return placement

    def scale_plan(self, shards: int) -> dict[str, Any]:
        """What scale() would do: the placement in force, and the `next` one (None: nothing to do)."""
        plan: dict[str, Any] = self._ask("scale", shards, True)
        return plan

    def scale_decision(self) -> dict[str, Any]:
        """What automatic scaling decides now: `shards` in the place of `now`, the `reason`, whether it is `enabled`."""
        decision: dict[str, Any] = self._ask("scale_decision")
        return decision

    def flush(self) -> int:
        """Write every memtable into segments; returns how many events."""
        rows: int = self._ask("flush", timeout_s=600.0)
        return rows

    def files(self, stream: str, *, flush: bool = False, at: str | None = None) -> StreamFiles:
        """The Parquet files of a stream at one snapshot, for other readers; see docs/files.md.

        A pattern such as `*.parquet` is no substitute: it also finds files that do not count yet, or no longer.
        `flush` first writes into files what is in memory. `at` names a snapshot, whose files stay as long as it does.
        Raises NotFound (the stream, the snapshot).
        """
        if flush:
            self.flush()
        files: StreamFiles = self._ask("files", self._tenant, stream, at)
        return files

    def export_iceberg(
        self,
        stream: str,
        location: str | os.PathLike[str] | None = None,
        *,
        flush: bool = False,
        at: str | None = None,
    ) -> Exported:
        """Write Iceberg metadata over the files that files() lists, without copying them; see docs/files.md.

        `location` is a directory or a URL, by default `<storage>/iceberg/<tenant>/<stream>`; a path is one of the
        machine where the coordinator runs. The next export to the same place adds a snapshot. Raises NotFound (the
        stream), InvalidRequest (the location), InvalidSettings (PyIceberg is not installed there).
        """
        if flush:
            self.flush()
        place = None if location is None else os.fspath(location)
        if place is not None and "://" not in place:
            place = os.path.abspath(place)
        exported: Exported = self._ask("export_iceberg", self._tenant, stream, place, at, timeout_s=600.0)
        return exported

    def close(self) -> None:
        """Let go of the deployment; an embedded one is flushed and stopped."""
        if not self._closed:
            self._closed = True
            self._on_close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _settings(self, stream: str) -> StreamSettings:
        settings = self._streams.get(stream)
        if settings is None:
            settings = self._streams[stream] = self._ask(
                "ensure_stream", self._tenant, None, check_name("stream", stream)
            )
        return settings

    def _shredded(self, stream: str, events: Any, receipt: Receipt) -> Iterator[Shredded]:
        from malamute.events import shred_events  # brings the compiled shredder, which loads while Ray starts

        settings = self._settings(stream)
        shred_settings = ShredSettings(settings.timestamp, settings.max_paths)
        for piece in shred_events(events, shred_settings, self._clock):
            receipt.rejected += [(r.line, r.byte_offset, r.reason) for r in piece.rejected]
            receipt.timestamps_missing += piece.timestamps_missing
            receipt.timestamps_unreadable += piece.timestamps_unreadable
            if piece.batch is not None:
                yield piece

    def _writer(self, stream: str, level: str) -> _Writer:
        settings = self._settings(stream)
        idle = self._idle_senders.setdefault((stream, _check_level(level)), deque())
        try:
            return idle.pop()
        except IndexError:
            return _Writer(self._transport, self._tenant, stream, level, settings.dedup_key)


class _Writer:
    """A spread sender and the receipt of the write that uses it now."""

    def __init__(self, transport: Transport, tenant: str, stream: str, level: str, dedup_key: str | None) -> None:
        self.level = level
        self.receipt = Receipt()
        self.spread = SpreadSender(
            transport, transport.placement, tenant, stream, level, lambda sent: _count(self.receipt, sent), dedup_key
        )


def _count(receipt: Receipt, sent: Sent) -> None:
    receipt.accepted += sent.rows
    receipt.duplicates += sent.rows if sent.ack.duplicate else 0
    receipt.duplicate_ids += sent.ack.duplicate_ids
    receipt.late += sent.ack.late
    receipt.last_ack = sent.ack


def _microseconds(window: timedelta) -> int:
    if not isinstance(window, timedelta):
        raise InvalidSettings(
            f"dedup_window {window!r} is no time span: use datetime.timedelta, as in timedelta(hours=1)"
        )
    return window // timedelta(microseconds=1)


def _check_level(level: str) -> str:
    if level not in LEVELS:
        raise InvalidRequest(f"durability {level!r} is not known here: use one of {', '.join(LEVELS)}")
    return level
