"""Owns the compiled shredder of JSON: drives the scan, has the reference decide what is hard, and makes the batch."""

from __future__ import annotations

import math

import numpy as np

from core.columns import DECIMAL, JSON
from core.errors import InvalidRequest
from ingest.assemble import assemble
from ingest.compiled.arrays import tape_columns
from ingest.compiled.hand import column_for, write_event, write_text
from ingest.compiled.json_scan import LINES, LONG_PATH, line_end, scan_json
from ingest.compiled.kinds import K_JSON
from ingest.compiled.paths import find_path, grown, new_paths
from ingest.compiled.tape import (
    DONE,
    FIXES,
    HARD_START,
    MISSING,
    POSITION,
    ROOM,
    ROWS,
    UNREADABLE_TIMES,
    new_tape,
)
from ingest.compiled.vectors import PADDING
from ingest.flatten import flatten
from ingest.json_lines import BOM, has_long_numbers, parse_event, parse_exactly
from ingest.reference import take_time
from ingest.shredded import Rejected, Shredded, ShredSettings, check_bytes
from ingest.values import canonical

_JSON_ENTRY_BYTES_MIN = 5  # '"":1,'


def shred_ndjson(
    data: bytes | memoryview, settings: ShredSettings, *, ingest_time_us: int, first_line: int = 1, first_byte: int = 0
) -> Shredded:
    """Shred NDJSON; lines that are not a JSON object are rejected, blank ones skipped.

    `first_line` and `first_byte` say where `data` begins in its source (see json_lines.blocks). InvalidRequest when
    `data` is beyond BATCH_BYTES_MAX.
    """
    data = bytes(data)
    check_bytes(len(data))
    shredder = _Shredder(data, settings, ingest_time_us, first_line, first_byte)
    if first_byte == 0 and data.startswith(BOM):
        shredder.tape.state[POSITION] = len(BOM)
    shredder.run(LINES)
    return shredder.finish()


class _Shredder:
    """One input on its way to one batch."""

    def __init__(
        self, data: bytes, settings: ShredSettings, ingest_time_us: int, first_line: int, first_byte: int
    ) -> None:
        self.tape = new_tape(data, _JSON_ENTRY_BYTES_MIN)
        self._data = data
        self._settings = settings
        self._ingest_time_us = ingest_time_us
        self._paths = new_paths()
        self._time_paths = np.array([self._intern(path) for path in settings.timestamp_paths], np.int64)
        self._lines = _LineCounter(data, first_line)
        self._first_byte = first_byte
        self._rejected: list[Rejected] = []

    def _intern(self, path: str) -> int:
        text = path.encode()
        padded = np.frombuffer(text + bytes(PADDING), np.uint8)
        while (number := find_path(self._paths, padded, len(text))) < 0:
            self._paths = grown(self._paths, len(text))
        return int(number)

    def run(self, layout: int) -> None:
        """Take in all events."""
        end = len(self._data)
        while True:
            status = scan_json(self.tape, self._paths, end, layout, self._time_paths, self._ingest_time_us)
            if status == DONE:
                break
            if status == ROOM:
                # No key or path is longer than the event that does not fit.
                self._paths = grown(self._paths, 2 * LONG_PATH + self._line_end() - int(self.tape.state[HARD_START]))
            else:
                self._take_hard_line()
        self._translate_texts()

    def _line_end(self) -> int:
        return int(line_end(self.tape.src, int(self.tape.state[HARD_START]), len(self._data)))

    def _take_hard_line(self) -> None:
        """Have the reference take in or reject the line that the scan stopped at."""
        state = self.tape.state
        begin, end = int(state[HARD_START]), self._line_end()
        state[POSITION] = end
        line = self._data[begin:end].rstrip(b" \t\r")
        try:
            flat = flatten(parse_event(line, has_long_numbers(line)))
        except InvalidRequest as error:
            number, line_start = self._lines.at(begin)
            self._rejected.append(Rejected(number, self._first_byte + line_start, str(error)))
            return
        time_us, found = take_time(flat, self._settings.timestamp_paths)
        state[MISSING] += not found
        state[UNREADABLE_TIMES] += found and time_us is None
        self.tape, self._paths = write_event(
            self.tape, self._paths, flat, self._ingest_time_us if time_us is None else time_us, time_us is None
        )

    def _translate_texts(self) -> None:
        """Put the values that the scan left as text into their final form."""
        for entry in self.tape.fixes[: int(self.tape.state[FIXES])].tolist():
            column = int(self.tape.column[entry])
            text = self._text(int(self.tape.bits[entry]))
            if self._paths.column_kind[column] == K_JSON:
                self._set_text(entry, column, canonical(parse_exactly(text)).encode(), JSON)
                continue
            value = float(text)
            if math.isinf(value):
                self._set_text(entry, column, text, DECIMAL)
            else:
                self.tape.bits[entry] = np.float64(value).view(np.int64)

    def _text(self, bits: int) -> bytes:
        start = bits >> 32
        return self._data[start : start + (bits & 0xFFFFFFFF)]

    def _set_text(self, entry: int, column: int, text: bytes, kind: str) -> None:
        self._paths, column = column_for(self._paths, int(self._paths.column_path[column]), kind)
        self.tape, self.tape.bits[entry] = write_text(self.tape, text)
        self.tape.column[entry] = column

    def finish(self) -> Shredded:
        """The batch and the rest of the answer."""
        state = self.tape.state
        rows = int(state[ROWS])
        batch = None
        if rows:
            columns = tape_columns(self.tape, self._paths)
            batch = assemble(columns, self.tape.time[:rows], self.tape.inferred[:rows], self._settings.max_paths)
        return Shredded(batch, tuple(self._rejected), int(state[MISSING]), int(state[UNREADABLE_TIMES]))


class _LineCounter:
    """Line numbers of positions that only grow."""

    def __init__(self, data: bytes, first_line: int) -> None:
        self._data = data
        self._line = first_line
        self._counted = 0

    def at(self, position: int) -> tuple[int, int]:
        """(number of the line that holds `position`, where it begins)."""
        self._line += self._data.count(b"\n", self._counted, position)
        self._counted = position
        return self._line, self._data.rfind(b"\n", 0, position) + 1
