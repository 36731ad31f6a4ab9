"""Owns the paths of a batch: which (object, key) leads to which dotted path, and which typed columns a path has.

A *node* is a key inside an object, so `{"a.b": 1}` and `{"a": {"b": 1}}` are two nodes of one path. Events of one shape
have their keys in one order: each node remembers which came next, and comparing with that is all a known key costs.
Tables never move while a kernel runs: one that is full says so, and `grown` makes room.
"""

from __future__ import annotations

import secrets
from typing import Any, Final, NamedTuple

import numpy as np

from core.errors import InvalidRequest
from core.kernels import kernel
from core.limits import MIB
from ingest.compiled.memory import roomy
from ingest.compiled.vectors import (
    PADDING,
    address_of,
    copy32,
    load8,
    load64,
    mask_different,
    multiply_high,
    shift_right,
    trailing_zeros,
    wide,
)

ROOT: Final = 0
FULL: Final = -2

# Places in Paths.counts.
N_NODES: Final = 0
N_KEY_BYTES: Final = 1
N_PATHS: Final = 2
N_PATH_BYTES: Final = 3
N_COLUMNS: Final = 4

SCANNED_BYTES_MAX: Final = 64 * MIB  # of paths, then a scan makes no new ones: also those of broken events are there

_NODES_AT_FIRST: Final = 512
_BYTES_AT_FIRST: Final = 16 * 1024
_GROWTH: Final = 4
_LARGE: Final = 100_000  # nodes from which tables only double: what is hostile must not take four times its due
_MORE_BYTES_MAX: Final = 32 * MIB  # of texts at a time
_TEXT_BYTES_MAX: Final = 2**31 - 1  # positions in texts are int32


class Paths(NamedTuple):
    """Tables as arrays; an index into `node_*`, `path_*` or `column_*` is the id of one."""

    counts: np.ndarray  # int64, see N_*
    seed: np.ndarray  # int64, one random number: keys that collide on purpose must not be able to
    node_parent: np.ndarray
    node_path: np.ndarray
    node_key: np.ndarray  # where its key begins in `keys`
    node_key_length: np.ndarray
    node_next: np.ndarray  # the node whose key came next in the same object the last time, -1 = none
    node_first: np.ndarray  # the first one inside this object the last time, -1 = none
    node_plain: np.ndarray  # whether the key stands in JSON as it is: only then it may be expected
    node_slots: np.ndarray  # hash table of node id + 1, 0 = free
    keys: np.ndarray  # uint8: each key followed by '":'
    path_start: np.ndarray
    path_length: np.ndarray
    path_stamp: np.ndarray  # the event that had it last
    path_column: np.ndarray  # its newest column, -1 = none
    path_slots: np.ndarray  # hash table of path id + 1, 0 = free
    path_bytes: np.ndarray  # uint8
    column_path: np.ndarray
    column_kind: np.ndarray
    column_next: np.ndarray  # the next column of the same path, -1 = none


def new_paths() -> Paths:
    """Tables that hold nothing but the root, the event itself."""
    nodes, width = _NODES_AT_FIRST, np.int32
    columns = 2 * nodes
    paths = Paths(
        counts=np.zeros(5, np.int64),
        seed=np.array([secrets.randbits(63) | 1], np.int64),
        node_parent=np.empty(nodes, width),
        node_path=np.empty(nodes, width),
        node_key=np.empty(nodes, width),
        node_key_length=np.empty(nodes, width),
        node_next=np.empty(nodes, width),
        node_first=np.empty(nodes, width),
        node_plain=np.empty(nodes, np.uint8),
        node_slots=np.zeros(2 * nodes, width),
        keys=np.zeros(_BYTES_AT_FIRST, np.uint8),
        path_start=np.empty(nodes, width),
        path_length=np.empty(nodes, width),
        path_stamp=np.zeros(nodes, width),
        path_column=np.empty(nodes, width),
        path_slots=np.zeros(2 * nodes, width),
        path_bytes=np.zeros(_BYTES_AT_FIRST, np.uint8),
        column_path=np.empty(columns, width),
        column_kind=np.empty(columns, width),
        column_next=np.empty(columns, width),
    )
    paths.counts[N_NODES] = 1
    paths.node_first[ROOT] = -1
    return paths


