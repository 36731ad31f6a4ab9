"""Owns the scan of msgpack events (maps): bytes → tape. What is rare is HARD, as in json_scan.

Arrays that are no plain list become JSON text; those whose text Python has to find are in `fixes`.
"""

from __future__ import annotations

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
from ingest.compiled.json_scan import LONG_PATH
from ingest.compiled.kinds import (
    K_BOOL,
    K_EMPTY_LIST,
    K_ERROR,
    K_FLOAT,
    K_INT,
    K_JSON,
    K_LIST,
    K_NULL,
    K_STR,
    K_UINT,
)
from ingest.compiled.msgpack_values import P_ARRAY, P_MAP, read_value
from ingest.compiled.packed_text import TEXT_GROWTH_MAX, write_json_text
from ingest.compiled.paths import FULL, ROOT, Paths, find_column, find_node
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
    length_of,
    pack,
    start_of,
)
from ingest.compiled.times import ASK, READ, time_of, time_of_float
from ingest.compiled.vectors import (
    PADDING,
    address_of,
    float_of,
    item32,
    load8,
    load64,
    mask_different,
    mask_non_ascii,
    set_item32,
    store64,
    trailing_zeros,
)


@kernel
def _scan_list(
    src: int, pos: int, count: int, end: int, items: int, item_kind: np.ndarray, item_bits: np.ndarray
) -> tuple[int, int, int]:
    """(kind, position behind it, items) of the `count` elements at `pos`; K_JSON for what is no plain list."""
    kinds = 0
    for _ in range(count):
        if pos >= end:
            return K_ERROR, pos, items
        kind, bits, pos = read_value(src, pos, end)
        if kind == K_ERROR or pos > end:
            return K_ERROR, pos, items
        if kind > K_STR and kind != K_NULL:
            return K_JSON, pos, items
        item_kind[items] = kind
        item_bits[items] = bits
        items += 1
        if kind != K_NULL:
            kinds |= 1 << kind
    for kind in (K_BOOL, K_INT, K_UINT, K_FLOAT, K_STR):
        if kinds == 1 << kind:
            return K_LIST + kind, pos, items
    return K_JSON, pos, items


