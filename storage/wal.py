"""Owns the write side of a shard's WAL: queue, group commit, rotation, removal. Never reads a WAL file.

Group commit: callers enqueue records (cheap, in offset order) and then wait in commit. The first to wait leads: it
takes the whole queue, writes it with one call, syncs once, tells `on_committed`, and wakes the others; whoever comes
meanwhile forms the next group. Any failure poisons the Wal for ever: the shard must be opened again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from core.append import LOCAL, OBJECT
from core.errors import InvalidRequest, MalamuteError, Unavailable, UnknownOutcome, check
from core.limits import WAL_FILE_BYTES_TARGET, WAL_RECORD_BYTES_MAX
from storage.fs import FileSystem
from storage.manifest_format import WalStart
from storage.wal_file import ActiveFile
from storage.wal_format import UNNAMED_SUFFIX, BatchRecord, FileHeader, WalRecord, encode_header, payload_bytes
from storage.wal_recovery import Recovery, WalFile

OnCommitted = Callable[[list[WalRecord]], None]


@dataclass(slots=True, eq=False)
class Ticket:
    """The place of one record in the queue, as enqueue gave it; commit takes it."""

    record: WalRecord
    header: bytes
    sync: bool
    done: bool = False
    failure: type[MalamuteError] | None = None


class WriteAheadLog(Protocol):
    """What a shard needs of its WAL, on local disk or elsewhere."""

    def enqueue(self, record: WalRecord, sync: bool) -> Ticket: ...

    def commit(self, ticket: Ticket) -> None: ...

    def rotate(self) -> None: ...

    def granted(self, level: str) -> str:
        """The level at which an append that asks for `level` is acknowledged; InvalidRequest when there is none."""
        ...

    def start_at(self, floor: int) -> WalStart | None:
        """What a manifest with this WAL floor has to say of where the log begins."""
        ...

    def remove_below(self, floor: int, start: WalStart | None) -> int:
        """Remove what no replay from this floor and start of the published manifest needs. Returns how much."""
        ...

    def close(self) -> None: ...

    def abandon(self) -> None: ...

    @property
    def bytes(self) -> int: ...

    @property
    def poisoned(self) -> str | None: ...

    @property
    def fenced(self) -> str | None:
        """That a newer owner ended this log for good, or None."""
        ...


class Wal:
    """The WAL of one shard in one directory. Thread-safe.

    The caller holds the directory's lock and has taken an `epoch` above all earlier ones. `recovery` is replay's
    result: its unsynced records are carried into the first file, synced before the constructor returns (they are not
    given to `on_committed`). `new_file_id` returns random 64-bit numbers. `on_committed` gets each group's records
    once they are as durable as asked, in offset order, one group at a time, before commit returns; it must not call
    this Wal. Raises Unavailable when the first file cannot be created.
    """

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        shard: int,
        epoch: int,
        recovery: Recovery,
        new_file_id: Callable[[], int],
        on_committed: OnCommitted,
        file_bytes_target: int = WAL_FILE_BYTES_TARGET,
    ) -> None:
        check(epoch > recovery.last_epoch, "WAL-8", "epoch %s is not above %s", epoch, recovery.last_epoch)
        self._fs = fs
        self._directory = directory
        self._shard = shard
        self._epoch = epoch
        self._number = recovery.next_file_number
        self._new_file_id = new_file_id
        self._on_committed = on_committed
        self._file_bytes_target = file_bytes_target
        self._condition = threading.Condition()  # guards everything below
        self._queue: list[Ticket] = []
        self._in_flight: list[Ticket] = []
        self._next_offset = recovery.next_offset
        self._leading = False  # a thread is writing; only it touches _active
        self._poisoned: str | None = None
        self._closed = False
        self._sealed = list(recovery.files)
        try:
            fs.make_directories(directory)
            for name in fs.list(directory):
                if name.endswith(UNNAMED_SUFFIX):
                    fs.unlink(f"{directory}/{name}")
            self._active = ActiveFile(fs, directory, self._header(recovery.base_offset), recovery.unsynced)
        except OSError as error:
            raise Unavailable(f"cannot begin a wal file in {directory}: {error}; mend the disk and retry") from error
        check(
            self._active.next_offset == recovery.next_offset,
            "WAL-3",
            "carried records end at offset %s, not %s",
            self._active.next_offset,
            recovery.next_offset,
        )

    @property
    def poisoned(self) -> str | None:
        """Why this Wal will never write again, or None."""
        return self._poisoned

    @property
    def fenced(self) -> str | None:
        """None: the lock on the directory keeps other owners away."""
        return None

    @property
    def bytes(self) -> int:
        """Bytes of all files that remove_below has not removed."""
        with self._condition:
            return self._active.bytes + sum(file.bytes for file in self._sealed)

    def enqueue(self, record: WalRecord, sync: bool) -> Ticket:
        """Give `record` its place; call under the lock that assigned its offset. `sync` asks for fdatasync.

        Raises InvalidRequest for a record above WAL_RECORD_BYTES_MAX, Unavailable after a failure or close.
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
            self._queue.append(ticket)
        return ticket

    def commit(self, ticket: Ticket) -> None:
        """Return when the ticket's record is as durable as it asked for and on_committed has had it.

        Raises UnknownOutcome when the record may be on disk although committing failed, Unavailable when it is not.
        """
        with self._condition:
            while self._leading and not ticket.done:
                self._condition.wait()
            lead = not ticket.done
            self._leading = self._leading or lead
        cause: Exception | None = None
        if lead:
            try:
                with self._lead():
                    self._write_queue()
            except (OSError, MalamuteError) as error:
                cause = error
        if ticket.failure is not None:
            raise ticket.failure(self._failed()) from cause

    def rotate(self) -> None:
        """Seal the active file and begin a new one. Raises Unavailable on failure."""
        with self._condition:
            self._wait_for_lead()
            self._check_usable()
            self._leading = True
        try:
            with self._lead():
                self._begin_file()
        except OSError as error:
            raise Unavailable(self._failed()) from error

    def granted(self, level: str) -> str:
        """See WriteAheadLog: what was asked for, but not `object`."""
        if level == OBJECT:
            raise InvalidRequest(
                f"durability level {level!r} is not offered by this deployment, its wal is on a local disk: use "
                f"{LOCAL!r}, or a deployment with durability: object"
            )
        return level

    def start_at(self, floor: int) -> WalStart | None:
        """None: a directory holds what is needed and nothing else."""
        return None

    def remove_below(self, floor: int, start: WalStart | None = None) -> int:
        """Unlink the files, oldest first, that hold nothing at or above `floor`; never the active one.

        Returns how many. Raises Unavailable when one cannot be unlinked: it and the later ones stay.
        """
        removed = 0
        while True:
            with self._condition:
                if not self._sealed or self._sealed[0].needed_until > floor:
                    return removed
                file = self._sealed.pop(0)
            try:
                self._fs.unlink(f"{self._directory}/{file.name}")
            except OSError as error:
                with self._condition:
                    self._sealed.insert(0, file)
                raise Unavailable(f"cannot remove wal file {file.name}: {error}; it stays until retried") from error
            removed += 1

    def close(self) -> None:
        """Commit what is queued, seal the active file and refuse what follows. A poisoned Wal writes nothing.

        Raises Unavailable when sealing fails; the Wal is closed all the same.
        """
        with self._condition:
            self._wait_for_lead()
            if self._closed:
                return
            self._leading = self._closed = True
        try:
            with self._lead():
                if self._poisoned is None:
                    self._write_queue()
                    self._active.seal()
        except OSError as error:
            raise Unavailable(self._failed()) from error
        finally:
            self._active.close()

    def abandon(self) -> None:
        """Give the file back without writing, as a crash would; what is queued fails."""
        with self._condition:
            self._wait_for_lead()
            if not self._closed:
                self._closed = True
                self._active.close()

    def _header(self, base_offset: int) -> FileHeader:
        header = FileHeader(self._shard, self._epoch, self._number, self._new_file_id(), base_offset)
        self._number += 1
        return header

    def _check_usable(self) -> None:
        if self._poisoned is not None:
            raise Unavailable(self._failed())
        if self._closed:
            raise Unavailable(f"wal of shard {self._shard} is closed: open the shard again")

    def _failed(self) -> str:
        return f"wal of shard {self._shard} failed: {self._poisoned}; open the shard again, then retry"

    def _wait_for_lead(self) -> None:
        while self._leading:
            self._condition.wait()

    @contextmanager
    def _lead(self) -> Iterator[None]:
        """Write while being the only writer (_leading was set); whatever fails inside poisons the Wal."""
        failure: str | None = "a commit was interrupted"
        try:
            yield
            failure = None
        except (OSError, MalamuteError) as error:
            failure = f"{type(error).__name__}: {error}"
            raise
        finally:
            with self._condition:
                if failure is not None:
                    self._poison(failure)
                self._leading = False
                self._condition.notify_all()

    def _poison(self, reason: str) -> None:
        self._poisoned = self._poisoned or reason
        for tickets, failure in ((self._in_flight, UnknownOutcome), (self._queue, Unavailable)):
            for ticket in tickets:
                ticket.done, ticket.failure = True, failure
            tickets.clear()

    def _write_queue(self) -> None:
        # Before the queue is taken: when no new file can be had, nothing of it was written.
        if self._active.bytes >= self._file_bytes_target:
            self._begin_file()
        with self._condition:
            self._in_flight, self._queue = self._queue, []
        group = self._in_flight
        if not group:
            return
        self._active.append((ticket.record, ticket.header) for ticket in group)
        if any(ticket.sync for ticket in group):
            self._active.sync()
        self._on_committed([ticket.record for ticket in group])
        with self._condition:
            for ticket in group:
                ticket.done = True
            self._in_flight = []

    def _begin_file(self) -> None:
        sealed = self._active
        sealed.seal()
        active = ActiveFile(self._fs, self._directory, self._header(sealed.next_offset))
        with self._condition:
            self._sealed.append(WalFile(sealed.name, sealed.needed_until, sealed.bytes))
            self._active = active
