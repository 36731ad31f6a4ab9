"""Owns which texts are numbers to the engine: one text, and those between two bounds. Errs on the side of a number."""

from __future__ import annotations

import re
from itertools import product
from typing import Final

_NUMBER: Final = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(inf|infinity|nan)", re.IGNORECASE)


def _cases(word: str) -> list[str]:
    return ["".join(letters) for letters in product(*((letter, letter.upper()) for letter in word))]


# How a text begins that the engine casts to a number.
_BEGINNINGS: Final = (*"\t\n\v\f\r +-.0123456789", *_cases("inf"), *_cases("nan"))
_CHARACTER_MAX: Final = "\U0010ffff"


def is_numeric(text: str) -> bool:
    """Whether the engine may take `text` for a number."""
    return _NUMBER.fullmatch(text.strip()) is not None


def may_be_numeric(low: str, high: str) -> bool:
    """Whether a text from `low` to `high` (inclusive, by code points) may be a number to the engine."""
    return any(beginning <= high and beginning + _CHARACTER_MAX >= low for beginning in _BEGINNINGS)
