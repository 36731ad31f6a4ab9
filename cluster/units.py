"""Owns how sizes and ages are written in settings: "96MiB", "60s". Never decides what range a setting may have."""

from __future__ import annotations

import math
import re
from typing import Final

_SIZE_UNITS: Final = {
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}
_AGE_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def parse_size(value: object) -> int:
    """Bytes from a whole number of bytes or a text such as "96MiB" or "1.5GiB"; raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    amount, unit = _split(value)
    if not unit or unit not in _SIZE_UNITS:
        raise ValueError(f"write a size as a number of bytes or with one of {', '.join(_SIZE_UNITS)}, as in 96MiB")
    size = amount * _SIZE_UNITS[unit]
    if size != int(size):
        raise ValueError("write a size that is a whole number of bytes")
    return int(size)


def parse_age(value: object) -> float:
    """Seconds from a number of seconds or a text such as "60s", "500ms" or "1.5h"; raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    amount, unit = _split(value)
    if unit not in _AGE_UNITS:
        raise ValueError(f"write an age as a number of seconds or with one of {', '.join(_AGE_UNITS)}, as in 60s")
    return amount * _AGE_UNITS[unit]


def size_text(size: int) -> str:
    """`size` bytes in the largest binary unit in which it is whole: 100663296 → "96MiB"."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    return f"{size}B"


def age_text(seconds: float) -> str:
    """`seconds` as text: 60.0 → "60s"."""
    return f"{seconds:g}s"


def _split(value: object) -> tuple[float, str]:
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    return (float(match[1]), match[2]) if match else (0.0, "?")
