"""Owns what a planted bug is. Data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bug:
    """`text` stands exactly once in `file`; `check` is node ids of pytest, or "round NAME:SEED" of a campaign."""

    name: str
    file: str
    text: str
    instead: str
    check: str
