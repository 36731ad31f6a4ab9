"""Owns the gather of all columns of a batch at once: every Arrow buffer in two pieces of memory. Never makes objects.

One call for all columns, not one each: a batch of nine hundred columns would pay for calls more than for the work.
Lists are not gathered here: their items make columns of their own (arrays.py).

Columns with few values are in a memory of their own, of zeros that take no memory until they are written to (measured:
a batch of 750 sparse columns takes a quarter less, and no longer). Others would pay for it with page faults.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from core.kernels import kernel
from ingest.compiled.columns import fill_bitmap, fill_bools, fill_offsets, fill_words, find_dictionary
from ingest.compiled.kinds import K_BIN, K_BOOL, K_DECIMAL, K_FLOAT, K_INT, K_JSON, K_STR, K_TIME, K_UINT
from ingest.compiled.paths import copy_bytes
from ingest.compiled.tape import Tape, length_of, start_of
from ingest.compiled.vectors import PADDING, address_of

WORDS: Final = (K_INT, K_UINT, K_FLOAT, K_TIME)
TEXTS: Final = (K_STR, K_DECIMAL, K_JSON, K_BIN)

_ALIGNMENT: Final = 64  # bytes, as Arrow recommends
_SPARSE_BYTES: Final = 2 * 4096  # per value, from which a column is sparse: at most every second page is written to

# Buffers of a column, in this order.
VALIDITY: Final = 0
VALUES: Final = 1  # words, a bitmap, text offsets, or dictionary indices
DATA: Final = 2  # text, of a dictionary its different texts
OFFSETS: Final = 3  # of the texts of a dictionary


class Layout(NamedTuple):
    """Where the buffers of the columns are in their memory; one row per column, one place per buffer."""

    begin: np.ndarray  # int64[columns, 4]
    size: np.ndarray  # int64[columns, 4], 0 where there is no such buffer
    different: np.ndarray  # int64[columns], texts in the dictionary, 0 where there is none
    sparse: np.ndarray  # int64[columns], 1 for a column in the memory of zeros


def lay_out(tape: Tape, parts: np.ndarray, kinds: np.ndarray, row_count: int, seed: int) -> tuple[Layout, int, int]:
    """(layout, bytes of the common memory, of that of zeros); `parts` are (begin, end) of columns in sorted entries.

    What dictionaries hold is left in tape.column and tape.bits, which the sort has set free.
    """
    columns = len(kinds)
    size = np.zeros((columns, 4), np.int64)
    different = np.zeros(columns, np.int64)
    text_bytes = np.zeros(columns, np.int64)
    _measure(tape, parts, kinds, different, text_bytes, seed)
    bitmap = (row_count + 7) // 8
    texts = np.isin(kinds, TEXTS)
    size[:, VALIDITY] = np.where(parts[:, 1] - parts[:, 0] < row_count, bitmap, 0)
    size[:, VALUES] = np.select(
        [kinds == K_BOOL, different > 0, texts, np.isin(kinds, WORDS)],
        [bitmap, 4 * row_count, 4 * (row_count + 1), 8 * row_count],
        0,
    )
    size[:, DATA] = text_bytes
    size[:, OFFSETS] = np.where(different > 0, 4 * (different + 1), 0)
    counts = parts[:, 1] - parts[:, 0]
    sparse = (size[:, VALUES] >= _SPARSE_BYTES * counts) & ~(texts & (different == 0))
    # Text is copied 32 bytes at a time.
    room = size + PADDING * (size > 0)
    room = -(-room // _ALIGNMENT) * _ALIGNMENT
    begin = np.zeros((columns, 4), np.int64)
    sizes = [_place(begin, room, np.flatnonzero(sparse == which)) for which in (False, True)]
    return Layout(begin, size, different, sparse.astype(np.int64)), sizes[0], sizes[1]


def _place(begin: np.ndarray, room: np.ndarray, columns: np.ndarray) -> int:
    """Put the buffers of `columns` one behind the other into a memory; returns its size."""
    ends = np.cumsum(room[columns]).reshape(len(columns), 4)
    begin[columns] = ends - room[columns]
    return int(ends[-1, -1]) if len(columns) else 0


@kernel
def _measure(
    tape: Tape, parts: np.ndarray, kinds: np.ndarray, different: np.ndarray, text_bytes: np.ndarray, seed: int
) -> None:
    for column in range(len(kinds)):
        kind = kinds[column]
        if not (kind == K_STR or kind == K_DECIMAL or kind == K_JSON or kind == K_BIN):
            continue
        begin, end = parts[column, 0], parts[column, 1]
        bits = tape.sorted_bits[begin:end]
        if kind == K_STR:
            found = find_dictionary(tape.src, bits, seed, tape.column[begin:end], tape.bits[begin:end])
            if found:
                different[column] = found
                bits = tape.bits[begin : begin + found]
        total = 0
        for entry in range(len(bits)):
            total += length_of(bits[entry])
        text_bytes[column] = total


@kernel
def fill(
    tape: Tape,
    parts: np.ndarray,
    kinds: np.ndarray,
    layout: Layout,
    common: np.ndarray,
    zeros: np.ndarray,
    row_count: int,
) -> None:
    """Write every buffer of the columns into `common` and, of sparse ones, `zeros` (both uint8)."""
    for column in range(len(kinds)):
        begin, end = parts[column, 0], parts[column, 1]
        rows, bits = tape.sorted_rows[begin:end], tape.sorted_bits[begin:end]
        memory = zeros if layout.sparse[column] else common
        at = layout.begin[column, VALUES]
        values = memory[at : at + layout.size[column, VALUES]]
        kind = kinds[column]
        if layout.size[column, VALIDITY]:
            at = layout.begin[column, VALIDITY]
            valid = memory[at : at + layout.size[column, VALIDITY]]
            if layout.sparse[column] == 0:
                valid[:] = 0
                values[:] = 0
            fill_bitmap(rows, valid)
        elif kind == K_BOOL:
            values[:] = 0
        if layout.different[column]:
            fill_words(rows, tape.column[begin:end], values.view(np.int32))
            offsets_at = layout.begin[column, OFFSETS]
            offsets = memory[offsets_at : offsets_at + layout.size[column, OFFSETS]].view(np.int32)
            texts = tape.bits[begin : begin + layout.different[column]]
            fill_offsets(np.arange(len(texts)), texts, offsets)
            _fill_texts(address_of(tape.src), texts, address_of(memory), layout.begin[column, DATA])
        elif kind == K_BOOL:
            fill_bools(rows, bits, values)
        elif kind == K_STR or kind == K_DECIMAL or kind == K_JSON or kind == K_BIN:
            fill_offsets(rows, bits, values.view(np.int32))
            _fill_texts(address_of(tape.src), bits, address_of(memory), layout.begin[column, DATA])
        elif layout.size[column, VALUES]:
            fill_words(rows, bits, values.view(np.int64))


@kernel
def _fill_texts(src: int, bits: np.ndarray, memory: int, begin: int) -> None:
    """The texts one behind the other from memory[begin] on."""
    for entry in range(len(bits)):
        length = length_of(bits[entry])
        copy_bytes(memory, begin, src, start_of(bits[entry]), length)
        begin += length
