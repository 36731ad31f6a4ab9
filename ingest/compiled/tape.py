"""Owns the tape: what a scan writes down of each value, in the order of the events. Never knows the format scanned.

A value is an entry: its column (path and kind) and 64 bits. Bits of a whole number, boolean or time are the value, of
a float its pattern; of text they say where it stands in `src` (packed start and length), of a list which items it has.
`src` holds the input, PADDING bytes, and then the *arena*: texts that do not stand in the input as they are.
"""

from __future__ import annotations

import threading
from typing import Final, NamedTuple

import numpy as np

from core.kernels import kernel
from core.limits import BATCH_BYTES_TARGET
from ingest.compiled.memory import roomy
from ingest.compiled.vectors import PADDING

# Places in Tape.state.
POSITION: Final = 0  # next byte to scan
ROWS: Final = 1  # events taken in
ENTRIES: Final = 2
ITEMS: Final = 3
ARENA: Final = 4  # next free byte of the arena
FIXES: Final = 5
MISSING: Final = 6  # events without an event time
UNREADABLE_TIMES: Final = 7
HARD_START: Final = 8  # the event that the reference has to look at
STAMP: Final = 9  # number of the attempt, for Paths.path_stamp
EMPTY_TEXTS: Final = 10  # where "{}[]" stands in `src`
LONG_PATH_BYTES: Final = 11  # of all events taken in, see BATCH_LONG_PATH_BYTES_MAX

# How a scan ends.
DONE: Final = 0
HARD: Final = 1  # the event at HARD_START is not decided here: the reference takes it, or says what is wrong
ROOM: Final = 2  # Paths must grow

DROPPED: Final = -1  # column of an entry that became the event time

SPARE_BYTES_MAX: Final = 4 * BATCH_BYTES_TARGET  # of `src`

_LENGTH_BITS: Final = 32
_spare = threading.local()


class Tape(NamedTuple):
    """Arrays with room for all that the input can hold; pages that are not reached cost nothing."""

    state: np.ndarray  # int64, see the places above
    src: np.ndarray  # uint8
    column: np.ndarray  # int32, one per entry
    bits: np.ndarray  # int64, one per entry
    row_end: np.ndarray  # int32, entries up to the end of each row
    time: np.ndarray  # int64, event time of each row in microseconds
    inferred: np.ndarray  # uint8, 1 where there was none
    item_kind: np.ndarray  # uint8
    item_bits: np.ndarray  # int64
    fixes: np.ndarray  # int32, entries whose text Python has to translate
    sorted_rows: np.ndarray  # int32, row of each entry, entries by column
    sorted_bits: np.ndarray  # int64, bits of each entry, entries by column


def new_tape(data: bytes, entry_bytes_min: int) -> Tape:
    """A tape for `data`, in which an entry takes at least `entry_bytes_min` bytes."""
    size = len(data)
    entries = size // entry_bytes_min + 16
    # Twice the input is for the arena: JSON text can be longer than what it is made of.
    tape = _taken(3 * size + 4 * PADDING, entries)
    src, state = tape.src, tape.state
    src[:size] = np.frombuffer(data, np.uint8)
    src[size : size + PADDING] = 0
    src[size + PADDING : size + PADDING + 4] = np.frombuffer(b"{}[]", np.uint8)
    state[:] = 0
    state[EMPTY_TEXTS] = size + PADDING
    state[ARENA] = size + PADDING + 4
    return tape


def _taken(src_bytes: int, entries: int) -> Tape:
    """A tape with room for so much: the one that this thread gave back last, when it is large enough."""
    spare: Tape | None = getattr(_spare, "tape", None)
    rows = src_bytes // 2  # more than the input; the empty map of msgpack is one byte, and so is a small item
    if (
        spare is not None
        and len(spare.src) >= src_bytes
        and len(spare.column) >= entries
        and len(spare.item_kind) >= rows  # its `src` may have grown alone, see with_arena
    ):
        _spare.tape = None
        return spare
    return Tape(
        state=np.zeros(12, np.int64),
        src=np.empty(src_bytes, np.uint8),
        column=roomy(entries, np.int32),
        bits=roomy(entries, np.int64),
        row_end=roomy(rows, np.int32),
        time=roomy(rows, np.int64),
        inferred=roomy(rows, np.uint8),
        item_kind=roomy(rows, np.uint8),
        item_bits=roomy(rows, np.int64),
        fixes=roomy(entries, np.int32),
        sorted_rows=roomy(entries, np.int32),
        sorted_bits=roomy(entries, np.int64),
    )


def give_back(tape: Tape) -> None:
    """Keep the memory of a tape that nothing refers to any more for the next one of this thread.

    Fresh memory costs a page fault for each 4 KiB (measured: a tenth of the time of a shred).
    """
    if len(tape.src) <= SPARE_BYTES_MAX:
        _spare.tape = tape


def with_arena(tape: Tape, more: int) -> Tape:
    """The tape with room in its arena for `more` bytes, and for what the scan of the rest will put there."""
    used = int(tape.state[ARENA])
    unread = int(tape.state[EMPTY_TEXTS]) - int(tape.state[POSITION])  # a scanned text is never longer than its source
    room = more + max(unread, 0) + 2 * PADDING
    if used + room <= len(tape.src):
        return tape
    src = np.empty(2 * len(tape.src) + room, np.uint8)
    src[:used] = tape.src[:used]
    return tape._replace(src=src)


def empty_array_text(tape: Tape) -> int:
    """The bits of the text "[]"."""
    return (int(tape.state[EMPTY_TEXTS]) + 2) << _LENGTH_BITS | 2


@kernel
def pack(start: int, length: int) -> int:
    """Start and length of a text (or of the items of a list) in 64 bits."""
    return start << _LENGTH_BITS | length


@kernel
def start_of(bits: int) -> int:
    """The start that was packed."""
    return bits >> _LENGTH_BITS


@kernel
def length_of(bits: int) -> int:
    """The length that was packed."""
    return bits & 0xFFFFFFFF
