"""Owns the zone map: bounds of the values of a column, in a row group and in a segment. Never prunes.

Bounds may be loose but never exclude a value: text is cut to 64 characters, the maximum rounded up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from core.columns import BOOL, FLOAT, INT, STR, TIME, UINT

TEXT_BOUND_CHARACTERS: Final = 64

# DECIMAL and JSON are text whose order is not that of their values; lists and bytes are not ordered for queries.
_ORDERED_KINDS: Final = (BOOL, INT, UINT, FLOAT, STR, TIME)

Bound = bool | int | float | str | None

_CHARACTER_MAX: Final = "\U0010ffff"


def bounds(values: pa.Array, kind: str) -> tuple[Bound, Bound]:
    """(minimum, maximum) of values of a kind; TIME as integer microseconds; None where unknown or not ordered."""
    if kind not in _ORDERED_KINDS:
        return None, None
    found = pc.min_max(values.cast(pa.int64()) if kind == TIME else values)
    minimum, maximum = found["min"].as_py(), found["max"].as_py()
    if kind == FLOAT and pc.any(pc.is_nan(values)).as_py():
        return None, None  # NaN is beyond every bound
    if kind == STR and minimum is not None:
        return minimum[:TEXT_BOUND_CHARACTERS], text_upper_bound(maximum)
    return minimum, maximum


def is_ordered(kind: str) -> bool:
    """Whether bounds of a kind mean something."""
    return kind in _ORDERED_KINDS


def merged(parts: Iterable[tuple[int, Bound, Bound]]) -> tuple[Bound, Bound]:
    """The bounds of all values, of (number of values, minimum, maximum) of each part."""
    present = [(minimum, maximum) for values, minimum, maximum in parts if values]
    minima, maxima = [minimum for minimum, _ in present], [maximum for _, maximum in present]
    return (
        None if None in minima else min(minima, default=None),  # type: ignore[type-var]
        None if None in maxima else max(maxima, default=None),  # type: ignore[type-var]
    )


def text_upper_bound(text: str) -> str | None:
    """The text itself when short, else a text of at most 64 characters that is greater; None when there is none."""
    if len(text) <= TEXT_BOUND_CHARACTERS:
        return text
    cut = text[:TEXT_BOUND_CHARACTERS].rstrip(_CHARACTER_MAX)
    if not cut:
        return None
    following = ord(cut[-1]) + 1
    # Surrogates are not characters.
    return cut[:-1] + chr(0xE000 if following == 0xD800 else following)
