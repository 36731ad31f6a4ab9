"""Owns the numbers of a load test: rates, latencies, per-second series of acknowledged batches. No clock, no Ray."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ingest.paced import Acknowledged

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


@dataclass(slots=True)
class Second:
    """What was acknowledged in one second of the run; latencies in seconds, one entry a batch."""

    events: int = 0
    arrow_bytes: int = 0
    since_sent_s: list[float] = field(default_factory=list)
    since_due_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class LoadSeries:
    """All acknowledged batches of a run so far. `events` and `duplicates` are per producer, in its order."""

    producers: int
    seconds: list[Second] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    duplicates: int = 0
    batches: int = 0
    arrow_bytes: int = 0
    first_sent_s: float = float("inf")
    last_answered_s: float = 0.0

    def __post_init__(self) -> None:
        self.events = [0] * self.producers

    def add(self, producer: int, entries: Iterable[Acknowledged], offset_s: float) -> None:
        """Count what `producer`, whose clock began `offset_s` after the run, got acknowledged."""
        for entry in entries:
            answered_s = entry.answered_s + offset_s
            self.first_sent_s = min(self.first_sent_s, entry.sent_s + offset_s)
            self.last_answered_s = max(self.last_answered_s, answered_s)
            second = self._second(max(0, int(answered_s)))
            second.events += entry.rows
            second.arrow_bytes += entry.arrow_bytes
            second.since_sent_s.append(entry.answered_s - entry.sent_s)
            second.since_due_s.append(entry.answered_s - entry.due_s)
            self.events[producer] += entry.rows
            self.duplicates += entry.rows if entry.duplicate else 0
            self.batches += 1
            self.arrow_bytes += entry.arrow_bytes

    @property
    def total_events(self) -> int:
        """Events acknowledged."""
        return sum(self.events)

    @property
    def wall_s(self) -> float:
        """Seconds from the first send to the last acknowledgement."""
        return max(0.0, self.last_answered_s - self.first_sent_s) if self.batches else 0.0

    @property
    def events_per_s(self) -> float:
        """The sustained rate: events acknowledged / wall_s."""
        return self.total_events / self.wall_s if self.wall_s else 0.0

    def recent(self, elapsed_s: float, seconds: int) -> Second:
        """The last `seconds` whole seconds before `elapsed_s`, added up."""
        end = int(elapsed_s)
        added = Second()
        for second in self.seconds[max(0, end - seconds) : end]:
            added.events += second.events
            added.arrow_bytes += second.arrow_bytes
            added.since_sent_s += second.since_sent_s
            added.since_due_s += second.since_due_s
        return added

    def since_sent_s(self) -> list[float]:
        """Every batch's latency from its real send."""
        return [value for second in self.seconds for value in second.since_sent_s]

    def since_due_s(self) -> list[float]:
        """Every batch's latency from the time at which the schedule wanted it sent."""
        return [value for second in self.seconds for value in second.since_due_s]

    def _second(self, number: int) -> Second:
        while len(self.seconds) <= number:
            self.seconds.append(Second())
        return self.seconds[number]


def percentile_s(values: Sequence[float], percent: float) -> float:
    """The percentile of latencies that was really observed (no interpolation); 0.0 of none."""
    return float(np.percentile(values, percent, method="higher")) if values else 0.0


def latency_summary(values: Sequence[float]) -> dict[str, float]:
    """p50 … p99.9, mean and max of latencies, in milliseconds."""
    summary = {f"p{percent:g}": _ms(percentile_s(values, percent)) for percent in PERCENTILES}
    return {**summary, "mean": _ms(sum(values) / len(values) if values else 0.0), "max": _ms(max(values, default=0.0))}


def per_second(series: LoadSeries) -> list[dict[str, Any]]:
    """One dict per second of the run, for the report."""
    return [
        {
            "second": number,
            "events": second.events,
            "arrow_bytes": second.arrow_bytes,
            "ack_ms_p50": _ms(percentile_s(second.since_sent_s, 50)),
            "ack_ms_p99": _ms(percentile_s(second.since_sent_s, 99)),
            "due_ms_p99": _ms(percentile_s(second.since_due_s, 99)),
        }
        for number, second in enumerate(series.seconds)
    ]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
