"""Owns the run of one input through a scan: room for it, hard events, texts that Python finishes, and the batch.

What differs between formats (the scan, where an event ends, what the reference makes of one) is the subclasses'.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from core.columns import DECIMAL, JSON
from core.errors import InvalidRequest
from core.limits import BATCH_LONG_PATH_BYTES_MAX, MIB
from ingest.compiled.condense import condense
from ingest.compiled.hand import column_for, write_event, write_text
from ingest.compiled.json_scan import LONG_PATH
from ingest.compiled.kinds import K_JSON
from ingest.compiled.paths import N_NODES, N_PATH_BYTES, SCANNED_BYTES_MAX, find_path, grown, new_paths
from ingest.compiled.table import make_batch
from ingest.compiled.tape import (
    DONE,
    FIXES,
    HARD_START,
    LONG_PATH_BYTES,
    MISSING,
    POSITION,
    ROOM,
    ROWS,
    UNREADABLE_TIMES,
    give_back,
    new_tape,
)
from ingest.compiled.vectors import PADDING
from ingest.flatten import flatten, folded, long_path_bytes
from ingest.reference import take_time
from ingest.shredded import Rejected, Shredded, ShredSettings, reject

# From here on tables are crowded; honest blocks have some hundred paths. A node takes some 100 bytes.
_NODES_CROWDED: Final = 32 * 1024
_PATH_BYTES_CROWDED: Final = 4 * MIB
_CONDENSED_PARTS_MAX: Final = 64  # of an input: each costs a pass over all that is on the tape


class Events:
    """One input on its way to one batch."""

    def __init__(self, data: bytes, settings: ShredSettings, ingest_time_us: int, entry_bytes_min: int) -> None:
        self.data = data
        self.tape = new_tape(data, entry_bytes_min)
        self.paths = new_paths()
        self.rejected: list[Rejected] = []
        self.ingest_time_us = ingest_time_us
        self._settings = settings
        self._condensed = 0  # up to where the input was when the tables were condensed last
        self.time_paths = self._time_paths()

    def scan(self) -> int:
        """Scan on from state[POSITION]; returns how it ended."""
        raise NotImplementedError

    def event_end(self, start: int) -> int:
        """End of the event that begins at `start`, as far as it can be told."""
        raise NotImplementedError

    def decode(self, start: int, end: int) -> dict[str, Any]:
        """The event there as plain values; InvalidRequest when it is none."""
        raise NotImplementedError

    def place(self, start: int) -> tuple[int, int]:
        """(line, byte offset) to name for the event that begins at `start`."""
        raise NotImplementedError

    def finished_text(self, raw: bytes) -> str:
        """The canonical JSON text of a value that the scan left as it stands in the input."""
        raise NotImplementedError

    def shred(self) -> Shredded:
        """Take in all events and make the batch."""
        while (status := self.scan()) != DONE:
            start = int(self.tape.state[HARD_START])
            end = self.event_end(start)
            if status == ROOM and self._is_crowded(start):
                self._condense(start)
            elif status == ROOM and self.paths.counts[N_PATH_BYTES] < SCANNED_BYTES_MAX:
                # No key is longer than the event that does not fit, no path than that and what stands above it.
                self.paths = grown(self.paths, 2 * LONG_PATH + end - start)
            else:
                self.tape.state[POSITION] = end
                if not self._take_in(start, end):
                    self.skip_broken(end)
        self._finish_texts()
        return self._answer()

    def skip_broken(self, end: int) -> None:
        """Reject what stands from `end` on, where a rejected event ends, as far as it is easy to see that it is broken.

        Broken events come one after the other, and a call of the scan for each costs as much as the reference.
        """

    def reject(self, start: int, reason: str) -> bool:
        """Reject the event that begins at `start`; False when nothing more is to be read."""
        if reject(self.rejected, *self.place(start), reason):
            return True
        self.tape.state[POSITION] = len(self.data)
        return False

    def _take_in(self, start: int, end: int) -> bool:
        """Have the reference take in (True) or reject a hard event."""
        try:
            event = self.decode(start, end)
            flat = flatten(event)
        except InvalidRequest as error:
            self.reject(start, str(error))
            return False
        size = int(self.tape.state[LONG_PATH_BYTES]) + long_path_bytes(flat)
        time_us, found = take_time(flat, self._settings.timestamp_paths)
        self.tape.state[MISSING] += not found
        self.tape.state[UNREADABLE_TIMES] += found and time_us is None
        if size > BATCH_LONG_PATH_BYTES_MAX:
            flat = folded(event, flat)
        else:
            self.tape.state[LONG_PATH_BYTES] = size
        inferred = time_us is None
        time_us = self.ingest_time_us if time_us is None else time_us
        self.tape, self.paths = write_event(self.tape, self.paths, flat, time_us, inferred)
        return True

    def _is_crowded(self, start: int) -> bool:
        """Whether paths have to make room for those of the event at `start`."""
        counts = self.paths.counts
        is_full = bool(counts[N_NODES] >= _NODES_CROWDED or counts[N_PATH_BYTES] >= _PATH_BYTES_CROWDED)
        return is_full and start - self._condensed > len(self.data) // _CONDENSED_PARTS_MAX

    def _condense(self, start: int) -> None:
        self._finish_texts()
        self.tape, self.paths = condense(self.tape, self.paths, self._settings.max_paths)
        self.time_paths = self._time_paths()
        self._condensed = start

    def _time_paths(self) -> np.ndarray:
        return np.array([self._intern(path) for path in self._settings.timestamp_paths], np.int64)

    def _intern(self, path: str) -> int:
        text = path.encode()
        padded = np.frombuffer(text + bytes(PADDING), np.uint8)
        while (number := find_path(self.paths, padded, len(text))) < 0:
            self.paths = grown(self.paths, len(text))
        return int(number)

    def _finish_texts(self) -> None:
        for entry in self.tape.fixes[: int(self.tape.state[FIXES])].tolist():
            column, bits = int(self.tape.column[entry]), int(self.tape.bits[entry])
            start = bits >> 32
            raw = self.data[start : start + (bits & 0xFFFFFFFF)]
            if self.paths.column_kind[column] == K_JSON:
                self._set_text(entry, column, self.finished_text(raw).encode(), JSON)
                continue
            value = float(raw)
            if math.isinf(value):
                self._set_text(entry, column, raw, DECIMAL)
            else:
                self.tape.bits[entry] = np.float64(value).view(np.int64)
        self.tape.state[FIXES] = 0

    def _set_text(self, entry: int, column: int, text: bytes, kind: str) -> None:
        self.paths, column = column_for(self.paths, int(self.paths.column_path[column]), kind)
        self.tape, bits = write_text(self.tape, text)
        self.tape.bits[entry], self.tape.column[entry] = bits, column

    def _answer(self) -> Shredded:
        state = self.tape.state
        batch = make_batch(self.tape, self.paths, self._settings.max_paths) if state[ROWS] else None
        give_back(self.tape)
        return Shredded(batch, tuple(self.rejected), int(state[MISSING]), int(state[UNREADABLE_TIMES]))
