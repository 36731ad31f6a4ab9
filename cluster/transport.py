"""Owns how requests reach the actors of one deployment; implements ingest.sender.Transport over Ray."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import ray
from ray.exceptions import ActorDiedError

from actors.errors import ask_again, send, unwrap
from core.append import Ack, AppendRequest, ProducerOpened
from core.errors import Moved, NotFound, Overloaded, Unavailable, UnknownOutcome
from core.limits import ACK_WAIT_S_MAX, CONTROL_WAIT_S_MAX, PLACEMENT_RETRY_S
from core.placement import FIRST, Placement

NAMESPACE = "malamute"
GONE: Final = "gone"  # stands for a call to a shard that has no actor

# Questions that may be put again when their answer was lost; of the others the caller decides.
_ROUTING = {"info", "placement_after", "placement_status", "scale", "last_word"}
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


def compactor_name(deployment: str, compactor: int) -> str:
    """The actor name of a deployment's compactor."""
    return f"{deployment}.compactor-{compactor}"


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
        self._placements: dict[int, Placement] = {}  # by the version before
        self._shard_actors: dict[int, Any] = {}

    def next_placement(self, version: int) -> Placement:
        """The placement that came into force after `version`; raises Overloaded while there is none yet."""
        known = self._placements.get(version)
        if known is not None:
            return known
        placement: Placement | None = self.ask("placement_after", version)
        if placement is None:
            raise Overloaded(
                f"the change of the placement after {version} is not done: come back in {PLACEMENT_RETRY_S} s",
                retry_after=PLACEMENT_RETRY_S,
            )
        self._placements[version] = placement
        if placement.version > self.placement.version:
            self.placement = placement
        return placement

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

    def ask_parts(self, cursor: str, tenant: str, *question: Any, timeout_s: float) -> Iterator[Any]:
        """What the coordinator's begin() and take() give for a question, under the unused name `cursor`.

        Each part is asked for before the one before is handed out, so it is made while that is looked at.
        """
        what = "a part of a query on the coordinator"
        deadline_s = time.monotonic() + timeout_s
        pending = send(self._coordinator, "begin", tenant, *question, cursor)
        part = unwrap(pending, timeout_s, what)
        while part is not None:
            pending = send(self._coordinator, "take", tenant, cursor)
            yield part
            part = None  # or its memory were kept until the next is there
            while part is None:
                try:
                    part = unwrap(pending, timeout_s, what)
                    break
                except Overloaded as refusal:  # it did not get its turn
                    if time.monotonic() + refusal.retry_after > deadline_s:
                        raise
                    time.sleep(refusal.retry_after)
                    pending = send(self._coordinator, "take", tenant, cursor)

    def worker(self, name: str) -> Any:
        """The handle of a shard or reader by its name as a worker (query.tasks)."""
        return _actor(f"{self.deployment}.{name}", self.deployment)

    def open_producer(
        self, shard: int, tenant: str, stream: str, producer_id: str, placement: int = FIRST
    ) -> ProducerOpened:
        """See storage.shard.Shard.open_producer."""
        nothing = AppendRequest(tenant, stream, producer_id, 0, 0, b"", placement=placement)
        handle = self._handle(shard)
        if handle is None:
            opened: ProducerOpened = self.ask("last_word", shard, nothing)  # raises Moved
            return opened
        ref = send(handle, "open_producer", tenant, stream, producer_id, placement)
        answer: ProducerOpened = self._answer(shard, ref, ACK_WAIT_S_MAX, f"open producer on shard {shard}", nothing)
        return answer

    def submit(self, shard: int, request: AppendRequest) -> Any:
        """Send an append; returns what result() takes: shard, call (or what stands for it) and request without body."""
        named, handle = replace(request, body=b""), self._handle(shard)
        if handle is None:
            return shard, GONE, named
        try:
            return shard, send(handle, "append", request), named
        except Overloaded as refusal:
            return shard, refusal, named  # the answer to this attempt, for whoever waits for it and tries again

    def result(self, pending: Any, timeout_s: float) -> Ack:
        """Wait for the answer to an append."""
        shard, ref, request = pending
        if isinstance(ref, Overloaded):
            raise ref
        if ref is GONE:
            last: Ack = self.ask("last_word", shard, request)
            return last
        ack: Ack = self._answer(shard, ref, timeout_s, f"append to shard {shard}", request)
        return ack

    def _answer(self, shard: int, ref: Any, timeout_s: float, what: str, request: AppendRequest) -> Any:
        try:
            return unwrap(ref, timeout_s, what)
        except UnknownOutcome as error:
            if isinstance(error.__cause__, ActorDiedError):
                # Perhaps it was begun again elsewhere, under the same name: the next attempt goes there. Or a placement
                # retired it: then the coordinator has its last word.
                self._shard_actors.pop(shard, None)
                try:
                    if self._handle(shard) is None:
                        return self.ask("last_word", shard, request)
                except Moved:
                    raise
                except (NotFound, Unavailable):
                    raise error from None  # of the call that was on its way nothing is known
            raise

    def _handle(self, shard: int) -> Any:
        """The handle of a shard's actor, None when there is none."""
        if shard not in self._shard_actors:
            try:
                self._shard_actors[shard] = _actor(shard_name(self.deployment, shard), self.deployment)
            except NotFound:
                return None
        return self._shard_actors[shard]


def _actor(name: str, deployment: str) -> Any:
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError as error:
        raise NotFound(
            f"no malamute named {deployment!r} runs on this ray cluster: start it with 'malamute up -c ray_config.yaml'"
        ) from error
    except (ConnectionError, RuntimeError) as error:
        raise Unavailable(f"ray does not answer: {error}") from error
