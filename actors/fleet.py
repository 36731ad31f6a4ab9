"""Owns how a coordinator reaches shards and readers over Ray; implements query.backend.Backend and dispatch.Fleet.

Decides nothing: which worker gets which task, and what happens when it fails, is query.dispatch's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray

from actors.errors import send, unwrap
from core.clock import Clock
from core.errors import MalamuteError, Overloaded, Unavailable
from core.limits import ACK_WAIT_S_MAX, STATUS_WAIT_S_MAX
from query.attempt import Attempt, Attempted
from query.fragment import Leaf, LeafResult
from query.holdings import Told
from query.tasks import Task, reader_worker, shard_worker


class RayBackend:
    """The shard and reader actors of a deployment, by their names as workers. No shards before serve().

    It also has `compactors`, of which only the status is asked.
    """

    def __init__(self, deployment: str, namespace: str, readers: int, compactors: int, clock: Clock) -> None:
        self.shards: tuple[int, ...] = ()
        self.readers = tuple(reader_worker(number) for number in range(readers))
        self._compactors = tuple(f"compactor-{number}" for number in range(compactors))
        self._deployment = deployment
        self._namespace = namespace
        self._clock = clock
        self.handles = {worker: self._actor(worker) for worker in self.readers}

    def serve(self, shards: Sequence[int]) -> None:
        """Ask these shards from now on, whose actors are there; queries that began before go on with the others."""
        for worker in map(shard_worker, shards):
            if worker not in self.handles:
                self.handles[worker] = self._actor(worker)
        self.shards = tuple(shards)

    def let_go(self, worker: str) -> Any:
        """Forget a worker; its handle, or None when it is not known."""
        return self.handles.pop(worker, None)

    def _actor(self, worker: str) -> Any:
        return ray.get_actor(f"{self._deployment}.{worker}", namespace=self._namespace)

    @property
    def _shards(self) -> list[str]:
        return [shard_worker(shard) for shard in self.shards]

    def describe(
        self, query_id: str, tenant: str, known: Mapping[int, Mapping[str, int]], timeout_s: float
    ) -> Mapping[int, Mapping[str, Told]]:
        """See Backend."""
        refs = {
            shard: send(self.handles[shard_worker(shard)], "describe", query_id, tenant, dict(versions))
            for shard, versions in known.items()
        }
        deadline_s = self._clock.steady_s() + timeout_s
        return {
            shard: unwrap(ref, max(0.0, deadline_s - self._clock.steady_s()), f"describe on shard {shard}")
            for shard, ref in refs.items()
        }

    def attempt(self, tenant: str, attempts: Mapping[int, Attempt], timeout_s: float) -> dict[int, Attempted]:
        """See Backend."""
        workers = {shard: shard_worker(shard) for shard in attempts}
        refs = {
            shard: send(self.handles[workers[shard]], "attempt", tenant, asked) for shard, asked in attempts.items()
        }
        deadline_s = self._clock.steady_s() + timeout_s
        return {
            shard: unwrap(ref, max(0.0, deadline_s - self._clock.steady_s()), f"a query on {workers[shard]}")
            for shard, ref in refs.items()
        }

    def fleet(self, query_id: str, leaf: Leaf, timeout_s: float, cache: bool) -> RayFleet:
        """See Backend."""
        return RayFleet(dict(self.handles), query_id, leaf, self._clock.steady_s() + timeout_s, cache, self._clock)

    def release(self, query_id: str) -> None:
        """See Backend."""
        for shard in self._shards:
            self._tell(shard, "release", query_id)

    def cancel(self, query_id: str) -> None:
        """See Backend."""
        for worker in list(self.handles):
            self._tell(worker, "cancel", query_id)

    def flush(self, timeout_s: float) -> int:
        """Flush every shard; the rows that went into segments."""
        refs = [(shard, send(self.handles[shard], "flush")) for shard in self._shards]
        return sum(unwrap(ref, timeout_s, f"flush on {shard}") for shard, ref in refs)

    def status(self) -> dict[str, list[dict[str, Any]]]:
        """The numbers of every shard, reader and compactor; one that does not answer says why."""
        numbers = self.shards
        asked = {worker: _ask_status(self.handles[worker]) for worker in (*map(shard_worker, numbers), *self.readers)}
        merging = [self._ask_compactor(worker) for worker in self._compactors]
        shards = [_status(asked[shard_worker(number)], "shard", number) for number in numbers]
        readers = [_status(asked[worker], "reader", number) for number, worker in enumerate(self.readers)]
        compactors = [_status(ref, "compactor", number) for number, ref in enumerate(merging)]
        return {"shards": shards, "readers": readers, "compactors": compactors}

    def _ask_compactor(self, worker: str) -> Any:
        try:
            return _ask_status(self._actor(worker))
        except ValueError:
            return Unavailable("it is not there (yet)")

    def _tell(self, worker: str, method: str, query_id: str) -> None:
        # A worker that is that busy lets go by itself when the query's time is over.
        with suppress(Overloaded, KeyError):  # or it was retired
            send(self.handles[worker], method, query_id)


class RayFleet:
    """The workers, for the tasks of one query."""

    def __init__(
        self, handles: Mapping[str, Any], query_id: str, leaf: Leaf, deadline_s: float, cache: bool, clock: Clock
    ) -> None:
        self._handles = handles
        self._query_id = query_id
        self._leaf = leaf
        self._deadline_s = deadline_s
        self._cache = cache
        self._clock = clock

    def start(self, worker: str, task: Task) -> Any:
        """See Fleet."""
        seconds = max(0.001, self._deadline_s - self._clock.steady_s())
        return send(self._handles[worker], "run_leaf", self._query_id, self._leaf, task, seconds, self._cache)

    def wait(self, pending: Sequence[Any], timeout_s: float) -> list[Any]:
        """See Fleet."""
        done, _ = ray.wait(list(pending), num_returns=1, timeout=timeout_s)
        return list(done)

    def result(self, pending: Any) -> LeafResult:
        """See Fleet."""
        result: LeafResult = unwrap(pending, ACK_WAIT_S_MAX, "a part of the query")
        return result


def _ask_status(handle: Any) -> Any:
    try:
        return send(handle, "status")
    except Overloaded as refusal:
        return refusal


def _status(ref: Any, kind: str, number: int) -> dict[str, Any]:
    try:
        if isinstance(ref, MalamuteError):
            raise ref
        answer: dict[str, Any] = unwrap(ref, STATUS_WAIT_S_MAX, f"status of {kind} {number}")
        return {kind: number, **answer}
    except MalamuteError as error:
        return {kind: number, "state": "unavailable", "reason": str(error)}
