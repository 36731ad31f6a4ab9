"""Owns the reference shredder: it says what is right, one event after the other, in plain Python.

The compiled one has to agree with it, and asks it about every event that it does not decide itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import InvalidRequest
from core.limits import BATCH_LONG_PATH_BYTES_MAX
from ingest.assemble import assemble
from ingest.dict_events import plain_event
from ingest.event_time import parse_time
from ingest.flatten import flatten, folded, long_path_bytes
from ingest.json_lines import BOM, has_long_numbers, lines, parse_event
from ingest.row_columns import RowColumns
from ingest.shredded import Rejected, Shredded, ShredSettings, check_bytes, reject


def shred_ndjson(
    data: bytes | memoryview, settings: ShredSettings, *, ingest_time_us: int, first_line: int = 1, first_byte: int = 0
) -> Shredded:
    """Shred NDJSON; lines that are not a JSON object are rejected, blank ones skipped.

    `first_line` and `first_byte` say where `data` begins in its source (see blocks). InvalidRequest when `data` is
    beyond BATCH_BYTES_MAX.
    """
    data = bytes(data)
    check_bytes(len(data))
    shredder = Rows(settings, ingest_time_us)
    skipped = len(BOM) if first_byte == 0 and data.startswith(BOM) else 0
    long_numbers = has_long_numbers(data)
    for number, offset, line in lines(data[skipped:] if skipped else data):
        try:
            shredder.add(parse_event(line, long_numbers))
        except InvalidRequest as error:
            # The byte order mark belongs to the first line.
            start = first_byte + offset + (skipped if number else 0)
            if not reject(shredder.rejected, first_line + number, start, str(error)):
                break
    return shredder.finish()


def shred_dicts(events: Sequence[Mapping[str, Any]], settings: ShredSettings, *, ingest_time_us: int) -> Shredded:
    """Shred Python events; those with a value that cannot be stored exactly are rejected, naming path and type.

    InvalidRequest when the texts of all events are beyond BATCH_BYTES_MAX: see slices.
    """
    shredder = Rows(settings, ingest_time_us)
    size = 0
    for position, event in enumerate(events, start=1):
        try:
            plain, event_bytes = plain_event(event)
            shredder.add(plain)
        except InvalidRequest as error:
            if not reject(shredder.rejected, position, 0, str(error)):
                break
            continue
        size += event_bytes
        check_bytes(size)
    return shredder.finish()


class Rows:
    """Shreds plain events one after the other."""

    def __init__(self, settings: ShredSettings, ingest_time_us: int) -> None:
        self.rejected: list[Rejected] = []
        self._settings = settings
        self._ingest_time_us = ingest_time_us
        self._columns = RowColumns()
        self._times: list[int] = []
        self._inferred: list[bool] = []
        self._missing = 0
        self._unreadable = 0
        self._long_path_bytes = 0

    def add(self, event: dict[str, Any]) -> None:
        """Take in one event; InvalidRequest leaves everything as it was."""
        flat = flatten(event)
        size = self._long_path_bytes + long_path_bytes(flat)
        time_us, found = take_time(flat, self._settings.timestamp_paths)
        self._missing += not found
        self._unreadable += found and time_us is None
        if size > BATCH_LONG_PATH_BYTES_MAX:
            flat = folded(event, flat)
        else:
            self._long_path_bytes = size
        self._columns.add(len(self._times), flat)
        self._times.append(self._ingest_time_us if time_us is None else time_us)
        self._inferred.append(time_us is None)

    def finish(self) -> Shredded:
        batch = None
        if self._times:
            batch = assemble(self._columns.finish(), self._times, self._inferred, self._settings.max_paths)
        return Shredded(batch, tuple(self.rejected), self._missing, self._unreadable)


def take_time(flat: dict[str, Any], paths: Sequence[str]) -> tuple[int | None, bool]:
    """(event time in microseconds or None, whether there is one to read), taken out of `flat` when it could be read.

    The first of `paths` that the event has counts, even when it cannot be read.
    """
    for path in paths:
        value = flat.get(path)
        if value is not None:
            time_us = parse_time(value)
            if time_us is not None:
                del flat[path]
            return time_us, True
    return None, False
