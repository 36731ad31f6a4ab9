"""Owns a store for tests of sources: streams and producers in memory, with a shard's rules, without Ray or disk."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from core.append import LOCAL, Ack, AppendRequest, ProducerOpened, check_request
from core.batch import check_batch, decode_batch
from core.errors import Unavailable, UnknownOutcome
from core.placement import Placement, first_placement
from ingest.shred import ShredSettings
from ingest.unshred import unshred
from malamute.sources.store import StreamForm
from storage.producers import ProducerKey, ProducerState, Verdict, accepted, judge, opened


class MemoryStore:
    """Implements malamute.sources.store.SourceStore and the transport of it. Thread-safe.

    `faults` is how often a request or its answer is lost, decided by `rng`. While `up` is off nothing is taken.
    """

    placement = first_placement(1)
    tenant = "default"
    level = LOCAL

    def __init__(self, faults: float = 0.0, rng: random.Random | None = None) -> None:
        self.transport = self
        self.events: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.producers: dict[ProducerKey, ProducerState] = {}
        self.appends = 0
        self.up = True
        self.faults = faults
        self._rng = rng or random.Random(1)
        self._lock = threading.Lock()

    def stream(self, name: str) -> StreamForm:
        with self._lock:
            self._check_up()
            self.events[name] += []
        return StreamForm(ShredSettings(), None)

    def select(self, stream: str, paths: Sequence[str], where: Mapping[str, Any]) -> list[dict[str, Any]]:
        self._check_up()
        found = [event for event in self.events[stream] if all(event.get(path) == where[path] for path in where)]
        return [{path: event.get(path) for path in paths} for event in found]

    def largest(self, stream: str, path: str, where: Mapping[str, Any]) -> int | None:
        found = [row[path] for row in self.select(stream, [path], where) if row[path] is not None]
        return max(found, default=None)

    def open_producer(self, shard: int, tenant: str, stream: str, producer_id: str, placement: int) -> ProducerOpened:
        with self._lock:
            self._check_up()
            key = (tenant, stream, producer_id)
            state = self.producers.get(key)
            self.producers[key] = opened(state, state.epoch + 1 if state else 1, 0)
            return ProducerOpened(self.producers[key].epoch, self.producers[key].position)

    def next_placement(self, version: int) -> Placement:
        return self.placement

    def submit(self, shard: int, request: AppendRequest) -> AppendRequest:
        return request

    def result(self, pending: AppendRequest, timeout_s: float) -> Ack:
        with self._lock:
            self._check_up()
            if self._rng.random() < self.faults:
                raise UnknownOutcome("request lost")
            ack = self._append(check_request(pending))
            if self._rng.random() < self.faults:
                raise UnknownOutcome("answer lost")
            return ack

    def _check_up(self) -> None:
        if not self.up:
            raise Unavailable("restarting")

    def _append(self, request: AppendRequest) -> Ack:
        key = (request.tenant, request.stream, request.producer)
        state = self.producers.get(key)
        verdict = judge(state, key, request.epoch, request.sequence)
        duplicate = verdict is Verdict.DUPLICATE
        if not duplicate:
            batch = check_batch(decode_batch(request.body))
            assert state is not None
            self.producers[key] = accepted(state, request.sequence, 0, batch.num_rows, request.position, 0)
            self.events[request.stream] += unshred(batch)
            self.appends += 1
        return Ack(0, 1, 0, 0, request.level, duplicate)
