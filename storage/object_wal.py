"""Owns the write side of a shard's WAL on the object store: queue, objects, order of acknowledgement, removal.

No threads of its own: callers enqueue records (cheap, in offset order) and then wait in commit. The first whose record
has waited for the interval, or sees the queue full, cuts an object out of the queue and creates it, while others may
create the following ones. What was created is confirmed in the order of numbers only, so everything acknowledged is in
the unbroken row of objects that the next owner finds. Any failure ends this log for good: the shard is opened again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from core.append import LEVELS, OBJECT
from core.clock import Clock
from core.errors import Fenced, InvalidRequest, MalamuteError, Unavailable, UnknownOutcome, check
from core.limits import (
    WAL_OBJECT_BYTES_TARGET,
    WAL_OBJECT_INTERVAL_MS_DEFAULT,
    WAL_OBJECTS_IN_FLIGHT_MAX,
    WAL_RECORD_BYTES_MAX,
)
from storage.keys import wal_key
from storage.manifest_format import WalStart
from storage.object_wal_recovery import LoggedObject, ObjectRecovery, create_or_read
from storage.objects import ObjectStore
from storage.wal import OnCommitted, Ticket
from storage.wal_format import BatchRecord, FileHeader, WalRecord, encode_header, payload_bytes
from storage.wal_object_format import decode_object, encode_object, end_of, needed_until


@dataclass(frozen=True, slots=True)
class ObjectWalOptions:
    """How long records wait for each other, how large an object grows by that, and how many are created at once."""

    interval_s: float = WAL_OBJECT_INTERVAL_MS_DEFAULT / 1000
    bytes_target: int = WAL_OBJECT_BYTES_TARGET
    in_flight_max: int = WAL_OBJECTS_IN_FLIGHT_MAX


@dataclass(slots=True, eq=False)
class _Cut:
    """An object between the queue and its confirmation."""

    number: int
    base_offset: int
    confirmed: int
    tickets: list[Ticket]
    bytes: int = 0
    created: bool = False

    def records(self) -> list[WalRecord]:
        return [ticket.record for ticket in self.tickets]


class ObjectWal:
    """The WAL of one shard in one epoch, as objects. Thread-safe; implements storage.wal.WriteAheadLog.

    The older epochs are fenced and replayed: `recovery` says what of them is still needed. `on_committed` gets each
    object's records once it is confirmed, in offset order, before commit returns; it must not call this log.
    """

    def __init__(
        self,
        objects: ObjectStore,
        shard: int,
        epoch: int,
        recovery: ObjectRecovery,
        new_file_id: Callable[[], int],
        on_committed: OnCommitted,
        clock: Clock,
        options: ObjectWalOptions | None = None,
    ) -> None:
        self._objects = objects
        self._shard = shard
        self._epoch = epoch
        self._new_file_id = new_file_id
        self._on_committed = on_committed
        self._clock = clock
        self._options = options or ObjectWalOptions()
        self._condition = threading.Condition()  # guards everything below
        self._queue: list[Ticket] = []
        self._queued: set[Ticket] = set()
        self._queue_bytes = 0
        self._queue_since_s = 0.0
        self._next_offset = self._cut_offset = recovery.next_offset
        self._in_flight: list[_Cut] = []  # by number
        self._next_number = self._confirmed = 0
        self._delivering = False  # a thread is in on_committed
        self._logged = list(recovery.objects)
        self._poisoned: str | None = None
        self._fenced: str | None = None
        self._closing = self._closed = False

    @property
    def poisoned(self) -> str | None:
        """Why this log will never be written again, or None."""
        return self._poisoned

    @property
    def fenced(self) -> str | None:
        """That a newer owner ended this log, or None: then the shard must not be opened again by this owner."""
        return self._fenced

    @property
    def bytes(self) -> int:
        """Bytes of all confirmed objects that remove_below has not removed."""
        with self._condition:
            return sum(logged.bytes for logged in self._logged)

    def granted(self, level: str) -> str:
        """What an append that asks for `level` is acknowledged at: `object`, since everything waits for its object."""
        check(level in LEVELS, "SHD-1", "level %s is none", level)
        return OBJECT

    def enqueue(self, record: WalRecord, sync: bool) -> Ticket:
        """Give `record` its place; call under the lock that assigned its offset.

        Raises InvalidRequest for a record above WAL_RECORD_BYTES_MAX, Fenced, or Unavailable after a failure or close.
        """
        header = encode_header(record)
        size = payload_bytes(record, header)
        if size > WAL_RECORD_BYTES_MAX:
            raise InvalidRequest(f"a batch of {size} bytes is not allowed: send at most {WAL_RECORD_BYTES_MAX}")
        ticket = Ticket(record, header, sync)
        with self._condition:
            self._check_usable()
            if isinstance(record, BatchRecord):
                offset, expected = record.first_offset, self._next_offset
                check(offset == expected and record.rows > 0, "WAL-3", "got offset %s, expected %s", offset, expected)
                self._next_offset += record.rows
            if not self._queue:
                self._queue_since_s = self._clock.steady_s()
            self._queue.append(ticket)
            self._queued.add(ticket)
            self._queue_bytes += size
        return ticket

    def commit(self, ticket: Ticket) -> None:
        """Return when the object with the ticket's record is confirmed and on_committed has had it.

        Raises Fenced (a newer owner has the shard; the record is not stored), UnknownOutcome (the next owner may find
        it), or Unavailable (it was never sent).
        """
        while True:
            with self._condition:
                while not ticket.done and not (ticket in self._queued and self._due()):
                    self._condition.wait(self._pause_s() if ticket in self._queued else None)
                if ticket.done:
                    break
                cut = self._cut()
            self._create(cut)
        if ticket.failure is not None:
            raise ticket.failure(self._failed())

    def rotate(self) -> None:
        """Nothing: objects are small already."""

    def start_at(self, floor: int) -> WalStart:
        """The first object that a replay from `floor` on needs, or the one that comes next."""
        with self._condition:
            for logged in self._logged:
                if logged.needed_until > floor:
                    return logged.start
            return WalStart(self._epoch, self._confirmed)

    def remove_below(self, floor: int, start: WalStart | None) -> int:
        """Delete the confirmed objects before `start`, which must be in the published manifest. Returns how many.

        Raises Unavailable when they cannot be deleted: they stay, and are tried again the next time.
        """
        assert start is not None
        with self._condition:
            doomed = [logged for logged in self._logged if logged.start < start]
        self._objects.delete([wal_key(self._shard, *logged.start) for logged in doomed])
        with self._condition:
            self._logged = [logged for logged in self._logged if logged.start >= start]
        return len(doomed)

    def close(self) -> None:
        """Commit what is queued and refuse what follows. A poisoned log writes nothing.

        Raises Unavailable when that fails; the log is closed all the same.
        """
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        while True:
            with self._condition:
                while (self._queue or self._in_flight) and not self._due():
                    self._condition.wait()
                if not self._queue:
                    self._closed = True
                    break
                cut = self._cut()
            self._create(cut)
        if self._poisoned is not None:
            raise Unavailable(self._failed())

    def abandon(self) -> None:
        """Let go without writing, as a crash would; what waits fails. Nobody waits for what is on its way."""
        with self._condition:
            if not self._closed:
                self._closed = True
                self._poison("the shard was given up")

    def _check_usable(self) -> None:
        if self._fenced is not None:
            raise Fenced(self._fenced)
        if self._poisoned is not None:
            raise Unavailable(self._failed())
        if self._closing or self._closed:
            raise Unavailable(f"wal of shard {self._shard} is closed: open the shard again")

    def _failed(self) -> str:
        return self._fenced or f"wal of shard {self._shard} failed: {self._poisoned}; open the shard again, then retry"

    def _due(self) -> bool:
        if not self._queue or len(self._in_flight) >= self._options.in_flight_max:
            return False
        return self._closing or self._queue_bytes >= self._options.bytes_target or self._wait_s() <= 0

    def _wait_s(self) -> float:
        return self._queue_since_s + self._options.interval_s - self._clock.steady_s()

    def _pause_s(self) -> float | None:
        # Without a free place in flight only somebody's end of a create can change anything, and that notifies.
        return self._wait_s() if len(self._in_flight) < self._options.in_flight_max else None

    def _cut(self) -> _Cut:
        """Take the next object's records out of the queue."""
        count = size = 0
        while count < len(self._queue) and (count == 0 or size < self._options.bytes_target):
            size += payload_bytes(self._queue[count].record, self._queue[count].header)
            count += 1
        tickets, self._queue = self._queue[:count], self._queue[count:]
        self._queued.difference_update(tickets)
        self._queue_bytes -= size
        cut = _Cut(self._next_number, self._cut_offset, self._confirmed, tickets)
        self._next_number += 1
        self._cut_offset = end_of(cut.base_offset, cut.records())
        self._in_flight.append(cut)
        return cut

    def _create(self, cut: _Cut) -> None:
        """Create the object of `cut`, then confirm what can be confirmed. Whatever fails inside poisons the log."""
        failure: str | None = "a commit was interrupted"
        try:
            self._put(cut)
            self._confirm()
            failure = None
        except (OSError, MalamuteError) as error:
            failure = f"{type(error).__name__}: {error}"
        finally:
            with self._condition:
                if failure is not None:
                    self._poison(failure)
                self._condition.notify_all()

    def _put(self, cut: _Cut) -> None:
        header = FileHeader(self._shard, self._epoch, cut.number, self._new_file_id(), cut.base_offset)
        data = encode_object(header, [(ticket.record, ticket.header) for ticket in cut.tickets], cut.confirmed)
        key = wal_key(self._shard, self._epoch, cut.number)
        found = create_or_read(self._objects, key, data)
        if found is None:
            cut.bytes = sum(len(part) for part in data)
            cut.created = True
            return
        fenced_by = decode_object(found, key, self._shard, self._epoch, cut.number).fenced_by
        check(fenced_by is not None, "WAL-10", "epoch %s has a second writer at %s", self._epoch, key)
        with self._condition:
            self._end_by_fence(cut.number, fenced_by)

    def _end_by_fence(self, number: int, fenced_by: int | None) -> None:
        """Nothing from `number` on is stored, and nothing ever will be."""
        if self._poisoned is None:
            self._fenced = (
                f"shard {self._shard} epoch {self._epoch} was fenced by epoch {fenced_by}: its new owner has what was "
                "acknowledged; send again there"
            )
        for cut in self._in_flight:
            if cut.number >= number:
                self._fail(cut.tickets, Fenced)
        self._fail(self._queue, Fenced)
        self._poison(f"epoch {fenced_by} fenced it")

    def _confirm(self) -> None:
        """Deliver, in order, the records of all objects up to the first that is not created yet."""
        while True:
            with self._condition:
                cut = self._in_flight[0] if self._in_flight else None
                if self._delivering or cut is None or not cut.created:
                    return
                self._delivering = True
            try:
                self._on_committed(cut.records())
            except BaseException:
                with self._condition:
                    self._delivering = False
                raise
            with self._condition:
                self._delivering = False
                if self._poisoned is None:
                    self._in_flight.pop(0)
                    self._confirmed = cut.number + 1
                    until = needed_until(cut.base_offset, cut.records())
                    self._logged.append(LoggedObject(WalStart(self._epoch, cut.number), until, cut.bytes))
                for ticket in cut.tickets:
                    ticket.done = True
                self._condition.notify_all()

    def _poison(self, reason: str) -> None:
        self._poisoned = self._poisoned or reason
        for cut in self._in_flight:
            self._fail(cut.tickets, UnknownOutcome)
        self._fail(self._queue, Unavailable)
        self._in_flight.clear()
        self._queue.clear()
        self._queued.clear()
        self._condition.notify_all()

    def _fail(self, tickets: list[Ticket], failure: type[MalamuteError]) -> None:
        for ticket in tickets:
            if not ticket.done:
                ticket.done, ticket.failure = True, failure