@kernel
def scan_msgpack(tape: Tape, paths: Paths, end: int, time_paths: np.ndarray, ingest_time_us: int) -> int:
    """Scan maps from state[POSITION] to `end` and write them to the tape; as json_scan.scan_json."""
    state, src = tape.state, address_of(tape.src)
    stack_node = np.empty(NESTING_DEPTH_MAX + 1, np.int64)
    stack_left = np.empty(NESTING_DEPTH_MAX + 1, np.int64)
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
    while pos < end:
        start = pos
        row_entries, row_items, row_arena, row_fixes = entries, items, arena, fixes
        first_entry, second_entry = -1, -1
        stamp += 1
        members, path_bytes, absent_bytes = 0, 0, 0
        status = HARD
        kind, left, pos = read_value(src, pos, end)
        if kind != P_MAP or pos > end:
            break
        depth = 1
        parent = ROOT
        last = -1
        while True:
            while left == 0 and depth > 1:
                depth -= 1
                last = parent
                left = stack_left[depth]
                parent = stack_node[depth]
            if left == 0:
                depth = 0
                break
            if pos >= end:
                break
            left -= 1
            # A key begins at `pos`.
            head = load8(src, pos)
            node = item32(node_first, parent) if last < 0 else item32(node_next, last)
            known = False
            if node >= 0 and 0xA0 <= head <= 0xBF and head & 0x1F == item32(node_key_length, node):
                length = head & 0x1F
                different = mask_different(src, pos + 1, keys, item32(node_key, node))
                known = trailing_zeros(different) >= length
                if known:
                    pos += 1 + length
            if not known:
                kind, bits, behind = read_value(src, pos, end)
                if kind != K_STR:
                    break
                node = find_node(paths, parent, src, start_of(bits), length_of(bits))
                if node == FULL:
                    status = ROOM
                    break
                if paths.node_plain[node]:
                    if last < 0:
                        set_item32(node_first, parent, node)
                    else:
                        set_item32(node_next, last, node)
                pos = behind
            path = item32(node_path, node)
            members += 1
            path_bytes += item32(path_length, path)
            if pos >= end or item32(path_stamp, path) == stamp:
                break
            if members > EVENT_PATHS_MAX or path_bytes > EVENT_PATH_BYTES_MAX:
                break
            set_item32(path_stamp, path, stamp)
            # A value begins at `pos`.
            value_start = pos
            head = load8(src, pos)
            size = head & 0x1F
            if 0xA0 <= head <= 0xBF and mask_non_ascii(src, pos + 1) & ((1 << size) - 1) == 0:
                kind, bits, pos = K_STR, pack(pos + 1, size), pos + 1 + size  # the most frequent value by far
            elif head <= 0x7F:
                kind, bits, pos = K_INT, head, pos + 1
            else:
                kind, bits, pos = read_value(src, pos, end)
            if kind == K_ERROR or pos > end:
                break
            if kind == P_MAP:
                if depth >= NESTING_DEPTH_MAX or item32(path_length, path) > LONG_PATH:
                    break
                if bits:
                    stack_node[depth] = parent
                    stack_left[depth] = left
                    depth += 1
                    parent = node
                    left = bits
                    last = -1
                    absent_bytes += item32(path_length, path)
                    continue
                kind = K_JSON
                bits = pack(state[EMPTY_TEXTS], 2)
            elif kind == P_ARRAY:
                if depth >= NESTING_DEPTH_MAX or bits > end - pos:
                    break
                if bits == 0:
                    kind = K_EMPTY_LIST
                else:
                    kind, behind, items_after = _scan_list(src, pos, bits, end, items, tape.item_kind, tape.item_bits)
                    if kind == K_ERROR:
                        break
                    if kind == K_JSON:
                        # A value too long for the arena looks cut off, and its event is HARD.
                        room = (len(tape.src) - arena - 2 * PADDING) // TEXT_GROWTH_MAX
                        text = arena
                        pos, arena, plain = write_json_text(
                            src, value_start, min(end, value_start + room), depth + 1, arena
                        )
                        if pos < 0:
                            break
                        if plain:
                            bits = pack(text, arena - text)
                        else:
                            bits = pack(value_start, pos - value_start)
                            tape.fixes[fixes] = entries
                            fixes += 1
                    else:
                        bits = pack(items, items_after - items)
                        items = items_after
                        pos = behind
            if kind != K_NULL:
                column = item32(path_column, path)
                if column < 0 or item32(column_kind, column) != kind:
                    column = find_column(paths, path, kind)
                    if column == FULL:
                        status = ROOM
                        break
                set_item32(tape_column, entries, column)
                store64(tape_bits, 8 * entries, bits)
                if path == first_time:
                    first_entry = entries
                elif path == second_time:
                    second_entry = entries
                entries += 1
            else:
                absent_bytes += item32(path_length, path)
            last = node
        if depth or pos - start > RECORD_BYTES_MAX or path_bytes > EVENT_PATH_BYTES_MAX:
            break
        long_bytes = max(0, path_bytes - absent_bytes - PATH_BYTES_USUAL * (entries - row_entries))
        if long_path_bytes + long_bytes > BATCH_LONG_PATH_BYTES_MAX:
            break
        # The event time.
        entry = first_entry if first_entry >= 0 else second_entry
        time_us = ingest_time_us
        readable = 0
        if entry >= 0:
            kind, bits = item32(column_kind, item32(tape_column, entry)), load64(tape_bits, 8 * entry)
            if kind == K_FLOAT:
                readable, time_us = time_of_float(float_of(bits))
            else:
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
        status = DONE
    if status != DONE:
        pos = start
        entries, items, arena, fixes = row_entries, row_items, row_arena, row_fixes
        state[HARD_START] = start
    state[POSITION] = pos
    state[ROWS], state[ENTRIES], state[ITEMS], state[ARENA], state[FIXES] = rows, entries, items, arena, fixes
    state[STAMP], state[LONG_PATH_BYTES] = stamp, long_path_bytes
    return status
