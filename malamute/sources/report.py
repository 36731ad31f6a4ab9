"""Owns the numbers of a running source: events, refused records, lag; and how they are said, as a line or as JSON."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from core.clock import Clock
from core.limits import RETRY_SECONDS_DEFAULT, SOURCE_REPORT_S
from malamute.sources.writer import Patience


@dataclass(slots=True)
class Counts:
    """What one run of a source did. `lost` are records that the source had no longer when they were asked for."""

    events: int = 0
    refused: int = 0
    lost: int = 0
    files: int = 0
    files_failed: int = 0

    @property
    def whole(self) -> bool:
        """Whether everything that was there became events."""
        return not (self.refused or self.lost or self.files_failed)


@dataclass(slots=True)
class Report:
    """Counts and says. `lag` is what is known of the rest: records of a partition, bytes of the files. Thread-safe.

    With `as_json` every line is an object: {"progress": …} now and then, {"remark": …} for what a person has to know,
    {"done": …} or {"failed": …} at the end.
    """

    out: TextIO
    clock: Clock
    as_json: bool = False
    counts: Counts = field(default_factory=Counts)
    lag: dict[str, int] = field(default_factory=dict)
    unit: str = "records"
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _said_s: float = 0.0
    _said_events: int = 0
    _remarks: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._said_s = self.clock.steady_s()

    def count(self, **numbers: int) -> None:
        """Add to the counts of these names."""
        with self._lock:
            for name, number in numbers.items():
                setattr(self.counts, name, getattr(self.counts, name) + number)

    def remark(self, text: str) -> None:
        """Say what a person has to know; the same words are said once between two lines of progress."""
        with self._lock:
            if text not in self._remarks:
                self._remarks.add(text)
                self._say("remark", {"text": text}, text)

    def progress(self) -> None:
        """Say how it goes when SOURCE_REPORT_S have passed."""
        seconds = self.clock.steady_s() - self._said_s
        if seconds >= SOURCE_REPORT_S:
            self._numbers("progress", seconds)

    def done(self, how: str = "done") -> None:
        """Say how it went."""
        self._numbers(how, max(1e-9, self.clock.steady_s() - self._said_s))

    def _numbers(self, kind: str, seconds: float) -> None:
        with self._lock:
            counts = self.counts
            rate = (counts.events - self._said_events) / seconds
            self._said_s, self._said_events = self.clock.steady_s(), counts.events
            self._remarks.clear()
            numbers: dict[str, Any] = {
                "events": counts.events,
                "events_per_s": round(rate, 1),
                "refused": counts.refused,
                "lost": counts.lost,
                "files": counts.files,
                "files_failed": counts.files_failed,
                "lag": dict(self.lag),
            }
            self._say(kind, numbers, _line(kind, numbers, self.unit))

    def _say(self, kind: str, values: Mapping[str, Any], line: str) -> None:
        text = json.dumps({kind: values}) if self.as_json else line
        self.out.write(f"{text}\n")
        self.out.flush()


def patience_of(stopping: threading.Event, report: Report, clock: Clock, once: bool) -> Patience:
    """How a source waits for its store: until it is told to end, and what runs once not longer than a producer."""
    seconds = RETRY_SECONDS_DEFAULT if once else math.inf
    return Patience(stopping, lambda why: report.remark(f"waiting for the store: {why}"), clock, seconds)


def _line(kind: str, numbers: Mapping[str, Any], unit: str) -> str:
    lag = numbers["lag"]
    parts = [f"{numbers['events']:,} events"]
    if kind == "progress":
        parts.append(f"{numbers['events_per_s']:,.0f}/s")
    if numbers["files"] or numbers["files_failed"]:
        parts.append(f"{numbers['files']:,} files")
    behind = max(lag, key=lambda name: lag[name], default=None)
    if behind is not None:
        parts.append(f"{sum(lag.values()):,} {unit} behind" + (f", most in {behind}" if lag[behind] else ""))
    parts += [
        f"{numbers[name]:,} {words}"
        for name, words in (("refused", "refused"), ("lost", "lost"), ("files_failed", "files failed"))
        if numbers[name]
    ]
    return ("" if kind == "progress" else f"{kind}: ") + ", ".join(parts)
