"""Owns the Ray side of the load test: one process per producer that generates, sends and keeps the times.

The schedule is ingest.paced's, the protocol ingest.sender's. Holds nothing that outlives the test.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from actors.errors import unwrap
from actors.memory import use_steady_allocator
from core.append import Ack, AppendRequest, ProducerOpened
from core.limits import CONTROL_WAIT_S_MAX, LAUNCH_WAIT_S_MAX
from core.placement import Placement
from ingest.generate import generator
from ingest.paced import Acknowledged, Pace, PacedProducer, Stopwatch
from ingest.sender import Sender, Transport

# Many producers have to fit on a laptop beside the shards: the share is for placement only.
PRODUCER_CPUS = 0.05


@dataclass(frozen=True, slots=True)
class ProducerPlan:
    """What one producer of a load test sends, and where to. `number` stands in its events as load.producer."""

    number: int
    placement: Placement
    producer_id: str
    tenant: str
    stream: str
    level: str
    shape: str
    seed: int
    run_id: str
    pace: Pace


@ray.remote(max_restarts=0, max_concurrency=2, num_cpus=PRODUCER_CPUS, enable_task_events=False)
class LoadProducerActor:
    """One producer of a load test; its second thread answers progress() while the first one sends."""

    def __init__(self, transport: Transport, plan: ProducerPlan) -> None:
        use_steady_allocator()
        self._plan = plan
        watch = Stopwatch()
        self._paced = PacedProducer(generator(plan.shape, plan.seed, plan.number), plan.run_id, watch)
        self._sender = Sender(
            _TimedTransport(transport, watch),
            plan.placement,
            plan.tenant,
            plan.stream,
            plan.producer_id,
            level=plan.level,
            on_sent=self._paced.acknowledged,
        )
        self._sender.open()

    def ready(self) -> int:
        """The process id, once everything is prepared."""
        return os.getpid()

    def run(self, start_in_s: float) -> int:
        """See ingest.paced.PacedProducer.run."""
        return self._paced.run(self._sender, self._plan.pace, start_in_s)

    def progress(self) -> list[Acknowledged]:
        """What was acknowledged since the last call."""
        return self._paced.take()


class LoadProducers:
    """The producers of one load test, from the caller's side."""

    def __init__(self, transport: Transport, plans: Sequence[ProducerPlan]) -> None:
        options = {"scheduling_strategy": "SPREAD"}
        self._actors = [LoadProducerActor.options(**options).remote(transport, plan) for plan in plans]  # type: ignore[attr-defined]
        self._runs: list[Any] = []

    def ready(self) -> None:
        """Wait until every producer is open on its shard."""
        for number, actor in enumerate(self._actors):
            unwrap(actor.ready.remote(), LAUNCH_WAIT_S_MAX, f"start of load producer {number}")

    def start(self, starts_in_s: Sequence[float]) -> None:
        """Let producer n begin `starts_in_s[n]` seconds from now."""
        self._runs = [actor.run.remote(start) for actor, start in zip(self._actors, starts_in_s, strict=True)]

    def running(self, wait_s: float) -> bool:
        """Whether any producer is still at work; waits for at most `wait_s` seconds for the last one to end."""
        _, pending = ray.wait(self._runs, num_returns=len(self._runs), timeout=wait_s)
        return bool(pending)

    def progress(self) -> list[list[Acknowledged]]:
        """What each producer got acknowledged since the last call."""
        refs = [actor.progress.remote() for actor in self._actors]
        return [unwrap(ref, CONTROL_WAIT_S_MAX, f"progress of load producer {n}") for n, ref in enumerate(refs)]

    def finish(self) -> None:
        """Raise what ended a producer early, if anything did."""
        for number, run in enumerate(self._runs):
            unwrap(run, CONTROL_WAIT_S_MAX, f"load producer {number}")

    def kill(self) -> None:
        """End the processes."""
        for actor in self._actors:
            ray.kill(actor)


@dataclass(slots=True)
class _Timed:
    """A call on its way; `answered_s` is set when its answer arrives, not when somebody asks for it."""

    pending: Any
    answered_s: float | None = None

    def note_answer(self, _: Any) -> None:
        self.answered_s = time.monotonic()


class _TimedTransport:
    """A transport that keeps a Stopwatch. `pending` of the inner one is (shard, reference or Overloaded, request)."""

    def __init__(self, inner: Transport, watch: Stopwatch) -> None:
        self._inner = inner
        self._watch = watch

    def open_producer(self, shard: int, tenant: str, stream: str, producer_id: str, placement: int) -> ProducerOpened:
        return self._inner.open_producer(shard, tenant, stream, producer_id, placement)

    def next_placement(self, version: int) -> Placement:
        return self._inner.next_placement(version)

    def submit(self, shard: int, request: AppendRequest) -> Any:
        self._watch.submitted_s = time.monotonic()
        timed = _Timed(self._inner.submit(shard, request))
        _, ref, _ = timed.pending
        if isinstance(ref, ray.ObjectRef):
            ref.future().add_done_callback(timed.note_answer)
        return timed

    def result(self, pending: Any, timeout_s: float) -> Ack:
        ack = self._inner.result(pending.pending, timeout_s)
        self._watch.answered_s = pending.answered_s or time.monotonic()
        return ack
