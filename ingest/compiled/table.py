"""Owns making the batch of a scanned tape: which columns it has, and the text of what goes to `_rest`.

Works on whole tables of columns, not on one after the other: hostile input has a million of them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.columns import JSON, LIST_KINDS, ColumnKey
from core.errors import InvalidRequest
from core.limits import MIB, PATH_BYTES_MAX
from ingest.assemble import columns_max, put_together
from ingest.compiled.arrays import TapeColumn, arrays_of
from ingest.compiled.columns import count_entries, retarget, sort_entries
from ingest.compiled.hand import column_for
from ingest.compiled.kinds import K_EMPTY_LIST, K_LIST, KIND_NAMES
from ingest.compiled.paths import N_COLUMNS, N_PATH_BYTES, N_PATHS, Paths
from ingest.compiled.tape import ENTRIES, ROWS, Tape, empty_array_text
from ingest.values import canonical

_KIND_RANK: Final = np.argsort(np.argsort([*KIND_NAMES, ""])).astype(np.int32)  # "" stands for K_EMPTY_LIST
_REST_BYTES: Final = 4 * MIB  # of paths in `_rest` that are Python text at one time
_REST_ENTRY_BYTES: Final = 64  # what a short one takes as an object
_TEXT_BYTES_MAX: Final = 2**31 - 1  # offsets of texts are int32


def make_batch(tape: Tape, paths: Paths, max_paths: int) -> pa.RecordBatch:
    """The batch of all events on the tape, in the layout of core.batch."""
    rows, entries = int(tape.state[ROWS]), int(tape.state[ENTRIES])
    counts = count_entries(tape.column, entries, int(paths.counts[N_COLUMNS]))
    paths, counts = _join_empty_lists(tape, paths, counts)
    table = _Table(tape, paths, counts, sort_entries(tape, rows, counts))
    kept, rest = table.choose(columns_max(rows, max_paths))
    rest_texts = table.rest(rest, rows) if len(rest) else None
    return put_together(table.columns(kept), rest_texts, tape.time[:rows].copy(), tape.inferred[:rows])


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


class _Table:
    """The columns of a tape whose entries are sorted; `starts` says where those of each column begin."""

    def __init__(self, tape: Tape, paths: Paths, counts: np.ndarray, starts: np.ndarray) -> None:
        self._tape = tape
        self._paths = paths
        self._counts = counts
        self._starts = starts
        self._texts = paths.path_bytes[: paths.counts[N_PATH_BYTES]]
        self._seed = int(paths.seed[0])

    def choose(self, count_max: int) -> tuple[np.ndarray, np.ndarray]:
        """(columns that stay, columns that go to `_rest`), each sorted by path and kind; see assemble."""
        used = np.flatnonzero(self._counts)
        order = self._sorted_by_key(used)
        short = self._paths.path_length[self._paths.column_path[order]] <= PATH_BYTES_MAX
        if len(order) <= count_max and short.all():
            return order, order[:0]
        # Stable: equal counts stay in the order of their keys.
        by_count = np.argsort(-self._counts[order[short]], kind="stable")
        chosen = np.zeros(len(self._counts), np.bool_)
        chosen[order[short][by_count[:count_max]]] = True
        return order[chosen[order]], order[~chosen[order]]

    def _sorted_by_key(self, columns: np.ndarray) -> np.ndarray:
        order = pc.sort_indices(self._path_texts()).to_numpy()
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        paths, kinds = self._paths.column_path[columns], self._paths.column_kind[columns]
        return columns[np.lexsort((_KIND_RANK[kinds], rank[paths]))]

    def _path_texts(self) -> pa.Array:
        """The text of every path; they stand one behind the other."""
        count = int(self._paths.counts[N_PATHS])
        offsets = np.append(self._paths.path_start[:count], np.int32(len(self._texts)))
        return pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(self._texts)])

    def _path(self, column: int) -> str:
        path = self._paths.column_path[column]
        start = int(self._paths.path_start[path])
        return self._texts[start : start + int(self._paths.path_length[path])].tobytes().decode()

    def columns(self, columns: np.ndarray) -> list[tuple[ColumnKey, int, pa.Array]]:
        """(key, number of values, array over all rows) of each column. Nothing of the tape can be read afterwards."""
        kinds = self._paths.column_kind[columns]
        keys = [
            ColumnKey(self._path(column), KIND_NAMES[kind])
            for column, kind in zip(columns.tolist(), kinds.tolist(), strict=True)
        ]
        parts = np.stack([self._starts[columns], self._starts[columns + 1]], axis=1)
        arrays = arrays_of(self._tape, keys, kinds, parts, self._seed)
        return list(zip(keys, self._counts[columns].tolist(), arrays, strict=True))

    def rest(self, columns: np.ndarray, row_count: int) -> pa.Array:
        """The column `_rest`: per row one JSON object of its values in `columns`, null where it has none."""
        owner = np.repeat(columns, self._counts[columns])  # column of each entry
        rank = np.repeat(np.arange(len(columns)), self._counts[columns])
        first = np.repeat(self._starts[columns], self._counts[columns])
        place = first + np.arange(len(owner)) - np.searchsorted(rank, rank)
        rows = self._tape.sorted_rows[place]
        order = np.lexsort((rank, rows))
        owner, place, rows = owner[order], place[order], rows[order]
        begins = np.flatnonzero(np.diff(rows, prepend=-1))  # where each row's entries begin
        sizes = self._paths.path_length[self._paths.column_path[owner]].astype(np.int64) + _REST_ENTRY_BYTES
        before = (np.cumsum(sizes) - sizes)[begins]
        text = bytearray()
        lengths = np.zeros(row_count, np.int64)
        begin = 0
        while begin < len(begins):
            end = max(begin + 1, int(np.searchsorted(before, before[begin] + _REST_BYTES)))
            last = int(begins[end]) if end < len(begins) else len(rows)
            part = slice(int(begins[begin]), last)
            objects = self._rest_objects(owner[part], place[part], begins[begin:end] - begins[begin])
            lengths[rows[begins[begin:end]]] = [len(each) for each in objects]
            text += b"".join(objects)
            if len(text) > _TEXT_BYTES_MAX:
                raise InvalidRequest(f"what is rare in these events takes {len(text)} bytes: send fewer at a time")
            begin = end
        offsets = np.append(0, np.cumsum(lengths)).astype(np.int32)
        valid = np.packbits(lengths > 0, bitorder="little")
        buffers = [pa.py_buffer(valid), pa.py_buffer(offsets), pa.py_buffer(text)]
        return pa.Array.from_buffers(pa.string(), row_count, buffers, row_count - len(begins))

    def _rest_objects(self, owner: np.ndarray, place: np.ndarray, begins: np.ndarray) -> list[bytes]:
        """The objects of some rows, whose entries begin at `begins`."""
        members = np.empty(len(owner), object)
        columns, number = np.unique(owner, return_inverse=True)
        names = list(map(canonical, map(self._path, columns.tolist())))
        kinds = self._paths.column_kind[owner]
        for kind in np.unique(kinds).tolist():
            of_kind = np.flatnonzero(kinds == kind)
            entries = place[of_kind]
            column = TapeColumn(
                ColumnKey("", KIND_NAMES[kind]),
                kind,
                self._tape.sorted_rows[entries],
                self._tape.sorted_bits[entries],
                self._tape,
            )
            values = zip(number[of_kind].tolist(), column.texts(), strict=True)
            members[of_kind] = [f"{names[name]}:{text}" for name, text in values]
        texts = members.tolist()
        ends = np.append(begins[1:], len(owner))
        bounds = zip(begins.tolist(), ends.tolist(), strict=True)
        return [("{" + ",".join(texts[begin:end]) + "}").encode() for begin, end in bounds]
