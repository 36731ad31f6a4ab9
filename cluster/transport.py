"""Owns how requests reach the actors of one deployment; implements ingest.sender.Transport over Ray."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import ActorDiedError

from actors.errors import ask_again, send, unwrap
from core.append import Ack, AppendRequest, ProducerOpened
from core.errors import NotFound, Overloaded, Unavailable, UnknownOutcome
from core.limits import ACK_WAIT_S_MAX, CONTROL_WAIT_S_MAX, PLACEMENT_RETRY_S
from core.placement import FIRST, Placement

NAMESPACE = "malamute"

# Questions that may be put again when their answer was lost; of the others the caller decides.
_ROUTING = {"info", "placement", "placement_status", "scale", "last_word"}
_REPEATED = frozenset({*_ROUTING, "ensure_stream", "streams", "status", "files", "export_iceberg"})


def coordinator_name(deployment: str) -> str:
    """The actor name of a deployment's coordinator."""
    return f"{deployment}.coordinator"


def shard_name(deployment: str, shard: int) -> str:
    """The actor name of a deployment's shard."""
    return f"{deployment}.shard-{shard}"


def reader_name(deployment: str, reader: int) -> str:
    """The actor name of a deployment's reader."""
    return f"{deployment}.reader-{reader}"


def scrubber_name(deployment: str) -> str:
    """The actor name of a deployment's scrubber."""
    return f"{deployment}.scrubber"


class Transport:
    """Handles to the coordinator and the shards of one deployment. Thread-safe."""

    def __init__(self, deployment: str) -> None:
        self.deployment = deployment
        self._coordinator = _actor(coordinator_name(deployment), deployment)
        self.info: dict[str, Any] = self.ask("info")
        self.placement: Placement = self.info["placement"]
        self._shard_actors: dict[int, Any] = {}
        self._take_handles()

    def next_placement(self, version: int) -> Placement:
        """The placement in force, newer than `version`; raises Overloaded while there is none yet."""
        if self.placement.version <= version:
            self.placement = self.ask("placement")
            self._take_handles()
        if self.placement.version <= version:
            raise Overloaded(
                f"the change of the placement after {version} is not done: come back in {PLACEMENT_RETRY_S} s",
                retry_after=PLACEMENT_RETRY_S,
            )
        return self.placement

    def ask(self, method: str, *arguments: Any, timeout_s: float = CONTROL_WAIT_S_MAX) -> Any:
        """Call the coordinator and wait."""
        what = f"{method} on the coordinator"
        try:
            if method in _REPEATED:
                return ask_again(self._coordinator, method, *arguments, timeout_s=timeout_s, what=what)
            return unwrap(send(self._coordinator, method, *arguments), timeout_s, what)
        except UnknownOutcome as error:
            if isinstance(error.__cause__, ActorDiedError):
                raise NotFound(f"the malamute named {self.deployment!r} was stopped: connect again") from error
            raise

    def ask_stream(self, method: str, *arguments: Any, timeout_s: float) -> Iterator[Any]:
        """Call the coordinator for what it yields, one after the other; it waits for a slow taker."""
        what = f"{method} on the coordinator"
        for ref in send(self._coordinator, method, *arguments):
            yield unwrap(ref, timeout_s, what)

    def worker(self, name: str) -> Any:
        """The handle of a shard or reader by its name as a worker (query.tasks)."""
        return _actor(f"{self.deployment}.{name}", self.deployment)

    def open_producer(
        self, shard: int, tenant: str, stream: str, producer_id: str, placement: int = FIRST
    ) -> ProducerOpened:
        """See storage.shard.Shard.open_producer."""
        ref = send(self._shard_actors[shard], "open_producer", tenant, stream, producer_id, placement)
        nothing = AppendRequest(tenant, stream, producer_id, 0, 0, b"", placement=placement)
        answer: ProducerOpened = self._answer(shard, ref, ACK_WAIT_S_MAX, f"open producer on shard {shard}", nothing)
        return answer

    def submit(self, shard: int, request: AppendRequest) -> Any:
        """Send an append; returns what result() takes: shard, call (or Overloaded when it was not sent) and request."""
        try:
            return shard, send(self._shard_actors[shard], "append", request), replace(request, body=b"")
        except Overloaded as refusal:
            return shard, refusal, None  # the answer to this attempt, for whoever waits for it and tries again

    def result(self, pending: Any, timeout_s: float) -> Ack:
        """Wait for the answer to an append."""
        shard, ref, request = pending
        if isinstance(ref, Overloaded):
            raise ref
        ack: Ack = self._answer(shard, ref, timeout_s, f"append to shard {shard}", request)
        return ack

    def _answer(self, shard: int, ref: Any, timeout_s: float, what: str, request: AppendRequest) -> Any:
        try:
            return unwrap(ref, timeout_s, what)
        except UnknownOutcome as error:
            if isinstance(error.__cause__, ActorDiedError):
                try:
                    # Perhaps it was begun again elsewhere, under the same name: the next attempt goes there.
                    self._shard_actors[shard] = _actor(shard_name(self.deployment, shard), self.deployment)
                except NotFound:
                    # Or a placement retired it: then the coordinator has its last word.
                    return self.ask("last_word", shard, request)
            raise

    def _take_handles(self) -> None:
        for shard in self.placement.shards:
            if shard not in self._shard_actors:
                self._shard_actors[shard] = _actor(shard_name(self.deployment, shard), self.deployment)


def _actor(name: str, deployment: str) -> Any:
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError as error:
        raise NotFound(
            f"no malamute named {deployment!r} runs on this ray cluster: start it with 'malamute up -c ray_config.yaml'"
        ) from error
    except (ConnectionError, RuntimeError) as error:
        raise Unavailable(f"ray does not answer: {error}") from error
