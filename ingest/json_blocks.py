"""Owns cutting a JSON stream into blocks of whole events: NDJSON at line ends, other layouts where objects close."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.limits import RECORD_BYTES_MAX
from ingest.compiled.json_scan import DOCUMENTS, LINES
from ingest.compiled.split import DEPTH, IN_STRING, object_end
from ingest.json_lines import BOM, READ_BYTES, Reader, Rewound, blocks

_SNIFFED_BYTES: Final = 64 * 1024
_WHITE: Final = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class JsonBlock:
    """Whole events; `first_line` counts from 1, `first_byte` from 0 in the stream. `layout`: see json_scan."""

    data: bytes
    layout: int
    first_line: int
    first_byte: int


def json_blocks(reader: Reader, block_bytes: int) -> Iterator[JsonBlock]:
    """Cut a stream of JSON events into blocks of about `block_bytes`.

    NDJSON, unless the first bytes say otherwise: an array of objects, or a first object that stands on several lines
    or has another one behind it on its line. An event beyond RECORD_BYTES_MAX comes cut, so that it is rejected.
    """
    head = b""
    while len(head) < _SNIFFED_BYTES and (more := reader.read(_SNIFFED_BYTES - len(head))):
        head += more
    if layout_of(head) == LINES:
        for data, line, byte in blocks(Rewound(head, reader), block_bytes):
            yield JsonBlock(data, LINES, line, byte)
    else:
        first_byte = len(BOM) if head.startswith(BOM) else 0
        yield from _documents(Rewound(head[first_byte:], reader), block_bytes, first_byte)


def layout_of(head: bytes) -> int:
    """The layout of a stream that begins with `head`."""
    text = head.removeprefix(BOM).lstrip(_WHITE)
    if text.startswith(b"["):
        return DOCUMENTS if text[1:].lstrip(_WHITE)[:1] in (b"{", b"]") else LINES
    try:
        decoded = text.decode(errors="replace")
        _, end = json.JSONDecoder().raw_decode(decoded)
    except (ValueError, RecursionError):
        return LINES  # also a first line that is broken: the others are read all the same
    if not text.startswith(b"{"):
        return LINES
    return DOCUMENTS if "\n" in decoded[:end] or decoded[end:].lstrip(" \t\r")[:1] in ("{", ",") else LINES


def _documents(reader: Reader, block_bytes: int, start: int) -> Iterator[JsonBlock]:
    line = 1  # of pending[0], which is byte `start` of the stream
    pending = bytearray()
    ready = 0  # pending up to here is whole events
    state = np.zeros(3, np.int64)
    skipping = False  # inside an overlong event whose beginning was handed out
    while chunk := reader.read(min(block_bytes, READ_BYTES)):
        data, begin = np.frombuffer(chunk, np.uint8), 0
        if skipping:
            end = int(object_end(data, 0, len(data), state, True))
            skipping = end < 0
            begin = len(data) if skipping else end
            line += chunk.count(b"\n", 0, begin)
            start += begin
        end = int(object_end(data, begin, len(data), state, False))
        if end >= 0:
            ready = len(pending) + end - begin
        pending += chunk[begin:]
        if state[DEPTH] == 0 and not state[IN_STRING]:
            ready = len(pending)  # separators, and what is no object
        if ready >= block_bytes or len(pending) - ready > RECORD_BYTES_MAX:
            skipping = ready == 0
            cut = ready or len(pending)
            yield JsonBlock(bytes(pending[:cut]), DOCUMENTS, line, start)
            line += pending.count(b"\n", 0, cut)
            start += cut
            del pending[:cut]
            ready = 0
    if pending:
        yield JsonBlock(bytes(pending), DOCUMENTS, line, start)
