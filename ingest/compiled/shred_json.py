"""Owns shredding JSON with compiled code: NDJSON, a JSON array of objects, objects one after the other."""

from __future__ import annotations

from typing import Any, Final

from core.errors import InvalidRequest
from ingest.compiled.events import Events
from ingest.compiled.json_scan import DOCUMENTS, LINES, line_end, scan_json
from ingest.compiled.split import value_end
from ingest.compiled.tape import POSITION
from ingest.json_lines import BOM, has_long_numbers, parse_event, parse_exactly
from ingest.shredded import Shredded, ShredSettings, check_bytes
from ingest.values import canonical

_ENTRY_BYTES_MIN: Final = 5  # '"":1,'


def shred_ndjson(
    data: bytes | memoryview, settings: ShredSettings, *, ingest_time_us: int, first_line: int = 1, first_byte: int = 0
) -> Shredded:
    """Shred NDJSON; lines that are not a JSON object are rejected, blank ones skipped.

    `first_line` and `first_byte` say where `data` begins in its source (see json_blocks). InvalidRequest when `data`
    is beyond BATCH_BYTES_MAX.
    """
    return shred_json(
        data, LINES, settings, ingest_time_us=ingest_time_us, first_line=first_line, first_byte=first_byte
    )


def shred_json(
    data: bytes | memoryview,
    layout: int,
    settings: ShredSettings,
    *,
    ingest_time_us: int,
    first_line: int = 1,
    first_byte: int = 0,
) -> Shredded:
    """Shred JSON of a layout of json_scan; see shred_ndjson.

    In DOCUMENTS, objects may stand one after the other or in arrays and span lines; a broken one ends where its
    braces close. The place named for a rejected one is where it begins, in LINES where its line begins.
    """
    data = bytes(data)
    check_bytes(len(data))
    kind = _Lines if layout == LINES else _Documents
    events = kind(data, settings, ingest_time_us, first_line, first_byte)
    if first_byte == 0 and data.startswith(BOM):
        events.tape.state[POSITION] = len(BOM)
    return events.shred()


class _Lines(Events):
    """NDJSON."""

    layout = LINES

    def __init__(
        self, data: bytes, settings: ShredSettings, ingest_time_us: int, first_line: int, first_byte: int
    ) -> None:
        super().__init__(data, settings, ingest_time_us, _ENTRY_BYTES_MIN)
        self._line = first_line
        self._counted = 0  # up to where line ends are in `_line`
        self._first_byte = first_byte

    def scan(self) -> int:
        return scan_json(self.tape, self.paths, len(self.data), self.layout, self.time_paths, self.ingest_time_us)

    def event_end(self, start: int) -> int:
        return int(line_end(self.tape.src, start, len(self.data)))

    def decode(self, start: int, end: int) -> dict[str, Any]:
        text = self.data[start:end].rstrip(b" \t\r")
        return parse_event(text, has_long_numbers(text))

    def place(self, start: int) -> tuple[int, int]:
        self._line += self.data.count(b"\n", self._counted, start)
        self._counted = start
        return self._line, self._first_byte + self._begin(start)

    def skip_broken(self, end: int) -> None:
        size = len(self.data)
        while int(self.tape.state[POSITION]) < size and end < size:
            begin = end + 1
            end = self.data.find(b"\n", begin)
            end = size if end < 0 else end
            text = self.data[begin:end].strip(b" \t\r")
            if text:
                try:
                    parse_event(text, has_long_numbers(text))
                except InvalidRequest as error:
                    if not self.reject(begin, str(error)):
                        return
                else:
                    self.tape.state[POSITION] = begin
                    return
            self.tape.state[POSITION] = end

    def finished_text(self, raw: bytes) -> str:
        return canonical(parse_exactly(raw))

    def _begin(self, start: int) -> int:
        return self.data.rfind(b"\n", 0, start) + 1


class _Documents(_Lines):
    """Objects one after the other or in arrays."""

    layout = DOCUMENTS

    def skip_broken(self, end: int) -> None:
        pass

    def event_end(self, start: int) -> int:
        return int(value_end(self.tape.src, start, len(self.data)))

    def _begin(self, start: int) -> int:
        return start
