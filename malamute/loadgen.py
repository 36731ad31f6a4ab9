"""Owns the load test: producers pinned to shards, a shared start, and what happened meanwhile.

What the producers do is ingest.paced's and actors.load_producer's; the proof is malamute.load_verify's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.load_producer import LoadProducers, ProducerPlan
from cluster.transport import Transport
from core.append import LEVELS
from core.errors import InvalidRequest, MalamuteError
from core.ids import DEFAULT_TENANT
from core.limits import BATCH_ROWS_MAX, BATCH_ROWS_TARGET
from core.placement import Placement
from ingest.paced import Pace
from malamute.client import Client
from malamute.load_series import LoadSeries

APPENDS_PER_S = 5  # of one producer, when no batch size is asked for: small waits, few calls
PRODUCERS_MAX = 1_000
TICK_S = 0.25
STATUS_EVERY_S = 1.0
START_IN_S = 0.3  # after the call that starts a producer; covers its way


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What to send. `rate_per_s` is of all producers together; 0 = as fast as possible."""

    rate_per_s: float
    seconds: float
    producers: int
    batch_rows: int
    level: str
    stream: str = "load"
    shape: str = "logs"
    seed: int = 1
    tenant: str = DEFAULT_TENANT

    def __post_init__(self) -> None:
        if self.rate_per_s < 0 or self.seconds <= 0:
            raise InvalidRequest(f"{self.rate_per_s} events/s for {self.seconds} s: use 0 or more, and a time above 0")
        if not 1 <= self.producers <= PRODUCERS_MAX:
            raise InvalidRequest(f"{self.producers} producers are not allowed: use 1 to {PRODUCERS_MAX}")
        if not 1 <= self.batch_rows <= BATCH_ROWS_MAX:
            raise InvalidRequest(f"{self.batch_rows} rows a batch are not allowed: use 1 to {BATCH_ROWS_MAX}")
        if self.level not in LEVELS:
            raise InvalidRequest(f"durability {self.level!r} is not known here: use one of {', '.join(LEVELS)}")

    @property
    def pace(self) -> Pace:
        """The share of one producer."""
        return Pace(self.rate_per_s / self.producers, self.batch_rows, self.seconds)


@dataclass(slots=True)
class LoadRun:
    """A load test as it goes: the plan, the numbers so far, and the newest status of the shards."""

    plan: LoadPlan
    run_id: str
    shards: int
    series: LoadSeries
    elapsed_s: float = 0.0
    status: list[dict[str, Any]] = field(default_factory=list)
    memory_bytes_max: dict[int, int] = field(default_factory=dict)  # of each shard's process


def default_batch_rows(rate_per_s: float, producers: int) -> int:
    """Batches of APPENDS_PER_S a producer, within what appends are good for."""
    if rate_per_s == 0:
        return BATCH_ROWS_TARGET
    return max(1, min(BATCH_ROWS_TARGET, int(rate_per_s / max(1, producers) / APPENDS_PER_S)))


def producer_plans(plan: LoadPlan, run_id: str, placement: Placement) -> list[ProducerPlan]:
    """One plan per producer; their ids are chosen so that the placement gives every shard the same number."""
    plans = []
    for number in range(plan.producers):
        shard = placement.shards[number % len(placement.shards)]
        plans.append(
            ProducerPlan(
                number=number,
                placement=placement,
                producer_id=_pinned_id(plan, f"load-{run_id}-{number}", shard, placement),
                tenant=plan.tenant,
                stream=plan.stream,
                level=plan.level,
                shape=plan.shape,
                seed=plan.seed,
                run_id=run_id,
                pace=plan.pace,
            )
        )
    return plans


def _pinned_id(plan: LoadPlan, base: str, shard: int, placement: Placement) -> str:
    attempt = 0
    while placement.shard_of(plan.tenant, plan.stream, f"{base}-{attempt}") != shard:
        attempt += 1
    return f"{base}-{attempt}"


def offsets_s(plan: LoadPlan) -> list[float]:
    """When each producer's schedule begins: spread over one batch interval, as independent producers would be."""
    interval_s = plan.batch_rows * plan.producers / plan.rate_per_s if plan.rate_per_s else 0.0
    return [number * interval_s / plan.producers for number in range(plan.producers)]


def run_load(
    client: Client, deployment: str, plan: LoadPlan, run_id: str, on_tick: Callable[[LoadRun], None]
) -> LoadRun:
    """Run the load test and return when everything sent is acknowledged; raises what ended a producer early.

    `on_tick` is called a few times a second with the run so far. The stream is created when it is not there.
    """
    transport = Transport(deployment)
    if plan.stream not in client.streams():
        client.create_stream(plan.stream)
    run = LoadRun(plan, run_id, len(transport.placement.shards), LoadSeries(plan.producers))
    producers = LoadProducers(transport, producer_plans(plan, run_id, transport.placement))
    watch = _StatusWatch(client, run)
    try:
        producers.ready()
        watch.start()
        _drive(producers, run, offsets_s(plan), on_tick)
        producers.finish()
    finally:
        watch.stop()
        producers.kill()
    return run


def _drive(
    producers: LoadProducers, run: LoadRun, offsets: Sequence[float], on_tick: Callable[[LoadRun], None]
) -> None:
    started = time.monotonic() + START_IN_S
    producers.start([START_IN_S + offset for offset in offsets])
    going = True
    while going:
        going = producers.running(TICK_S)
        for number, entries in enumerate(producers.progress()):
            run.series.add(number, entries, offsets[number])
        run.elapsed_s = max(0.0, time.monotonic() - started)
        on_tick(run)


class _StatusWatch:
    """Asks for the shards' numbers in the background: a shard that recovers may take its time to answer."""

    def __init__(self, client: Client, run: LoadRun) -> None:
        self._client = client
        self._run = run
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="status", daemon=True)

    def start(self) -> None:
        self._ask()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
            self._ask()

    def _watch(self) -> None:
        while not self._stopping.wait(STATUS_EVERY_S):
            self._ask()

    def _ask(self) -> None:
        try:
            shards = self._client.status().shards
        except MalamuteError as error:
            shards = [{"shard": n, "state": "unknown", "reason": str(error)} for n in range(self._run.shards)]
        self._run.status = shards
        for shard in shards:
            if "rss_bytes" in shard:
                known = self._run.memory_bytes_max.get(shard["shard"], 0)
                self._run.memory_bytes_max[shard["shard"]] = max(known, shard["rss_bytes"])
