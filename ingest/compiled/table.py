"""Owns making the batch of a scanned tape: which columns it has, and what goes to `_rest`.

Works on whole tables of columns, not on one after the other: hostile input has a million of them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.columns import JSON, LIST_KINDS, ColumnKey
from core.limits import PATH_BYTES_MAX
from ingest.assemble import columns_max, put_together
from ingest.compiled.arrays import arrays_of
from ingest.compiled.columns import count_entries, retarget, sort_entries
from ingest.compiled.hand import column_for
from ingest.compiled.kinds import K_EMPTY_LIST, K_LIST, K_MEMBERS, KIND_NAMES
from ingest.compiled.paths import N_COLUMNS, N_PATH_BYTES, N_PATHS, Paths, path_text
from ingest.compiled.rest import rest_array
from ingest.compiled.tape import DROPPED, ENTRIES, ROWS, Tape, empty_array_text

# "" stands for what is no kind of a column.
_KIND_RANK: Final = np.argsort(np.argsort([*KIND_NAMES, *[""] * (K_MEMBERS + 1 - len(KIND_NAMES))], kind="stable"))


def make_batch(tape: Tape, paths: Paths, max_paths: int) -> pa.RecordBatch:
    """The batch of all events on the tape, in the layout of core.batch. Nothing of the tape can be read afterwards."""
    rows = int(tape.state[ROWS])
    paths, counts = settle(tape, paths)
    kept, rest = choose(paths, counts, columns_max(rows, int(counts.sum()), max_paths))
    rest_texts = None
    if len(rest):
        rest_texts = rest_array(tape, paths, rest)
        _drop(tape, counts, rest)
    columns = _columns(tape, paths, counts, kept)
    return put_together(columns, rest_texts, tape.time[:rows].copy(), tape.inferred[:rows])


def settle(tape: Tape, paths: Paths) -> tuple[Paths, np.ndarray]:
    """(paths, number of values of each column), empty arrays in the column that they belong to by what is there."""
    counts = count_entries(tape.column, int(tape.state[ENTRIES]), int(paths.counts[N_COLUMNS]))
    return _join_empty_lists(tape, paths, counts)


def _join_empty_lists(tape: Tape, paths: Paths, counts: np.ndarray) -> tuple[Paths, np.ndarray]:
    """Have empty arrays join the most frequent list column of their path, else its JSON column."""
    columns = len(counts)
    empty = np.flatnonzero((paths.column_kind[:columns] == K_EMPTY_LIST) & (counts > 0))
    if not len(empty):
        return paths, counts
    target = np.arange(columns, dtype=np.int32)
    bits = np.zeros(columns, np.int64)
    for column in empty.tolist():
        path = int(paths.column_path[column])
        lists = [
            (-int(counts[other]), KIND_NAMES[paths.column_kind[other]], other)
            for other in _columns_of(paths, path)
            if other < columns and counts[other] and K_LIST <= paths.column_kind[other] < K_LIST + len(LIST_KINDS)
        ]
        if lists:
            target[column] = min(lists)[2]
        else:
            paths, target[column] = column_for(paths, path, JSON)
            bits[column] = empty_array_text(tape)
    entries = int(tape.state[ENTRIES])
    retarget(tape.column, tape.bits, entries, target, bits)
    return paths, count_entries(tape.column, entries, int(paths.counts[N_COLUMNS]))


def _columns_of(paths: Paths, path: int) -> list[int]:
    columns = []
    column = int(paths.path_column[path])
    while column >= 0:
        columns.append(column)
        column = int(paths.column_next[column])
    return columns


def choose(paths: Paths, counts: np.ndarray, count_max: int) -> tuple[np.ndarray, np.ndarray]:
    """(columns that stay, columns that go to `_rest`), each sorted by path and kind; see assemble."""
    order = _sorted_by_key(paths, np.flatnonzero(counts))
    of_paths = paths.path_length[paths.column_path[order]]
    fitting = order[(of_paths <= PATH_BYTES_MAX) & (paths.column_kind[order] != K_MEMBERS)]
    if len(fitting) == len(order) <= count_max:
        return order, order[:0]
    # Stable: equal counts stay in the order of their keys.
    by_count = np.argsort(-counts[fitting], kind="stable")
    chosen = np.zeros(len(counts), np.bool_)
    chosen[fitting[by_count[:count_max]]] = True
    return order[chosen[order]], order[~chosen[order]]


def _sorted_by_key(paths: Paths, columns: np.ndarray) -> np.ndarray:
    order = pc.sort_indices(_path_texts(paths)).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return columns[np.lexsort((_KIND_RANK[paths.column_kind[columns]], rank[paths.column_path[columns]]))]


def _path_texts(paths: Paths) -> pa.Array:
    """The text of every path; they stand one behind the other."""
    count = int(paths.counts[N_PATHS])
    texts = paths.path_bytes[: paths.counts[N_PATH_BYTES]]
    offsets = np.append(paths.path_start[:count], np.int32(len(texts)))
    return pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(texts)])


def _drop(tape: Tape, counts: np.ndarray, columns: np.ndarray) -> None:
    """Take the values of `columns` from the tape."""
    is_dropped = np.zeros(len(counts) + 1, np.bool_)  # the last is that of DROPPED, -1
    is_dropped[columns] = True
    of_entries = tape.column[: int(tape.state[ENTRIES])]
    of_entries[is_dropped[of_entries]] = DROPPED
    counts[columns] = 0


def _columns(
    tape: Tape, paths: Paths, counts: np.ndarray, columns: np.ndarray
) -> list[tuple[ColumnKey, int, pa.Array]]:
    """(key, number of values, array over all rows) of each of `columns`; there are no other values on the tape."""
    starts = sort_entries(tape, int(tape.state[ROWS]), counts)
    kinds = paths.column_kind[columns]
    keys = [
        ColumnKey(path_text(paths, path), KIND_NAMES[kind])
        for path, kind in zip(paths.column_path[columns].tolist(), kinds.tolist(), strict=True)
    ]
    parts = np.stack([starts[columns], starts[columns + 1]], axis=1)
    arrays = arrays_of(tape, keys, kinds, parts, int(paths.seed[0]))
    return list(zip(keys, counts[columns].tolist(), arrays, strict=True))
