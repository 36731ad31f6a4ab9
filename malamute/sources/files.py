"""Owns the source of files: takes the complete files of a directory one after the other, each exactly once.

Which files there are is directory's, what is known of them the ledger's, what a file holds ingest.input_files'.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from core.clock import Clock
from core.errors import Fenced, InvalidRequest, NotFound
from core.ids import check_producer_id
from core.limits import POSITION_BYTES_MAX, PRODUCER_IDLE_S_MAX, REFUSED_VALUE_BYTES_MAX, SOURCE_BATCH_BYTES_TARGET
from ingest.ahead import in_order
from ingest.compiled.json_scan import LINES
from ingest.input_files import JsonUnit, Unit, open_events, shred_unit
from ingest.shred import Rejected, Shredded, fitting
from malamute.file_ingest import units_from
from malamute.sources.directory import EventFile, event_files, file_at
from malamute.sources.file_ledger import BEGUN, FAILED, STORED, FileLedger, FilePosition, Known
from malamute.sources.report import Report, patience_of
from malamute.sources.store import SourceStore
from malamute.sources.writer import Refused, SourceWriter, refused_stream, text_or_bytes

POLL_S: Final = 1.0
POLL_SHARE: Final = 0.1  # of the time at most, for looking into a large directory


@dataclass(frozen=True, slots=True)
class FilesPlan:
    """What is read, and where it goes. A file is complete when nobody has written to it for `settle_s` seconds."""

    stream: str
    directory: Path
    settle_s: float
    once: bool


class FilesSource:
    """Reads a directory into a stream until `stopping` is set, or with `once` until its complete files are stored.

    Raises Fenced when another source of this directory and stream began.
    """

    def __init__(
        self, plan: FilesPlan, store: SourceStore, report: Report, clock: Clock, stopping: threading.Event
    ) -> None:
        self._plan = plan
        self._report = report
        self._clock = clock
        self._stopping = stopping
        self._directory = plan.directory.absolute()
        source_id = check_producer_id(f"files/{self._directory}")
        patience = patience_of(stopping, report, clock, plan.once)
        self._settings = patience.settled(partial(store.stream, plan.stream)).settings
        self._writer = SourceWriter(store, plan.stream, source_id, patience, clock)
        self._ledger = FileLedger(store, plan.stream, str(self._directory), source_id, patience, clock)
        self._said: set[EventFile] = set()

    def run(self) -> None:
        """Read until the end; see the class."""
        if not self._directory.is_dir():
            raise NotFound(f"there is no directory {str(self._plan.directory)!r}")
        try:
            self._go_on()
            while not self._stopping.is_set():
                began_s = self._clock.steady_s()
                todo = self._todo()
                looked_s = self._clock.steady_s() - began_s
                read = 0
                for file in todo:
                    if self._stopping.is_set():
                        return
                    read += self._begin(file)
                    self._report.lag[str(self._directory)] -= file.size
                if self._plan.once:
                    return
                self._ledger.keep()
                self._writer.keep()
                self._report.progress()
                if not read:
                    self._stopping.wait(max(POLL_S, looked_s / POLL_SHARE))
        except Fenced as error:
            raise Fenced(f"another source of {str(self._directory)!r} has taken over: this one ends") from error

    def _todo(self) -> list[EventFile]:
        """The complete files that are not stored, in order."""
        now_ns = self._clock.now_us() * 1000
        todo, growing = [], 0
        for file in sorted(event_files(self._directory)):
            known = self._ledger.knows(file)
            if known is Known.NOTHING and file.is_settled(now_ns, self._plan.settle_s):
                todo.append(file)
            elif known is Known.NOTHING:
                growing += 1
            elif known is not Known.DONE and file not in self._said:
                self._said.add(file)
                self._tell(file, known)
        self._report.lag = {str(self._directory): sum(file.size for file in todo)}
        if growing and self._plan.once:
            self._report.remark(f"{growing} files changed in the last {self._plan.settle_s:g} s: left for the next run")
        return todo

    def _tell(self, file: EventFile, known: Known) -> None:
        if known is Known.MOVED:
            self._report.remark(f"{file.path} is stored already, under the name that it had before")
        else:
            self._report.count(files_failed=1)
            self._report.remark(
                f"CHANGED: {file.path} has changed since it was read, and is not read again: write new events to a "
                f"new file"
            )

    def _go_on(self) -> None:
        """Take up where an earlier run ended: in the middle of a file, perhaps."""
        data = self._writer.open()
        begun = self._ledger.open()
        if begun is None:
            return
        file = begun.file
        position = None if data is None else FilePosition.decode(data)
        inside = position is not None and position.is_in(file)
        start = position if position is not None and inside else _beginning(file)
        age_s = (self._clock.now_us() - begun.at_us) / 1e6
        if file_at(self._directory, file.path) != file:
            self._fail(file, start, "it was changed or removed while it was read")
        elif not inside and age_s > PRODUCER_IDLE_S_MAX:
            self._fail(file, start, "it was begun so long ago that the store has forgotten how far it was read")
        else:
            self._read(file, start)

    def _begin(self, file: EventFile) -> bool:
        """Read a new file; whether it could be opened."""
        try:
            with (self._directory / file.path).open("rb"):
                pass
        except OSError as error:
            self._report.count(files_failed=self._plan.once)
            self._report.remark(f"cannot read {file.path}: {error.strerror}")
            return False
        if not _can_be_named(file):
            if file not in self._said:
                self._said.add(file)
                self._report.count(files_failed=1)
                self._report.remark(f"cannot keep a position for {file.path!a}: give it a shorter name in UTF-8")
            return False
        self._ledger.write(file, BEGUN, _beginning(file))
        self._read(file, _beginning(file))
        return True

    def _read(self, file: EventFile, position: FilePosition) -> None:
        """Store a file from `position` on and write that down; not when it is stopped before the end."""
        try:
            for batch, refused, behind in self._batches(file, position):
                self._writer.write(batch, refused, behind)
                self._report.count(events=behind.events - position.events, refused=len(refused))
                self._report.progress()
                position = behind
                if self._stopping.is_set():
                    self._writer.drain()
                    return
        except (InvalidRequest, NotFound) as error:
            self._writer.drain()
            self._fail(file, position, str(error))
            return
        self._writer.drain()
        if file_at(self._directory, file.path) != file:
            self._fail(file, position, "it was changed or removed while it was read")
            return
        self._ledger.write(file, STORED, position)
        self._report.count(files=1)
        if position.refused:
            kept = refused_stream(self._plan.stream)
            self._report.remark(f"{file.path}: {position.refused:,} refused records are in {kept}")

    def _fail(self, file: EventFile, position: FilePosition, reason: str) -> None:
        self._ledger.write(file, FAILED, position, reason)
        self._report.count(files_failed=1)
        self._report.remark(
            f"FAILED: {file.path}: {reason}; its first {position.events:,} events are stored, the others are not"
        )

    def _batches(
        self, file: EventFile, position: FilePosition
    ) -> Iterator[tuple[pa.RecordBatch | None, list[Refused], FilePosition]]:
        """(events, what was refused beside them and is not kept yet, the position behind both) from `position` on."""
        path = self._directory / file.path

        def shred(part: tuple[Unit, int]) -> tuple[Shredded, Unit, int]:
            unit, end = part
            return shred_unit(unit, self._settings, ingest_time_us=self._clock.now_us()), unit, end

        units = units_from(open_events(path, block_bytes=SOURCE_BATCH_BYTES_TARGET), position.at)
        for piece, unit, end in in_order(shred, units):
            batches = [] if piece.batch is None else list(fitting(piece.batch))
            if len(batches) > 1:
                raise InvalidRequest(f"events too wide for one append before {end}")
            batch = batches[0] if batches else None
            position = position._replace(
                at=end,
                events=position.events + (batch.num_rows if batch is not None else 0),
                refused=position.refused + len(piece.rejected),
            )
            yield batch, self._refusals(file, unit, piece.rejected), position

    def _refusals(self, file: EventFile, unit: Unit, rejected: tuple[Rejected, ...]) -> list[Refused]:
        if not rejected:
            return []
        stored = self._writer.refused_position()
        position = None if stored is None else FilePosition.decode(stored)
        floor = position.at if position is not None and position.is_in(file) else 0
        return [self._refusal(file, unit, one) for one in rejected if one.byte_offset >= floor]

    def _refusal(self, file: EventFile, unit: Unit, rejected: Rejected) -> Refused:
        event: dict[str, Any] = {
            "reason": rejected.reason,
            "file": {"path": str(self._directory / file.path), "line": rejected.line, "byte": rejected.byte_offset},
        }
        if isinstance(unit, JsonUnit) and unit.block.layout == LINES:
            data = unit.block.data
            begin = rejected.byte_offset - unit.block.first_byte
            end = data.find(b"\n", begin)
            end = len(data) if end < 0 else end
            event["value"] = text_or_bytes(data[begin : min(end, begin + REFUSED_VALUE_BYTES_MAX)])
            event["value_bytes"] = end - begin
        return Refused(event, FilePosition(file.path, *file.version, rejected.byte_offset + 1))


def _beginning(file: EventFile) -> FilePosition:
    return FilePosition(file.path, *file.version, 0)


def _can_be_named(file: EventFile) -> bool:
    try:
        os.fsencode(file.path).decode()
    except UnicodeDecodeError:
        return False
    return len(FilePosition(file.path, *file.version, 2**62).encode()) <= POSITION_BYTES_MAX
