"""What a client makes of a shard that died under a call, without Ray: only a definite answer takes the doubt away."""

from __future__ import annotations

from typing import Any

import pytest
from ray.exceptions import ActorDiedError

import cluster.transport
from cluster.transport import Transport
from core.append import Ack, AppendRequest
from core.errors import MalamuteError, Moved, NotFound, Unavailable, UnknownOutcome

REQUEST = AppendRequest("default", "logs", "p", 1, 0, b"")
STORED = Ack(0, 1, 0, 9, "local", True)


class Died(Transport):
    """A transport whose shard died under a call and has no actor any more; `last_word` is what the coordinator says."""

    def __init__(self, last_word: Ack | MalamuteError) -> None:
        self.deployment = "test"
        self._shard_actors = {0: "the one that died"}
        self._last_word = last_word

    def ask(self, method: str, *arguments: Any, timeout_s: float = 1.0) -> Any:
        assert (method, arguments) == ("last_word", (0, REQUEST))
        if isinstance(self._last_word, MalamuteError):
            raise self._last_word
        return self._last_word


@pytest.fixture(autouse=True)
def dead(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwrap(ref: Any, timeout_s: float, what: str) -> Any:
        raise UnknownOutcome("the actor is gone for good") from ActorDiedError()

    def no_actor(name: str, deployment: str) -> Any:
        raise NotFound("no actor")

    monkeypatch.setattr(cluster.transport, "unwrap", unwrap)
    monkeypatch.setattr(cluster.transport, "_actor", no_actor)


def test_a_retired_shard_has_a_last_word() -> None:
    assert Died(STORED).result((0, "call", REQUEST), 1.0) == STORED
    with pytest.raises(Moved):
        Died(Moved("retired", placement=2)).result((0, "call", REQUEST), 1.0)


@pytest.mark.parametrize("answer", [Unavailable("the shard is not retired"), NotFound("the coordinator is gone")])
def test_a_call_that_was_on_its_way_stays_in_doubt_without_one(answer: MalamuteError) -> None:
    """The shard is begun again elsewhere and has no actor meanwhile: what it had stored is stored."""
    with pytest.raises(UnknownOutcome):
        Died(answer).result((0, "call", REQUEST), 1.0)
