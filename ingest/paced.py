"""Owns the sending of generated events at a schedule, and the record of when each batch was due, sent and answered.

The schedule is open-loop: batch n is due at start + n x batch_rows / rate whatever became of the batches before it, so
a store that stalls is charged for the time in which batches had to wait (no coordinated omission). Never makes
events, never talks to a shard itself; no Ray.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import pyarrow as pa

from core.columns import STR, ColumnKey, field_of
from ingest.generate import Generator
from ingest.sender import Sent

RUN: Final = "load.run"

_RUN_TYPE: Final = pa.dictionary(pa.int32(), pa.string())


class Acknowledged(NamedTuple):
    """One acknowledged batch; the times are seconds since the start of the run."""

    rows: int
    arrow_bytes: int
    due_s: float  # when the schedule wanted it sent
    sent_s: float  # when it was handed to Ray
    answered_s: float  # when the acknowledgement was here
    duplicate: bool


class BatchSender(Protocol):
    """The part of ingest.sender.Sender that is used here."""

    def send(self, batch: pa.RecordBatch) -> None: ...

    def drain(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How much to send: `rate_per_s` events in batches of `batch_rows` for `seconds`; rate 0 = as fast as possible."""

    rate_per_s: float
    batch_rows: int
    seconds: float

    def due_s(self, batch: int) -> float:
        """When batch `batch` (from 0) is due, in seconds since the start."""
        return batch * self.batch_rows / self.rate_per_s if self.rate_per_s else 0.0


@dataclass(slots=True)
class _OnItsWay:
    arrow_bytes: int
    due_s: float
    sent_s: float


@dataclass(slots=True)
class Stopwatch:
    """When the transport handed over the newest batch and when its answer came: set by whoever sees both happen."""

    submitted_s: float = 0.0
    answered_s: float = 0.0


@dataclass(slots=True)
class PacedProducer:
    """Sends the events of one generator through one sender. run() blocks; take() may be called from other threads.

    `acknowledged` has to be given to the sender as its `on_sent`; `watch` is kept by the sender's transport.
    """

    generator: Generator
    run_id: str
    watch: Stopwatch
    sleep: Callable[[float], None] = time.sleep
    steady_s: Callable[[], float] = time.monotonic
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000
    _start_s: float = 0.0
    _on_their_way: list[_OnItsWay] = field(default_factory=list)
    _news: list[Acknowledged] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, sender: BatchSender, pace: Pace, start_in_s: float) -> int:
        """Send from `start_in_s` seconds from now on until the time is over; returns the batches acknowledged.

        No batch is given to the sender after pace.seconds, but those that were are waited for.
        """
        self._start_s = self.steady_s() + start_in_s
        number = 0
        while (due_s := pace.due_s(number)) < pace.seconds:
            batch = marked(self.generator.batch(pace.batch_rows, self.now_us()), self.run_id)
            if due_s > self._elapsed_s():
                # Ahead of the schedule: take the answer when it comes, then wait for the time.
                sender.drain()
                self.sleep(max(0.0, due_s - self._elapsed_s()))
            if self._elapsed_s() >= pace.seconds:
                break
            flight = _OnItsWay(batch.nbytes, due_s, 0.0)
            self._on_their_way.append(flight)
            sender.send(batch)
            flight.sent_s = self.watch.submitted_s - self._start_s
            if not pace.rate_per_s:
                flight.due_s = flight.sent_s  # without a schedule a batch is due when it can be sent
            number += 1
        sender.drain()
        return number

    def acknowledged(self, sent: Sent) -> None:
        """Note one acknowledged batch: the oldest of those on their way."""
        oldest = self._on_their_way.pop(0)
        entry = Acknowledged(
            rows=sent.rows,
            arrow_bytes=oldest.arrow_bytes,
            due_s=oldest.due_s,
            sent_s=oldest.sent_s,
            answered_s=self.watch.answered_s - self._start_s,
            duplicate=sent.ack.duplicate,
        )
        with self._lock:
            self._news.append(entry)

    def take(self) -> list[Acknowledged]:
        """What was acknowledged since the last call."""
        with self._lock:
            news, self._news = self._news, []
        return news

    def _elapsed_s(self) -> float:
        return self.steady_s() - self._start_s


def marked(batch: pa.RecordBatch, run_id: str) -> pa.RecordBatch:
    """`batch` with the attribute `load.run` = `run_id` in every event; nothing is copied."""
    column = pa.DictionaryArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int32()), batch.num_rows), pa.array([run_id], pa.string())
    )
    return batch.append_column(field_of(RUN, ColumnKey(RUN, STR), _RUN_TYPE), column)
