"""Owns the string zone map: a small automaton that accepts every text of a column in a row group, and few others.

It is a trie over the bytes of the texts with at most TRANSITIONS_MAX transitions, grown from the root where most texts
pass; where it ends, any text may follow. That is the zone map for strings of Datadog's Husky ("zone maps" of regular
expressions). Never knows a segment, nor what is asked.

A state is a byte, then for each of its transitions, in order: the byte that it is for, and the state that it leads to.
The first byte of a state is ANYTHING, SOMETHING (any text but the empty one), or twice the number of its transitions,
plus one where a text may end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

TRANSITIONS_MAX: Final = 64
# Of more texts, which seldom begin alike, a map takes long and says little: measured, 4 % of a flush of logs for their
# messages. Their words and bounds are known.
TEXTS_MAX: Final = 16_384
ANYTHING: Final = 255
SOMETHING: Final = 254


@dataclass(frozen=True, slots=True)
class State:
    """Where a text may stand: `ends`, the text may end here; `more`, any bytes may follow; else those of `next`."""

    ends: bool
    more: bool
    next: dict[int, State]

    def accepts(self, text: str) -> bool:
        """Whether `text` may stand behind this state."""
        state = self
        for byte in text.encode():
            if state.more:
                return True
            following = state.next.get(byte)
            if following is None:
                return False
            state = following
        return state.ends


def string_zone_map(texts: pa.Array) -> bytes | None:
    """The map of a string array (nulls are in none); None when it would accept all, of none and of too many texts."""
    # Imported here: only a process that writes segments pays for numba.
    from storage.compiled.prefix_tries import EXACT, grow

    _, offset_buffer, data_buffer = texts.buffers()
    present = np.flatnonzero(np.asarray(texts.is_valid())).astype(np.int32)
    if not 0 < len(present) <= TEXTS_MAX:
        return None
    offsets = np.frombuffer(offset_buffer, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(data_buffer if data_buffer else b"", np.uint8)
    states = np.empty((TRANSITIONS_MAX + 1, 7), np.int64)
    grow(_read_only(data), _read_only(offsets), present, np.empty_like(present), TRANSITIONS_MAX, states)
    encoded = bytearray()
    _encode(states.tolist(), EXACT, 0, encoded)
    return bytes(encoded) if encoded[0] not in (ANYTHING, SOMETHING) else None


def decode_string_zone_map(encoded: bytes) -> State:
    """The root of a map of string_zone_map(); raises ValueError when it is none."""
    root, end = _decode(encoded, 0, TRANSITIONS_MAX)
    if end != len(encoded):
        raise ValueError(f"a string zone map ends after {end} of {len(encoded)} bytes")
    return root


def _encode(states: Any, exact: int, number: int, into: bytearray) -> None:
    how, ends, first, children, *_ = states[number]
    if how != exact:
        into.append(ANYTHING if ends else SOMETHING)
        return
    into.append(2 * children + ends)
    for child in range(first, first + children):
        into.append(states[child][4])
        _encode(states, exact, child, into)


def _decode(encoded: bytes, at: int, transitions_left: int) -> tuple[State, int]:
    """(the state at `at`, where it ends)."""
    if at >= len(encoded):
        raise ValueError(f"a string zone map goes on behind its {len(encoded)} bytes")
    head, at = encoded[at], at + 1
    if head in (ANYTHING, SOMETHING):
        return State(head == ANYTHING, True, {}), at
    if head // 2 > transitions_left:
        raise ValueError(f"a string zone map has more than {TRANSITIONS_MAX} transitions")
    following: dict[int, State] = {}
    left = transitions_left - head // 2
    for _ in range(head // 2):
        if at >= len(encoded):
            raise ValueError(f"a string zone map goes on behind its {len(encoded)} bytes")
        byte = encoded[at]
        following[byte], at = _decode(encoded, at + 1, left)
    return State(bool(head % 2), False, following), at


def _read_only(array: Any) -> Any:
    """A view that cannot be written: the kernel is compiled for such ones only, whatever Arrow says of its buffers."""
    seen = array[:]
    seen.flags.writeable = False
    return seen
