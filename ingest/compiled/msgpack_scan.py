"""Owns the scan of msgpack events (maps): bytes → tape. What is rare is HARD, as in json_scan.

Source: the msgpack specification (2.0). Extension -1 is its timestamp; NUMBER_EXT and INSTANT_EXT are Malamute's own,
for Python values that msgpack has no type for. Arrays that are no plain list are left to Python: they are in `fixes`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.limits import EVENT_PATH_BYTES_MAX, EVENT_PATHS_MAX, NESTING_DEPTH_MAX, RECORD_BYTES_MAX
from ingest.compiled.jit import kernel
from ingest.compiled.json_scan import LONG_PATH
from ingest.compiled.kinds import (
    K_BIN,
    K_BOOL,
    K_DECIMAL,
    K_EMPTY_LIST,
    K_ERROR,
    K_FLOAT,
    K_INT,
    K_JSON,
    K_LIST,
    K_NULL,
    K_STR,
    K_TIME,
    K_UINT,
)
from ingest.compiled.paths import FULL, ROOT, Paths, find_column, find_node
from ingest.compiled.tape import (
    DONE,
    DROPPED,
    EMPTY_TEXTS,
    ENTRIES,
    FIXES,
    HARD,
    HARD_START,
    ITEMS,
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
from ingest.compiled.texts import BAD_STRING, utf8_end
from ingest.compiled.times import ASK, READ, time_of, time_of_float
from ingest.compiled.vectors import (
    address_of,
    bits_of,
    float32_of,
    float_of,
    load8,
    load64,
    mask_different,
    mask_non_ascii,
    shift_right,
    swap_bytes,
    trailing_zeros,
    wide,
)

NUMBER_EXT: Final = 1  # a number beyond 64 bits, as its text
INSTANT_EXT: Final = 2  # UTC microseconds, int64 big-endian

# What stands at a position, beside the kinds of a value.
_ARRAY: Final = 20
_MAP: Final = 21


@kernel
def _big_endian(src: int, pos: int, size: int) -> int:
    """The unsigned number in `size` (1 to 8) bytes at `pos`, as a bit pattern."""
    return shift_right(swap_bytes(load64(src, pos)), 64 - 8 * size)


@kernel
def _signed(value: int, size: int) -> int:
    shift = 64 - 8 * size
    return (value << shift) >> shift


@kernel
def read_value(src: int, pos: int, end: int) -> tuple[int, int, int]:
    """(kind, bits, position behind it) of the value at `pos`; K_ERROR when it is cut off or of no known type.

    Bits of text and binary are where it stands; of _ARRAY and _MAP the number of elements, which begin behind it.
    """
    head = load8(src, pos)
    pos += 1
    if head <= 0x7F:
        return K_INT, head, pos
    if head >= 0xE0:
        return K_INT, head - 0x100, pos
    if 0xA0 <= head <= 0xBF:
        return _text(src, K_STR, pos, head & 0x1F, end)
    if head <= 0x8F:
        return _MAP, head & 0xF, pos
    if head <= 0x9F:
        return _ARRAY, head & 0xF, pos
    if head == 0xC0:
        return K_NULL, 0, pos
    if head == 0xC2 or head == 0xC3:
        return K_BOOL, head & 1, pos
    if 0xCC <= head <= 0xD3:
        size = 1 << (head & 3)
        value = _big_endian(src, pos, size)
        if head >= 0xD0:
            return K_INT, _signed(value, size), pos + size
        return (K_UINT if value < 0 else K_INT), value, pos + size
    if head == 0xCB:
        return K_FLOAT, _big_endian(src, pos, 8), pos + 8
    if head == 0xCA:
        return K_FLOAT, bits_of(float32_of(_big_endian(src, pos, 4))), pos + 4
    if 0xD9 <= head <= 0xDB:
        size = 1 << (head - 0xD9)
        return _text(src, K_STR, pos + size, _big_endian(src, pos, size), end)
    if 0xC4 <= head <= 0xC6:
        size = 1 << (head - 0xC4)
        return _text(src, K_BIN, pos + size, _big_endian(src, pos, size), end)
    if 0xDC <= head <= 0xDF:
        size = 2 if head & 1 == 0 else 4
        return (_ARRAY if head <= 0xDD else _MAP), _big_endian(src, pos, size), pos + size
    if 0xD4 <= head <= 0xD8:
        return _extension(src, pos, 1 << (head - 0xD4), end)
    if 0xC7 <= head <= 0xC9:
        size = 1 << (head - 0xC7)
        return _extension(src, pos + size, _big_endian(src, pos, size), end)
    return K_ERROR, 0, pos


@kernel
def _text(src: int, kind: int, start: int, length: int, end: int) -> tuple[int, int, int]:
    if length > end - start or (kind == K_STR and not _is_utf8(src, start, length)):
        return K_ERROR, 0, start
    return kind, pack(start, length), start + length


@kernel
def _is_utf8(src: int, start: int, length: int) -> bool:
    pos, end = start, start + length
    while pos < end:
        mask = mask_non_ascii(src, pos)
        if mask == 0:
            pos += 32
            continue
        pos += trailing_zeros(mask)
        while pos < end and load8(src, pos) >= 0x80:
            pos = utf8_end(src, pos)
            if pos == BAD_STRING or pos > end:
                return False
    return True


@kernel
def _extension(src: int, pos: int, length: int, end: int) -> tuple[int, int, int]:
    """An extension whose type byte is at `pos`."""
    code = load8(src, pos)
    pos += 1
    behind = pos + length
    if length > end - pos:
        return K_ERROR, 0, pos
    if code == NUMBER_EXT and _is_number(src, pos, behind):
        return K_DECIMAL, pack(pos, length), behind
    if code == INSTANT_EXT and length == 8:
        return K_TIME, _big_endian(src, pos, 8), behind
    if code != 0xFF:
        return K_ERROR, 0, pos
    if length == 4:
        return K_TIME, _big_endian(src, pos, 4) * 1_000_000, behind
    if length == 8:
        packed = _big_endian(src, pos, 8)
        nanoseconds = shift_right(packed, 34)
        if nanoseconds > 999_999_999:
            return K_ERROR, 0, pos
        return K_TIME, (packed & 0x3FFFFFFFF) * 1_000_000 + nanoseconds // 1000, behind
    if length == 12:
        nanoseconds, seconds = _big_endian(src, pos, 4), _big_endian(src, pos + 4, 8)
        if nanoseconds > 999_999_999 or not -9_000_000_000_000 <= seconds <= 9_000_000_000_000:
            return K_ERROR, 0, pos
        return K_TIME, seconds * 1_000_000 + nanoseconds // 1000, behind
    return K_ERROR, 0, pos


@kernel
def _is_number(src: int, pos: int, end: int) -> bool:
    """Whether the text is a JSON number."""
    if pos < end and load8(src, pos) == 45:
        pos += 1
    first = pos
    pos = _digits_end(src, pos, end)
    if pos == first or (pos - first > 1 and load8(src, first) == 48):
        return False
    if pos < end and load8(src, pos) == 46:
        first = pos + 1
        pos = _digits_end(src, first, end)
        if pos == first:
            return False
    if pos < end and load8(src, pos) | 32 == 101:
        first = pos + 1
        if first < end and (load8(src, first) == 43 or load8(src, first) == 45):
            first += 1
        pos = _digits_end(src, first, end)
        if pos == first:
            return False
    return pos == end


@kernel
def _digits_end(src: int, pos: int, end: int) -> int:
    while pos < end and 48 <= load8(src, pos) <= 57:
        pos += 1
    return pos


@kernel
def _nested_end(src: int, pos: int, end: int, level: int) -> int:
    """End of the array or map at `pos`; K_ERROR when it is malformed or nested too deeply, or a key is no text.

    `level` is its own nesting level.
    """
    left = np.empty(NESTING_DEPTH_MAX + 2, np.int64)  # values to come per level, a key and its value are two
    is_map = np.empty(NESTING_DEPTH_MAX + 2, np.bool_)
    outermost = level
    level -= 1
    while True:
        if pos >= end:
            return K_ERROR
        kind, count, pos = read_value(src, pos, end)
        if kind == K_ERROR or pos > end:
            return K_ERROR
        if level >= outermost:
            if is_map[level] and left[level] & 1 == 0 and kind != K_STR:
                return K_ERROR
            left[level] -= 1
        if kind == _ARRAY or kind == _MAP:
            level += 1
            if level > NESTING_DEPTH_MAX or count > end - pos:
                return K_ERROR
            is_map[level] = kind == _MAP
            left[level] = 2 * count if kind == _MAP else count
        while left[level] == 0:
            level -= 1
            if level < outermost:
                return pos


@kernel
def skip_value(src: np.ndarray, start: int, end: int) -> int:
    """End of the whole value at `start`; K_ERROR when it is cut off or of no known type. Text is not checked here."""
    at = address_of(src)
    pos = start
    left = 1
    while left:
        if pos >= end:
            return K_ERROR
        head = load8(at, pos)
        size = 0
        if 0xA0 <= head <= 0xBF:
            size = head & 0x1F
            pos += 1
        elif 0xD9 <= head <= 0xDB:
            width = 1 << (head - 0xD9)
            size = _big_endian(at, pos + 1, width)
            pos += 1 + width
        elif head == 0xC1:
            return K_ERROR
        elif 0xC7 <= head <= 0xC9 or 0xD4 <= head <= 0xD8:
            width = 1 << (head - 0xC7) if head <= 0xC9 else 0
            size = (_big_endian(at, pos + 1, width) if width else 1 << (head - 0xD4)) + 1
            pos += 1 + width
        else:
            kind, count, pos = read_value(at, pos, end)
            if kind == K_ERROR:
                return K_ERROR
            if kind == _ARRAY:
                left += count
            elif kind == _MAP:
                left += 2 * count
        if size > end - pos or left > end - start + 1:
            return K_ERROR
        pos += size
        left -= 1
    return pos if pos <= end else K_ERROR


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
    rows, entries, items, fixes = state[ROWS], state[ENTRIES], state[ITEMS], state[FIXES]
    stamp = state[STAMP]
    first_time, second_time = time_paths[0], time_paths[len(time_paths) - 1]
    node_next, node_first, node_path = paths.node_next, paths.node_first, paths.node_path
    node_key, node_key_length, keys = paths.node_key, paths.node_key_length, address_of(paths.keys)
    path_stamp, path_column, column_kind = paths.path_stamp, paths.path_column, paths.column_kind
    path_length = paths.path_length
    tape_column, tape_bits = tape.column, tape.bits
    status = DONE
    while pos < end:
        start = pos
        row_entries, row_items, row_fixes = entries, items, fixes
        first_entry, second_entry = -1, -1
        stamp += 1
        members = 0
        path_bytes = 0
        status = HARD
        kind, left, pos = read_value(src, pos, end)
        if kind != _MAP or pos > end:
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
            node = wide(node_first[parent] if last < 0 else node_next[last])
            known = False
            if node >= 0 and 0xA0 <= head <= 0xBF and head & 0x1F == node_key_length[node]:
                length = head & 0x1F
                different = mask_different(src, pos + 1, keys, wide(node_key[node]))
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
                        node_first[parent] = node
                    else:
                        node_next[last] = node
                pos = behind
            path = wide(node_path[node])
            members += 1
            path_bytes += path_length[path]
            if pos >= end or path_stamp[path] == stamp or members > EVENT_PATHS_MAX:
                break
            path_stamp[path] = stamp
            # A value begins at `pos`.
            value_start = pos
            kind, bits, pos = read_value(src, pos, end)
            if kind == K_ERROR or pos > end:
                break
            if kind == _MAP:
                if depth >= NESTING_DEPTH_MAX or path_length[path] > LONG_PATH:
                    break
                if bits:
                    stack_node[depth] = parent
                    stack_left[depth] = left
                    depth += 1
                    parent = node
                    left = bits
                    last = -1
                    continue
                kind = K_JSON
                bits = pack(state[EMPTY_TEXTS], 2)
            elif kind == _ARRAY:
                if depth >= NESTING_DEPTH_MAX or bits > end - pos:
                    break
                if bits == 0:
                    kind = K_EMPTY_LIST
                else:
                    kind, behind, items_after = _scan_list(src, pos, bits, end, items, tape.item_kind, tape.item_bits)
                    if kind == K_ERROR:
                        break
                    if kind == K_JSON:
                        pos = _nested_end(src, value_start, end, depth + 1)
                        if pos < 0:
                            break
                        bits = pack(value_start, pos - value_start)
                        tape.fixes[fixes] = entries
                        fixes += 1
                    else:
                        bits = pack(items, items_after - items)
                        items = items_after
                        pos = behind
            if kind != K_NULL:
                column = wide(path_column[path])
                if column < 0 or column_kind[column] != kind:
                    column = find_column(paths, path, kind)
                    if column == FULL:
                        status = ROOM
                        break
                tape_column[entries] = column
                tape_bits[entries] = bits
                if path == first_time:
                    first_entry = entries
                elif path == second_time:
                    second_entry = entries
                entries += 1
            last = node
        if depth or pos - start > RECORD_BYTES_MAX or path_bytes > EVENT_PATH_BYTES_MAX:
            break
        # The event time.
        entry = first_entry if first_entry >= 0 else second_entry
        time_us = ingest_time_us
        readable = 0
        if entry >= 0:
            kind, bits = wide(column_kind[tape_column[entry]]), tape_bits[entry]
            if kind == K_FLOAT:
                readable, time_us = time_of_float(float_of(bits))
            else:
                readable, time_us = time_of(src, kind, bits)
            if readable == ASK:
                break
            if readable == READ:
                tape_column[entry] = DROPPED
            else:
                time_us = ingest_time_us
                state[UNREADABLE_TIMES] += 1
        else:
            state[MISSING] += 1
        tape.time[rows] = time_us
        tape.inferred[rows] = readable != READ
        tape.row_end[rows] = entries
        rows += 1
        status = DONE
    if status != DONE:
        pos = start
        entries, items, fixes = row_entries, row_items, row_fixes
        state[HARD_START] = start
    state[POSITION] = pos
    state[ROWS], state[ENTRIES], state[ITEMS], state[FIXES] = rows, entries, items, fixes
    state[STAMP] = stamp
    return status
