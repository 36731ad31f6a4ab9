"""Owns the text of what goes to `_rest`: the members `"path":value` of each row. Never decides what goes there.

A few rows at a time, and all values of a kind at once: hostile input has a million columns with one value each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa

from core.columns import ColumnKey
from core.errors import InvalidRequest
from core.kernels import kernel
from core.limits import MIB
from ingest.compiled.arrays import TapeColumn
from ingest.compiled.gather import TEXTS
from ingest.compiled.kinds import K_DECIMAL, K_JSON, K_LIST, K_MEMBERS, KIND_NAMES
from ingest.compiled.paths import N_COLUMNS, Paths, path_text
from ingest.compiled.tape import DROPPED, ROWS, Tape, length_of
from ingest.compiled.vectors import wide
from ingest.values import canonical

_PART_BYTES: Final = 2 * MIB  # of text that is made of Python objects at one time
_MEMBER_BYTES: Final = 64  # what a short member takes as an object
_ITEM_BYTES: Final = 16  # of a list
_TEXT_BYTES_MAX: Final = 2**31 - 1  # offsets of texts are int32


def rest_array(tape: Tape, paths: Paths, columns: np.ndarray) -> pa.Array:
    """The column `_rest`: per row one JSON object of its values in `columns`, null where it has none.

    InvalidRequest when all of it is beyond what 32-bit offsets reach.
    """
    row_count = int(tape.state[ROWS])
    text = bytearray()
    offsets = np.zeros(row_count + 1, np.int32)
    for rows, members in members_of(tape, paths, columns):
        text += b"{" + b"}{".join(members) + b"}"
        if len(text) > _TEXT_BYTES_MAX:
            raise InvalidRequest(f"what is rare in these events takes {len(text)} bytes: send fewer at a time")
        offsets[rows + 1] = [len(each) + 2 for each in members]
    valid = np.packbits(offsets[1:] > 0, bitorder="little")
    nulls = row_count - np.count_nonzero(offsets)
    np.cumsum(offsets, out=offsets)
    buffers = [pa.py_buffer(valid), pa.py_buffer(offsets), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string(), row_count, buffers, nulls)


def members_of(tape: Tape, paths: Paths, columns: np.ndarray) -> Iterator[tuple[np.ndarray, list[bytes]]]:
    """(rows, the members of each from `columns`, in their order), row after row; those without any are left out."""
    rank = np.full(int(paths.counts[N_COLUMNS]) + 1, -1, np.int32)  # the last is that of DROPPED, -1
    rank[columns] = np.arange(len(columns))
    sizes = _sizes(paths, columns, len(rank))
    row_count = int(tape.state[ROWS])
    row = first = 0
    while row < row_count:
        row_end = int(_part_end(tape, row, first, row_count, *sizes))
        last = int(tape.row_end[row_end - 1])
        entries = np.flatnonzero(rank[tape.column[first:last]] >= 0).astype(np.int32) + np.int32(first)
        if len(entries):
            rows = np.searchsorted(tape.row_end[row:row_end], entries, side="right") + row
            entries = entries[np.lexsort((rank[tape.column[entries]], rows))]
            begins = np.flatnonzero(np.diff(rows, prepend=-1))
            yield rows[begins], _joined(_members(tape, paths, entries), begins)
        row, first = row_end, last


def _sizes(paths: Paths, columns: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(bytes of a member of each column in any case, bytes for each of what its length counts); 0 for other columns."""
    always, each = np.zeros((2, count), np.int64)
    kinds = paths.column_kind[columns]
    always[columns] = paths.path_length[paths.column_path[columns]] + _MEMBER_BYTES
    lists = (kinds >= K_LIST) & (kinds < K_DECIMAL)
    each[columns] = np.select([np.isin(kinds, (*TEXTS, K_MEMBERS)), lists], [1, _ITEM_BYTES], 0)
    return always, each


@kernel
def _part_end(tape: Tape, row: int, entry: int, row_count: int, always: np.ndarray, each: np.ndarray) -> int:
    """The row up to which those from `row` on, whose entries begin at `entry`, take _PART_BYTES; one at least."""
    taken = 0
    while row < row_count and taken < _PART_BYTES:
        end = wide(tape.row_end[row])
        while entry < end:
            column = wide(tape.column[entry])
            if column != DROPPED:
                taken += always[column]
                if each[column]:
                    taken += each[column] * length_of(tape.bits[entry])
            entry += 1
        row += 1
    return row


def _members(tape: Tape, paths: Paths, entries: np.ndarray) -> list[str]:
    """The text of each entry as a member."""
    members = np.empty(len(entries), object)
    columns, number = np.unique(tape.column[entries], return_inverse=True)
    names = [canonical(path_text(paths, int(paths.column_path[column]))) for column in columns.tolist()]
    kinds = paths.column_kind[columns][number]
    for kind in np.unique(kinds).tolist():
        of_kind = np.flatnonzero(kinds == kind)
        bits = tape.bits[entries[of_kind]]
        as_text = K_JSON if kind == K_MEMBERS else kind
        texts = TapeColumn(ColumnKey("", KIND_NAMES[as_text]), as_text, of_kind, bits, tape).texts()
        if kind == K_MEMBERS:
            members[of_kind] = list(texts)
        else:
            values = zip(number[of_kind].tolist(), texts, strict=True)
            members[of_kind] = [f"{names[name]}:{text}" for name, text in values]
    found: list[str] = members.tolist()
    return found


def _joined(members: list[str], begins: np.ndarray) -> list[bytes]:
    """The members of each row, which begin at `begins`, as one text."""
    bounds = zip(begins.tolist(), [*begins[1:].tolist(), len(members)], strict=True)
    return [",".join(members[begin:end]).encode() for begin, end in bounds]