def grown(paths: Paths, key_bytes: int) -> Paths:
    """The same tables with more room: `key_bytes` is the longest key or path that has to fit.

    InvalidRequest when the texts of all paths are beyond what 32-bit positions reach.
    """
    counts = {"node": N_NODES, "keys": N_KEY_BYTES, "path": N_PATHS, "path_bytes": N_PATH_BYTES, "column": N_COLUMNS}
    used = {table: int(paths.counts[place]) for table, place in counts.items()}
    nodes = len(paths.node_parent)
    if 2 * max(used["node"], used["path"], used["column"]) > nodes:
        nodes *= _GROWTH if nodes < _LARGE else 2
    larger: dict[str, Any] = {}
    for name, array in paths._asdict().items():
        table = name if name in used else name.partition("_")[0]
        if table not in used:
            larger[name] = array
        elif name.endswith("_slots"):
            larger[name] = _zeros(2 * nodes, array.dtype)
        elif name == table:
            # By what is used: one very long key must not make every later growth a multiple of it.
            more = min((_GROWTH - 1) * used[table], _MORE_BYTES_MAX) + key_bytes + _BYTES_AT_FIRST
            size = max(len(array), used[table] + more)
            if size > _TEXT_BYTES_MAX:
                raise InvalidRequest(f"the paths of these events take {used[table]} bytes: send fewer at a time")
            larger[name] = _longer(array, used[table], size)
        else:
            larger[name] = _longer(array, used[table], 2 * nodes if table == "column" else nodes)
    paths = Paths(**larger)
    _rehash(paths)
    return paths


def path_text(paths: Paths, path: int) -> str:
    """The text of a path."""
    start = int(paths.path_start[path])
    return paths.path_bytes[start : start + int(paths.path_length[path])].tobytes().decode()


def _longer(array: np.ndarray, used: int, size: int) -> np.ndarray:
    longer = _zeros(size, array.dtype)
    longer[:used] = array[:used]
    return longer


def _zeros(size: int, type_: Any) -> np.ndarray:
    return np.zeros(size, type_) if size < _LARGE else roomy(size, type_.type)


@kernel
def _rehash(paths: Paths) -> None:
    for node in range(1, paths.counts[N_NODES]):
        start, length = wide(paths.node_key[node]), wide(paths.node_key_length[node])
        slot = hash_bytes(address_of(paths.keys), start, length, wide(paths.node_parent[node]), paths.seed[0])
        mask = len(paths.node_slots) - 1
        slot &= mask
        while paths.node_slots[slot]:
            slot = (slot + 1) & mask
        paths.node_slots[slot] = node + 1
    for path in range(paths.counts[N_PATHS]):
        start, length = wide(paths.path_start[path]), wide(paths.path_length[path])
        mask = len(paths.path_slots) - 1
        slot = hash_bytes(address_of(paths.path_bytes), start, length, wide(0), paths.seed[0]) & mask
        while paths.path_slots[slot]:
            slot = (slot + 1) & mask
        paths.path_slots[slot] = path + 1


@kernel
def hash_bytes(src: int, start: int, length: int, salt: int, seed: int) -> int:
    """63 bits, 16 bytes at a time by folded products (the step of wyhash); reads up to 7 bytes behind the text."""
    state = seed ^ (salt * 0x9E3779B97F4A7C1 + length)
    while length > 16:
        state = _folded(state ^ load64(src, start), load64(src, start + 8) ^ 0x2545F4914F6CDD1D)
        start += 16
        length -= 16
    if length > 8:
        state = _folded(state ^ load64(src, start), load64(src, start + length - 8) ^ 0x2545F4914F6CDD1D)
    else:
        word = load64(src, start)
        word &= -1 if length == 8 else (1 << (8 * length)) - 1
        state = _folded(state ^ word, 0x2545F4914F6CDD1D)
    return shift_right(_folded(state, 0x2127599BF4325C37), 1)


@kernel
def _folded(left: int, right: int) -> int:
    return multiply_high(left, right) ^ (left * right)


@kernel
def same_bytes(left: int, at: int, right: int, other: int, length: int) -> bool:
    """Whether `length` bytes are the same."""
    done = 0
    while length - done >= 32:
        if mask_different(left, at + done, right, other + done):
            return False
        done += 32
    return done == length or trailing_zeros(mask_different(left, at + done, right, other + done)) >= length - done


@kernel
def copy_bytes(target: int, to: int, source: int, at: int, length: int) -> None:
    """Copy `length` bytes; up to 31 behind them in `target` are overwritten too."""
    done = 0
    while done < length:
        copy32(target, to + done, source, at + done)
        done += 32


