"""Owns what a caller may ask of a query beside its text, and what comes back. Plain data that crosses processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa

from core.errors import InvalidRequest
from core.limits import QUERY_SECONDS_DEFAULT, QUERY_SECONDS_MAX
from query.parcel import packed, unpacked

FAIL: Final = "fail"
PARTIAL: Final = "partial"

# What is taken part by part of a query: its rows, or early answers.
PIECES: Final = "pieces"
UPDATES: Final = "updates"


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """The budgets of one query and how it is run.

    `query_id` names it for cancel(), "" lets the coordinator choose. `dialect` is that of the SQL, None = DuckDB's.
    `at` is the name of a snapshot or an instant in UTC microseconds, None = now. `cache` off computes everything anew.
    `scanned_bytes_max` bounds the compressed bytes of columns and row groups that are read, `result_rows_max` and
    `result_bytes_max` (Arrow) what comes back; None = unbounded. `on_budget` says what happens when the time or the
    scanned bytes run out: FAIL, or PARTIAL for what was read until then, flagged.
    """

    timeout_s: float = QUERY_SECONDS_DEFAULT
    query_id: str = ""
    dialect: str | None = None
    at: str | int | None = None
    cache: bool = True
    scanned_bytes_max: int | None = None
    result_rows_max: int | None = None
    result_bytes_max: int | None = None
    on_budget: str = FAIL
    update_s: float = 0.25  # between two early answers

    def __post_init__(self) -> None:
        seconds = self.timeout_s
        if not isinstance(seconds, (int, float)) or not 0 < seconds <= QUERY_SECONDS_MAX:
            raise InvalidRequest(
                f"timeout_s {seconds!r} is not allowed: seconds above 0, at most {QUERY_SECONDS_MAX:g}"
            )
        if self.on_budget not in (FAIL, PARTIAL):
            raise InvalidRequest(f"on_budget {self.on_budget!r} is not known: use {FAIL!r} or {PARTIAL!r}")
        for name in ("scanned_bytes_max", "result_rows_max", "result_bytes_max"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise InvalidRequest(f"{name} {value} is not allowed: 0 or more, or None for no bound")


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """The rows of a query, what to tell the user, and what it cost."""

    table: pa.Table
    warnings: tuple[str, ...]
    stats: dict[str, Any]

    def __reduce__(self) -> tuple[Any, ...]:
        return _answer, (packed(self.table), self.warnings, self.stats)

    def again(self, seconds: float) -> QueryAnswer:
        """The same answer for somebody who asked again, and got it after `seconds`."""
        return replace(self, stats={**self.stats, "seconds": seconds, "result_cached": True})


def _answer(sent: pa.Table | bytes, warnings: tuple[str, ...], stats: dict[str, Any]) -> QueryAnswer:
    return QueryAnswer(unpacked(sent), warnings, stats)
