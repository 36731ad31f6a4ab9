"""Owns growing the string zone map: a trie of the beginnings of texts with few transitions, compiled. Never encodes it.

What is grown and why is in storage/string_zone_maps.py.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel

OPEN: Final = 0  # not looked at yet: any text may follow
EXACT: Final = 1  # every text that passes ends here or takes one of the transitions
CUT: Final = 2  # there was no room for its transitions: any text may follow


@kernel
def grow(
    data: np.ndarray,
    offsets: np.ndarray,
    texts: np.ndarray,
    spare: np.ndarray,
    transitions_max: int,
    states: np.ndarray,
) -> int:
    """Grow the trie of the texts data[offsets[i]:offsets[i + 1]], i of `texts`; returns how many states there are.

    The state that most texts pass is looked at first, of equals the oldest. `texts` is reordered, `spare` as long.
    A row of `states` (int64, transitions_max + 1 of 7) is: how it is (OPEN, EXACT, CUT), 1 when a text ends in it,
    its first child, number of children, the byte that leads to it, its first text, number of texts. Children are in the
    order of their bytes.
    """
    counts = np.zeros(257, np.int64)  # texts that end here, then those with each byte
    depths = np.zeros(transitions_max + 1, np.int64)
    states[:] = 0
    states[0, 6] = len(texts)
    grown, used = 1, 0
    while True:
        state = _most_passed(states, grown)
        if state < 0:
            return grown
        depth, first, passing = depths[state], states[state, 5], states[state, 6]
        bytes_here = _count(data, offsets, texts[first : first + passing], depth, counts)
        states[state, 1] = counts[0] > 0
        if used + bytes_here > transitions_max:
            states[state, 0] = CUT
            continue
        states[state, 0] = EXACT
        states[state, 2] = grown
        states[state, 3] = bytes_here
        used += bytes_here
        begin = first
        for slot in range(257):
            count = counts[slot]
            if slot > 0 and count > 0:
                states[grown, 4] = slot - 1
                states[grown, 5] = begin
                states[grown, 6] = count
                depths[grown] = depth + 1
                grown += 1
            counts[slot] = begin - first
            begin += count
        if bytes_here > 1 or states[state, 1]:  # else they stand together already
            _part(data, offsets, texts[first : first + passing], spare, depth, counts)


@kernel
def _most_passed(states: np.ndarray, grown: int) -> int:
    """The open state that most texts pass, -1 for none."""
    state, most = -1, 0
    for candidate in range(grown):
        if states[candidate, 0] == OPEN and states[candidate, 6] > most:
            state, most = candidate, states[candidate, 6]
    return state


@kernel
def _count(data: np.ndarray, offsets: np.ndarray, texts: np.ndarray, depth: int, counts: np.ndarray) -> int:
    """Count the texts by their byte at `depth`; returns how many bytes there are."""
    counts[:] = 0
    for text in texts:
        at = offsets[text] + depth
        counts[1 + data[at] if at < offsets[text + 1] else 0] += 1
    found = 0
    for slot in range(1, 257):
        found += counts[slot] > 0
    return found


@kernel
def _part(
    data: np.ndarray, offsets: np.ndarray, texts: np.ndarray, spare: np.ndarray, depth: int, places: np.ndarray
) -> None:
    """Order the texts by their byte at `depth`; `places` says where those of each begin."""
    for text in texts:
        at = offsets[text] + depth
        slot = 1 + data[at] if at < offsets[text + 1] else 0
        spare[places[slot]] = text
        places[slot] += 1
    texts[:] = spare[: len(texts)]