@kernel
def find_node(paths: Paths, parent: int, src: int, start: int, length: int) -> int:
    """The node of a key inside `parent`, made when it is new; FULL when there is no room (see SCANNED_BYTES_MAX)."""
    mask = len(paths.node_slots) - 1
    slot = hash_bytes(src, start, length, parent, paths.seed[0]) & mask
    while True:
        node = wide(paths.node_slots[slot]) - 1
        if node < 0:
            break
        if (
            paths.node_parent[node] == parent
            and paths.node_key_length[node] == length
            and same_bytes(src, start, address_of(paths.keys), wide(paths.node_key[node]), length)
        ):
            return node
        slot = (slot + 1) & mask
    node = paths.counts[N_NODES]
    key = paths.counts[N_KEY_BYTES]
    if paths.counts[N_PATH_BYTES] >= SCANNED_BYTES_MAX:
        return FULL
    if node >= len(paths.node_parent) or key + length + 2 + PADDING > len(paths.keys):
        return FULL
    path = _path_below(paths, parent, src, start, length)
    if path < 0:
        return FULL
    copy_bytes(address_of(paths.keys), key, src, start, length)
    paths.keys[key + length] = 34
    paths.keys[key + length + 1] = 58
    paths.counts[N_KEY_BYTES] = key + length + 2
    paths.node_parent[node] = parent
    paths.node_path[node] = path
    paths.node_key[node] = key
    paths.node_key_length[node] = length
    paths.node_next[node] = -1
    paths.node_first[node] = -1
    paths.node_plain[node] = _is_plain(address_of(paths.keys), key, length)
    paths.node_slots[slot] = node + 1
    paths.counts[N_NODES] = node + 1
    return node


@kernel
def _is_plain(keys: int, start: int, length: int) -> bool:
    for pos in range(start, start + length):
        char = load8(keys, pos)
        if char < 0x20 or char == 34 or char == 92:
            return False
    return True


@kernel
def _path_below(paths: Paths, parent: int, src: int, start: int, length: int) -> int:
    """The path of a key inside `parent`; FULL when there is no room."""
    at = paths.counts[N_PATH_BYTES]
    prefix = 0
    if parent != ROOT:
        prefix = wide(paths.path_length[paths.node_path[parent]]) + 1
    if at + prefix + length + PADDING > len(paths.path_bytes):
        return FULL
    texts = address_of(paths.path_bytes)
    if prefix:
        above = wide(paths.path_start[paths.node_path[parent]])
        copy_bytes(texts, at, texts, above, prefix - 1)
        paths.path_bytes[at + prefix - 1] = 46
    copy_bytes(texts, at + prefix, src, start, length)
    return _intern(paths, at, prefix + length)


@kernel
def find_path(paths: Paths, text: np.ndarray, length: int) -> int:
    """The path with this text (PADDING behind it), made when it is new; FULL when there is no room."""
    at = paths.counts[N_PATH_BYTES]
    if at + length + PADDING > len(paths.path_bytes):
        return FULL
    copy_bytes(address_of(paths.path_bytes), at, address_of(text), 0, length)
    return _intern(paths, at, length)


@kernel
def _intern(paths: Paths, at: int, length: int) -> int:
    """The path whose text was put behind all others at `at`; FULL when there is no room for a new one."""
    texts = address_of(paths.path_bytes)
    mask = len(paths.path_slots) - 1
    slot = hash_bytes(texts, at, length, wide(0), paths.seed[0]) & mask
    while True:
        path = wide(paths.path_slots[slot]) - 1
        if path < 0:
            break
        if paths.path_length[path] == length and same_bytes(texts, wide(paths.path_start[path]), texts, at, length):
            return path
        slot = (slot + 1) & mask
    path = paths.counts[N_PATHS]
    if path >= len(paths.path_start):
        return FULL
    paths.path_start[path] = at
    paths.path_length[path] = length
    paths.path_stamp[path] = 0
    paths.path_column[path] = -1
    paths.path_slots[slot] = path + 1
    paths.counts[N_PATHS] = path + 1
    paths.counts[N_PATH_BYTES] = at + length
    return path


@kernel
def find_column(paths: Paths, path: int, kind: int) -> int:
    """The column of a path and kind, made when it is new; FULL when there is no room."""
    column = wide(paths.path_column[path])
    while column >= 0:
        if paths.column_kind[column] == kind:
            return column
        column = wide(paths.column_next[column])
    column = paths.counts[N_COLUMNS]
    if column >= len(paths.column_path):
        return FULL
    paths.column_path[column] = path
    paths.column_kind[column] = kind
    paths.column_next[column] = paths.path_column[path]
    paths.path_column[path] = column
    paths.counts[N_COLUMNS] = column + 1
    return column
