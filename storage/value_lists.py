"""Owns the value list: every value of a column in a row group, where these are few. Never knows a segment."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from core.columns import INT, STR, UINT

VALUES_MAX: Final = 32
TEXT_BYTES_MAX: Final = 1_024

# Truth values are known by their bounds; floats are seldom few, and what equals one of them is the engine's to say.
_LISTED_KINDS: Final = (INT, UINT, STR)
# A column with more values than a list holds shows it in so many of them.
_FIRST: Final = 512

Listed = tuple[int, ...] | tuple[str, ...]


def value_list(values: pa.Array, kind: str) -> Listed | None:
    """The distinct values of an array of a kind, nulls left out, in order; None for too many and for other kinds."""
    if kind not in _LISTED_KINDS or len(pc.unique(values.slice(0, _FIRST))) > VALUES_MAX + 1:
        return None
    distinct = pc.unique(values).drop_null()
    if len(distinct) > VALUES_MAX:
        return None
    if kind == STR and (pc.sum(pc.binary_length(distinct)).as_py() or 0) > TEXT_BYTES_MAX:
        return None
    return tuple(sorted(distinct.to_pylist()))
