"""Owns the numbers by which kernels know the kinds of core.columns."""

from __future__ import annotations

from typing import Final

from core.columns import BIN, BOOL, DECIMAL, FLOAT, INT, JSON, KINDS, LIST_KINDS, STR, TIME, UINT

K_BOOL: Final = 0
K_INT: Final = 1
K_UINT: Final = 2
K_FLOAT: Final = 3
K_STR: Final = 4
K_LIST: Final = 5  # a list of kind k is K_LIST + k, for the five kinds above
K_DECIMAL: Final = 10
K_JSON: Final = 11
K_TIME: Final = 12
K_BIN: Final = 13

# Not kinds of a column.
K_EMPTY_LIST: Final = 14  # joins another list column of its path, or becomes JSON "[]"
K_NULL: Final = 15
K_HARD_FLOAT: Final = 16  # a float whose rounding is left to Python; its text is known
K_MEMBERS: Final = 17  # text of members of `_rest`, see condense
K_ERROR: Final = -1

KIND_NAMES: Final = (BOOL, INT, UINT, FLOAT, STR, *LIST_KINDS, DECIMAL, JSON, TIME, BIN)

if tuple(LIST_KINDS) != tuple(f"{kind}[]" for kind in KIND_NAMES[:5]) or set(KIND_NAMES) != set(KINDS):
    raise AssertionError("the kinds of kernels are not those of core.columns")
