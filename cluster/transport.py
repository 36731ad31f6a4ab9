"""Owns how requests reach the actors of one deployment; implements ingest.sender.Transport over Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import ActorDiedError

from actors.errors import ask_again, send, unwrap
from core.append import Ack, AppendRequest, ProducerOpened
from core.errors import NotFound, Overloaded, Unavailable, UnknownOutcome
from core.limits import ACK_WAIT_S_MAX, CONTROL_WAIT_S_MAX

NAMESPACE = "malamute"

# Questions that may be put again when their answer was lost; of the others the caller decides.
_REPEATED = frozenset({"info", "ensure_stream", "streams", "status", "files", "export_iceberg"})


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
        self.shards: int = self.info["shards"]
        self._shard_actors = [_actor(shard_name(deployment, n), deployment) for n in range(self.shards)]

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

    def open_producer(self, shard: int, tenant: str, stream: str, producer_id: str) -> ProducerOpened:
        """See storage.shard.Shard.open_producer."""
        ref = send(self._shard_actors[shard], "open_producer", tenant, stream, producer_id)
        answer: ProducerOpened = self._answer(shard, ref, ACK_WAIT_S_MAX, f"open producer on shard {shard}")
        return answer

    def submit(self, shard: int, request: AppendRequest) -> Any:
        """Send an append; returns what result() takes: the shard and the call, or Overloaded when it was not sent."""
        try:
            return shard, send(self._shard_actors[shard], "append", request)
        except Overloaded as refusal:
            return shard, refusal  # the answer to this attempt, for whoever waits for it and tries again

    def result(self, pending: Any, timeout_s: float) -> Ack:
        """Wait for the answer to an append."""
        shard, ref = pending
        if isinstance(ref, Overloaded):
            raise ref
        ack: Ack = self._answer(shard, ref, timeout_s, f"append to shard {shard}")
        return ack

    def _answer(self, shard: int, ref: Any, timeout_s: float, what: str) -> Any:
        try:
            return unwrap(ref, timeout_s, what)
        except UnknownOutcome as error:
            if isinstance(error.__cause__, ActorDiedError):
                # Perhaps it was begun again elsewhere, under the same name: the next attempt goes there.
                with suppress(NotFound, Unavailable):
                    self._shard_actors[shard] = _actor(shard_name(self.deployment, shard), self.deployment)
            raise


def _actor(name: str, deployment: str) -> Any:
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError as error:
        raise NotFound(
            f"no malamute named {deployment!r} runs on this ray cluster: start it with 'malamute up -c ray_config.yaml'"
        ) from error
    except (ConnectionError, RuntimeError) as error:
        raise Unavailable(f"ray does not answer: {error}") from error
