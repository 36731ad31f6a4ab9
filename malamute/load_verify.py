"""Owns the proof of a load test: every acknowledged event is there exactly once, asked of the store by plain SQL.

A producer that got n events acknowledged has sent the sequences 0 … n-1. They are all there exactly once if and only
if count = n, min = 0, max = n-1 and the number of distinct sequences is n; the sum n(n-1)/2 is checked as well.
Distinct counts are taken over slices of the sequence, so that their memory does not grow with the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ingest.generate import PRODUCER, SEQUENCE
from ingest.paced import RUN

SLICE_EVENTS = 4_000_000
QUERY_SECONDS_MAX = 600.0


class Queries(Protocol):
    """The part of malamute.client.Client that is used here."""

    def sql(self, text: str, parameters: Any = None, *, timeout_s: float = ...) -> Any: ...


@dataclass(frozen=True, slots=True)
class Found:
    """What the store holds of one producer, and what it acknowledged."""

    producer: int
    acknowledged: int
    count: int
    distinct: int
    min: int | None
    max: int | None
    sum: int

    @property
    def exact(self) -> bool:
        """Whether each acknowledged event is there exactly once, and no other."""
        n = self.acknowledged
        ends = (0, n - 1) if n else (None, None)
        return (self.count, self.distinct, self.min, self.max, self.sum) == (n, n, *ends, n * (n - 1) // 2)


def verify(
    queries: Queries, stream: str, run_id: str, acknowledged: Sequence[int], on_slice: Callable[[float], None]
) -> list[Found]:
    """Compare the store with `acknowledged` events per producer. `on_slice` is told the share that is done."""
    totals = {
        row["producer"]: row
        for row in _ask(
            queries,
            f'SELECT "{PRODUCER}" AS producer, count(*) AS n, min("{SEQUENCE}") AS low, max("{SEQUENCE}") AS high, '
            f'sum("{SEQUENCE}") AS total FROM "{stream}" WHERE "{RUN}" = $run GROUP BY 1',
            {"run": run_id},
        )
    }
    distinct = _distinct(queries, stream, run_id, max((row["high"] for row in totals.values()), default=-1), on_slice)
    found = []
    # Also a producer that should not be there.
    for producer in sorted({*range(len(acknowledged)), *totals}):
        row = totals.get(producer, {"n": 0, "low": None, "high": None, "total": 0})
        expected = acknowledged[producer] if producer < len(acknowledged) else 0
        seen = distinct.get(producer, 0)
        found.append(Found(producer, expected, row["n"], seen, row["low"], row["high"], int(row["total"] or 0)))
    return found


def _distinct(
    queries: Queries, stream: str, run_id: str, highest: int, on_slice: Callable[[float], None]
) -> dict[int, int]:
    distinct: dict[int, int] = {}
    for begin in range(0, highest + 1, SLICE_EVENTS):
        rows = _ask(
            queries,
            f'SELECT "{PRODUCER}" AS producer, count(DISTINCT "{SEQUENCE}") AS n FROM "{stream}" '
            f'WHERE "{RUN}" = $run AND "{SEQUENCE}" >= $low AND "{SEQUENCE}" < $high GROUP BY 1',
            {"run": run_id, "low": begin, "high": begin + SLICE_EVENTS},
        )
        for row in rows:
            distinct[row["producer"]] = distinct.get(row["producer"], 0) + row["n"]
        on_slice(min(1.0, (begin + SLICE_EVENTS) / (highest + 1)))
    return distinct


def _ask(queries: Queries, text: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = queries.sql(text, parameters, timeout_s=QUERY_SECONDS_MAX).to_pylist()
    return rows
