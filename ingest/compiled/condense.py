"""Owns making room in tables that are crowded: the rarest values so far become text, and their paths are forgotten.

Keys that never repeat would otherwise take several times the memory of their events. Never loses a value: the text is
what would stand in `_rest` at the end.
"""

from __future__ import annotations

import numpy as np

from core.batch import REST
from core.kernels import kernel
from ingest.assemble import columns_max
from ingest.compiled.hand import column_at, write_texts
from ingest.compiled.kinds import K_MEMBERS
from ingest.compiled.paths import N_COLUMNS, Paths, new_paths, path_text
from ingest.compiled.rest import members_of
from ingest.compiled.table import choose, settle
from ingest.compiled.tape import DROPPED, ENTRIES, ROWS, Tape
from ingest.compiled.vectors import wide


def condense(tape: Tape, paths: Paths, max_paths: int) -> tuple[Tape, Paths]:
    """(tape, paths) with what would not be a column if the input ended here as one K_MEMBERS entry a row, at its end.

    The numbers of paths and columns are others afterwards, those of entries too: no fix may be outstanding.
    """
    paths, counts = settle(tape, paths)
    row_count = int(tape.state[ROWS])
    kept, rest = choose(paths, counts, columns_max(row_count, int(counts.sum()), max_paths))
    made, members_column = column_at(new_paths(), REST.encode(), K_MEMBERS)
    target = np.full(int(paths.counts[N_COLUMNS]) + 1, DROPPED, np.int32)
    for column in kept.tolist():
        path, kind = int(paths.column_path[column]), int(paths.column_kind[column])
        made, target[column] = column_at(made, path_text(paths, path).encode(), kind)
    is_text = paths.column_kind[rest] == K_MEMBERS
    target[rest[is_text]] = members_column
    rows, bits = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for part_rows, members in members_of(tape, paths, rest[~is_text]):
        tape, part_bits = write_texts(tape, members)
        rows.append(part_rows)
        bits.append(part_bits)
    tape.state[ENTRIES] = _compact(tape, row_count, target, np.concatenate(rows), np.concatenate(bits), members_column)
    return tape, made


@kernel
def _compact(
    tape: Tape, row_count: int, target: np.ndarray, rows: np.ndarray, bits: np.ndarray, members_column: int
) -> int:
    """Keep the entries whose column has a target, and put one for `bits` at the end of `rows`; returns how many.

    A row of `rows` loses an entry at least: nothing is written over what is still to be read.
    """
    written = entry = place = 0
    for row in range(row_count):
        end = wide(tape.row_end[row])
        while entry < end:
            column = target[tape.column[entry]]
            if column != DROPPED:
                tape.column[written] = column
                tape.bits[written] = tape.bits[entry]
                written += 1
            entry += 1
        if place < len(rows) and rows[place] == row:
            tape.column[written] = members_column
            tape.bits[written] = bits[place]
            written += 1
            place += 1
        tape.row_end[row] = written
    return written
