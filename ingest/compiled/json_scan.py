"""Owns the scan of JSON events: bytes → tape. Decides nothing that is rare: such an event is HARD, for the reference.

One pass over the bytes. The first character of a value says what it is; a key is first compared with the one that
came at this place in the event before.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from core.limits import (
    BATCH_LONG_PATH_BYTES_MAX,
    EVENT_PATH_BYTES_MAX,
    EVENT_PATHS_MAX,
    NESTING_DEPTH_MAX,
    PATH_BYTES_USUAL,
    RECORD_BYTES_MAX,
)
from ingest.compiled.json_text import literal_end, skip_space
from ingest.compiled.kinds import (
    K_BOOL,
    K_DECIMAL,
    K_ERROR,
    K_FLOAT,
    K_HARD_FLOAT,
    K_JSON,
    K_NULL,
    K_STR,
)
from ingest.compiled.lists import scan_array
from ingest.compiled.numbers import scan_number
from ingest.compiled.paths import FULL, ROOT, Paths, find_column, find_node, same_bytes
from ingest.compiled.tape import (
    ARENA,
    DONE,
    DROPPED,
    EMPTY_TEXTS,
    ENTRIES,
    FIXES,
    HARD,
    HARD_START,
    ITEMS,
    LONG_PATH_BYTES,
    MISSING,
    POSITION,
    ROOM,
    ROWS,
    STAMP,
    UNREADABLE_TIMES,
    Tape,
    pack,
)
from ingest.compiled.texts import scan_string
from ingest.compiled.times import ASK, READ, time_of
from ingest.compiled.vectors import (
    address_of,
    item32,
    load8,
    load64,
    mask_different,
    mask_newline,
    mask_string_end,
    set_item32,
    store64,
    trailing_zeros,
)

LINES: Final = 0  # an event a line
DOCUMENTS: Final = 1  # objects one after the other or in an array, of as many lines as they like

LONG_PATH: Final = 4096  # bytes; what is inside an object with a longer path is left to the reference
_NEWLINE: Final = 10
_SPACE: Final = 32


@kernel
def scan_json(tape: Tape, paths: Paths, end: int, layout: int, time_paths: np.ndarray, ingest_time_us: int) -> int:
    """Scan events from state[POSITION] to `end` and write them to the tape; returns how it ended (see tape).

    `time_paths` are the ids of the paths that may hold the event time, the first of an event counts. HARD leaves
    POSITION at the beginning of the event and the tape as it was before.
    """
    state, src = tape.state, address_of(tape.src)
    newline = _SPACE if layout == LINES else _NEWLINE
    stack_node = np.empty(NESTING_DEPTH_MAX + 1, np.int64)
    stack_key = np.empty(NESTING_DEPTH_MAX + 1, np.int64)
    float_text = np.empty(2, np.int64)  # of an event time that is a float: its digits count
    pos = state[POSITION]
    rows, entries, items, arena, fixes = state[ROWS], state[ENTRIES], state[ITEMS], state[ARENA], state[FIXES]
    stamp, long_path_bytes = state[STAMP], state[LONG_PATH_BYTES]
    first_time, second_time = time_paths[0], time_paths[len(time_paths) - 1]
    node_next, node_first = address_of(paths.node_next), address_of(paths.node_first)
    node_path, keys = address_of(paths.node_path), address_of(paths.keys)
    node_key, node_key_length = address_of(paths.node_key), address_of(paths.node_key_length)
    path_stamp, path_length = address_of(paths.path_stamp), address_of(paths.path_length)
    path_column, column_kind = address_of(paths.path_column), address_of(paths.column_kind)
    tape_column, tape_bits = address_of(tape.column), address_of(tape.bits)
    status = DONE
    while True:
        pos = skip_space(src, pos, _NEWLINE) if layout == LINES else skip_separators(src, pos)
        if pos >= end:
            break
        start = pos
        row_entries, row_items, row_arena, row_fixes = entries, items, arena, fixes
        first_entry, second_entry = -1, -1
        stamp += 1
        members, path_bytes, absent_bytes = 0, 0, 0
        depth, parent, last = 1, ROOT, -1
        status = HARD
        if load8(src, pos) != 123:
            break
        pos = skip_space(src, pos + 1, newline)
        if load8(src, pos) == 125:
            pos += 1
            depth = 0
        while depth:
            # A key begins at `pos`.
            if load8(src, pos) != 34:
                break
            node = item32(node_first, parent) if last < 0 else item32(node_next, last)
            behind = -1
            if node >= 0:
                length = item32(node_key_length, node) + 2
                different = mask_different(src, pos + 1, keys, item32(node_key, node))
                if different == 0:
                    if length <= 32 or same_bytes(src, pos + 1, keys, item32(node_key, node), length):
                        behind = pos + 1 + length
                elif trailing_zeros(different) >= length:
                    behind = pos + 1 + length
            if behind < 0:
                text, length, behind, _ = scan_string(src, pos + 1, arena)
                if behind < 0:
                    break
                node = find_node(paths, parent, src, text, length)
                if node == FULL:
                    status = ROOM
                    break
                if paths.node_plain[node]:
                    if last < 0:
                        set_item32(node_first, parent, node)
                    else:
                        set_item32(node_next, last, node)
                behind = skip_space(src, behind, newline)
                if load8(src, behind) != 58:
                    break
                behind += 1
            pos = behind
            path = item32(node_path, node)
            members += 1
            path_bytes += item32(path_length, path)
            if item32(path_stamp, path) == stamp or members > EVENT_PATHS_MAX or path_bytes > EVENT_PATH_BYTES_MAX:
                break
            set_item32(path_stamp, path, stamp)
            char = load8(src, pos)
            if char <= 32:
                pos = skip_space(src, pos, newline)
                char = load8(src, pos)
            # A value begins at `pos`.
            kind, bits, value_start = K_ERROR, 0, pos
            if char == 34:
                kind = K_STR
                mask = mask_string_end(src, pos + 1)
                short = pos + 1 + trailing_zeros(mask)
                if mask and load8(src, short) == 34:
                    bits = pack(pos + 1, short - pos - 1)
                    pos = short + 1
                else:
                    text, length, pos, arena = scan_string(src, pos + 1, arena)
                    if pos < 0:
                        break
                    bits = pack(text, length)
            elif char == 45 or 48 <= char <= 57:
                kind, bits, pos = scan_number(src, pos)
                if kind == K_ERROR:
                    break
                if kind == K_DECIMAL:
                    bits = pack(value_start, pos - value_start)
                elif kind == K_HARD_FLOAT:
                    kind = K_FLOAT
                    bits = pack(value_start, pos - value_start)
                    tape.fixes[fixes] = entries
                    fixes += 1
            elif char == 123:
                if depth >= NESTING_DEPTH_MAX or item32(path_length, path) > LONG_PATH:
                    break
                pos = skip_space(src, pos + 1, newline)
                if load8(src, pos) != 125:
                    stack_node[depth] = parent
                    stack_key[depth] = node
                    depth += 1
                    parent = node
                    last = -1
                    absent_bytes += item32(path_length, path)
                    continue
                pos += 1
                kind = K_JSON
                bits = pack(state[EMPTY_TEXTS], 2)
            elif char == 91:
                kind, bits, pos, arena, items, plain = scan_array(
                    src, pos, depth + 1, newline, arena, items, tape.item_kind, tape.item_bits
                )
                if kind == K_ERROR:
                    break
                if not plain:
                    tape.fixes[fixes] = entries
                    fixes += 1
            else:
                pos = literal_end(src, pos)
                if pos < 0:
                    break
                kind = K_NULL if char == 110 else K_BOOL
                bits = 1 if char == 116 else 0
            if kind != K_NULL:
                column = item32(path_column, path)
                if column < 0 or item32(column_kind, column) != kind:
                    column = find_column(paths, path, kind)
                    if column == FULL:
                        status = ROOM
                        break
                set_item32(tape_column, entries, column)
                store64(tape_bits, 8 * entries, bits)
                if path == first_time or path == second_time:
                    if path == first_time:
                        first_entry = entries
                    else:
                        second_entry = entries
                    if kind == K_FLOAT:
                        float_text[0 if path == first_time else 1] = pack(value_start, pos - value_start)
                entries += 1
            else:
                absent_bytes += item32(path_length, path)
            last = node
            # Behind a value.
            while True:
                char = load8(src, pos)
                if char <= 32:
                    pos = skip_space(src, pos, newline)
                    char = load8(src, pos)
                if char != 125:
                    break
                pos += 1
                depth -= 1
                if depth == 0:
                    break
                last = stack_key[depth]
                parent = stack_node[depth]
            if depth:
                if char != 44:
                    break
                pos += 1
                if load8(src, pos) != 34:
                    pos = skip_space(src, pos, newline)
        if depth or pos - start > RECORD_BYTES_MAX or path_bytes > EVENT_PATH_BYTES_MAX:
            break
        long_bytes = max(0, path_bytes - absent_bytes - PATH_BYTES_USUAL * (entries - row_entries))
        if long_path_bytes + long_bytes > BATCH_LONG_PATH_BYTES_MAX:
            break
        after = pos
        if layout == LINES:
            after = skip_space(src, pos, _SPACE)
            if after < end and load8(src, after) != _NEWLINE:
                break
        # The event time.
        entry = first_entry if first_entry >= 0 else second_entry
        time_us = ingest_time_us
        readable = 0
        if entry >= 0:
            kind, bits = item32(column_kind, item32(tape_column, entry)), load64(tape_bits, 8 * entry)
            if kind == K_FLOAT:
                bits = float_text[0 if entry == first_entry else 1]
            readable, time_us = time_of(src, kind, bits)
            if readable == ASK:
                break
            if readable == READ:
                set_item32(tape_column, entry, DROPPED)
            else:
                time_us = ingest_time_us
                state[UNREADABLE_TIMES] += 1
        else:
            state[MISSING] += 1
        tape.time[rows] = time_us
        tape.inferred[rows] = readable != READ
        tape.row_end[rows] = entries
        rows += 1
        long_path_bytes += long_bytes
        pos = after
        status = DONE
    if status == HARD or status == ROOM:
        pos = start
        entries, items, arena, fixes = row_entries, row_items, row_arena, row_fixes
        state[HARD_START] = start
    state[POSITION] = pos
    state[ROWS], state[ENTRIES], state[ITEMS], state[ARENA], state[FIXES] = rows, entries, items, arena, fixes
    state[STAMP], state[LONG_PATH_BYTES] = stamp, long_path_bytes
    return status


@kernel
def skip_separators(src: int, pos: int) -> int:
    """The position of the next character that is neither white space nor a comma or a bracket of an array."""
    while True:
        char = load8(src, pos)
        if not (char == 32 or 9 <= char <= 10 or char == 13 or char == 44 or char == 91 or char == 93):
            return pos
        pos += 1


@kernel
def line_end(src: np.ndarray, pos: int, end: int) -> int:
    r"""Position of the first \n from `pos` on, at most `end`."""
    while pos < end:
        mask = mask_newline(address_of(src), pos)
        if mask:
            return min(pos + trailing_zeros(mask), end)
        pos += 32
    return end
