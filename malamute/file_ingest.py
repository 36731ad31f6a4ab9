"""Owns sending files of events: in order, with progress, and for a named producer from where it left off.

Reading is ingest.input_files', sending is a sender's. Never prints.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa

from core.clock import Clock
from core.errors import InvalidRequest
from core.limits import BATCH_BYTES_TARGET
from ingest.ahead import in_order
from ingest.input_files import STDIN, JsonUnit, TableUnit, Unit, open_events, shred_unit
from ingest.json_blocks import JsonBlock
from ingest.sender import Sent
from ingest.shred import Shredded, ShredSettings, fitting

REASONS_KEPT = 10

# A batch with a position must be one append: smaller blocks leave room for events that are wide as columns.
RESUMABLE_BLOCK_BYTES = BATCH_BYTES_TARGET // 4


class Send(Protocol):
    """Sends one batch, with what a named producer stores beside it."""

    def __call__(self, batch: pa.RecordBatch, position: bytes | None) -> None: ...


class Position(NamedTuple):
    """How far a named producer got: `at` bytes of decompressed JSON, or rows of anything else."""

    file: str
    at: int

    def encode(self) -> bytes:
        """The position as it is stored beside a batch."""
        return json.dumps({"file": self.file, "at": self.at}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Position:
        """The position of encode(); InvalidRequest when something else was stored."""
        try:
            values = json.loads(data)
            return cls(str(values["file"]), int(values["at"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidRequest(
                "the producer's position was not left by 'malamute ingest': use another producer name"
            ) from error


@dataclass(slots=True)
class Tally:
    """What became of the events so far. `reasons` holds the first rejections as (file, line, reason)."""

    accepted: int = 0
    duplicates: int = 0
    duplicate_ids: int = 0
    late: int = 0
    rejected: int = 0
    timestamps_missing: int = 0
    timestamps_unreadable: int = 0
    reasons: list[tuple[str, int, str]] = field(default_factory=list)

    def count(self, sent: Sent) -> None:
        """Count one acknowledged batch; given to a sender as its `on_sent`."""
        self.accepted += sent.rows
        self.duplicates += sent.rows if sent.ack.duplicate else 0
        self.duplicate_ids += sent.ack.duplicate_ids
        self.late += sent.ack.late


def total_bytes(files: Sequence[str]) -> int | None:
    """The bytes of all files, or None when one of them is a pipe."""
    if STDIN in files:
        return None
    return sum(Path(file).stat().st_size for file in files if Path(file).is_file())


def remaining(files: Sequence[str], position: bytes | None) -> list[tuple[str, int]]:
    """(file, where to begin) of all files that a producer at `position` has not finished."""
    if position is None:
        return [(file, 0) for file in files]
    if STDIN in files:
        raise InvalidRequest("standard input cannot be resumed: leave --producer out, or name a file")
    known = Position.decode(position)
    names = [str(Path(file).absolute()) for file in files]
    if known.file not in names:
        return [(file, 0) for file in files]
    first = names.index(known.file)
    return [(file, known.at if index == first else 0) for index, file in enumerate(files) if index >= first]


def ingest_file(
    file: str,
    begin: int,
    send: Send,
    settings: ShredSettings,
    clock: Clock,
    tally: Tally,
    *,
    text: bool,
    resumable: bool,
    on_progress: Callable[[int], None],
) -> None:
    """Send the events of one file from `begin` (see Position) on. `on_progress` gets the bytes read of it so far."""
    block_bytes = RESUMABLE_BLOCK_BYTES if resumable else BATCH_BYTES_TARGET
    name = str(Path(file).absolute())

    def shred(part: tuple[Unit, int]) -> tuple[Shredded, int, int]:
        unit, end = part
        return shred_unit(unit, settings, ingest_time_us=clock.now_us()), end, unit.progress_bytes

    units = units_from(open_events(file, text=text, block_bytes=block_bytes), begin)
    for piece, end, progress_bytes in in_order(shred, units):
        tally.timestamps_missing += piece.timestamps_missing
        tally.timestamps_unreadable += piece.timestamps_unreadable
        tally.rejected += len(piece.rejected)
        room = REASONS_KEPT - len(tally.reasons)
        tally.reasons += [(file, rejected.line, rejected.reason) for rejected in piece.rejected[:room]]
        batches = [] if piece.batch is None else list(fitting(piece.batch))
        if resumable and len(batches) > 1:
            raise InvalidRequest(f"{file!r}: events too wide to be resumed exactly: leave --producer out")
        for batch in batches:
            send(batch, Position(name, end).encode() if resumable else None)
        on_progress(progress_bytes)


def units_from(units: Iterator[Unit], begin: int) -> Iterator[tuple[Unit, int]]:
    """The units after `begin` and where each ends; one that began before it is cut."""
    rows = 0
    for unit in units:
        if isinstance(unit, JsonUnit):
            end = unit.block.first_byte + len(unit.block.data)
            if end > begin:
                yield replace(unit, block=_from(unit.block, begin)), end
            continue
        start, rows = rows, rows + unit.batch.num_rows
        if rows > begin:
            yield TableUnit(unit.batch.slice(max(0, begin - start)), unit.progress_bytes), rows


def _from(block: JsonBlock, begin: int) -> JsonBlock:
    skipped = begin - block.first_byte
    if skipped <= 0:
        return block
    lines = block.data[:skipped].count(b"\n")
    return replace(block, data=block.data[skipped:], first_line=block.first_line + lines, first_byte=begin)
