"""Owns writing events to the tape by hand: plain values that the reference has decoded. Slow, exact, rarely used."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from core.columns import BIN, BOOL, DECIMAL, FLOAT, INT, JSON, STR, TIME, UINT
from ingest.compiled.kinds import K_EMPTY_LIST, K_LIST, K_NULL, KIND_NAMES
from ingest.compiled.paths import FULL, Paths, find_column, find_path, grown
from ingest.compiled.tape import ARENA, ENTRIES, ITEMS, ROWS, Tape, with_arena
from ingest.compiled.vectors import PADDING
from ingest.values import INT64_MAX, Instant, Json, Number

_NUMBERS: Final = {name: number for number, name in enumerate(KIND_NAMES)}
_KINDS: Final[dict[type, str]] = {
    bool: BOOL,
    float: FLOAT,
    str: STR,
    Number: DECIMAL,
    Json: JSON,
    Instant: TIME,
    bytes: BIN,
}


def write_event(tape: Tape, paths: Paths, flat: dict[str, Any], time_us: int, inferred: bool) -> tuple[Tape, Paths]:
    """Append one event, given as ingest.flatten gives it without its event time; returns the tables to go on with."""
    for path, value in flat.items():
        kind, tape, bits = _entry(tape, value)
        paths, column = column_at(paths, path.encode(), kind)
        entry = int(tape.state[ENTRIES])
        tape.column[entry] = column
        tape.bits[entry] = bits
        tape.state[ENTRIES] = entry + 1
    row = int(tape.state[ROWS])
    tape.time[row] = time_us
    tape.inferred[row] = inferred
    tape.row_end[row] = tape.state[ENTRIES]
    tape.state[ROWS] = row + 1
    return tape, paths


def write_text(tape: Tape, text: bytes) -> tuple[Tape, int]:
    """(tape, bits) of a text put into the arena."""
    tape = with_arena(tape, len(text))
    start = int(tape.state[ARENA])
    tape.src[start : start + len(text)] = np.frombuffer(text, np.uint8)
    tape.state[ARENA] = start + len(text)
    return tape, start << 32 | len(text)


def write_texts(tape: Tape, texts: list[bytes]) -> tuple[Tape, np.ndarray]:
    """(tape, bits of each) of texts put into the arena."""
    tape, bits = write_text(tape, b"".join(texts))
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return tape, (bits >> 32) + np.cumsum(lengths) - lengths << 32 | lengths


def column_for(paths: Paths, path: int, kind: str) -> tuple[Paths, int]:
    """(tables, column) of a path and kind."""
    while (column := find_column(paths, path, _NUMBERS[kind])) == FULL:
        paths = grown(paths, 0)
    return paths, column


def column_at(paths: Paths, path: bytes, kind: int) -> tuple[Paths, int]:
    """(tables, column) of a path, given by its text, and kind (a number of kinds)."""
    text = np.frombuffer(path + bytes(PADDING), np.uint8)
    while True:
        number = find_path(paths, text, len(path))
        column = FULL if number == FULL else find_column(paths, number, kind)
        if column != FULL:
            return paths, column
        paths = grown(paths, len(path))


def _entry(tape: Tape, value: Any) -> tuple[int, Tape, int]:
    """(kind, tape, bits) of a flat value."""
    if type(value) is not tuple:
        kind = _kind_of(value)
        tape, bits = _bits(tape, value, kind)
        return _NUMBERS[kind], tape, bits
    if not value:
        return K_EMPTY_LIST, tape, 0
    name, items = value
    item_kind = name.removesuffix("[]")
    first = int(tape.state[ITEMS])
    for place, item in enumerate(items, start=first):
        tape, bits = (tape, 0) if item is None else _bits(tape, item, item_kind)
        tape.item_kind[place] = K_NULL if item is None else _NUMBERS[item_kind]
        tape.item_bits[place] = bits
    tape.state[ITEMS] = first + len(items)
    return K_LIST + _NUMBERS[item_kind], tape, first << 32 | len(items)


def _kind_of(value: Any) -> str:
    if type(value) is int:
        return UINT if value > INT64_MAX else INT
    return _KINDS[type(value)]


def _bits(tape: Tape, value: Any, kind: str) -> tuple[Tape, int]:
    if kind == FLOAT:
        return tape, int(np.float64(value).view(np.int64))
    if kind in (STR, DECIMAL, JSON):
        return write_text(tape, value.encode())
    if kind == BIN:
        return write_text(tape, value)
    return tape, value - (1 << 64) if kind == UINT else int(value)
