"""Owns looking after shards: one that waits for its disk is begun again where that is, one that hangs is ended.

Runs in the coordinator. Never touches a shard that answers and has its disk; where the disk is is placement's to find.
Ray begins another process for one that was ended.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray._private import state

from actors.errors import send, unwrap
from actors.placement import ShardPlan, begin_shard, node_with_disk
from core.errors import MalamuteError, Overloaded
from core.limits import SHARD_LOOK_S, SHARD_SILENT_LOOKS_MAX
from query.tasks import shard_worker
from storage.shard_host import WAITS_FOR_DISK


class Keeper:
    """Looks after the shards of one deployment, in a thread of its own. `handles` are the coordinator's, by worker.

    `plans` gives those of all shards that serve now.
    """

    def __init__(
        self, plans: Callable[[], Sequence[ShardPlan]], handles: MutableMapping[str, Any], look_s: float = SHARD_LOOK_S
    ) -> None:
        self._plans = plans
        self._handles = handles
        self._look_s = look_s
        self._asked: dict[str, Any] = {}  # what has no answer yet, by worker
        self._silence = Silence()
        self._moved = self._ended = 0
        self._failure: str | None = None

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._run, name="keeper", daemon=True).start()

    def status(self) -> dict[str, Any]:
        """How many shards were brought to their disks, how many hung and were ended, why a look failed at last."""
        return {"moved": self._moved, "ended": self._ended, "failure": self._failure}

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._look_s):
            try:
                for plan in self._plans():
                    self._look(shard_worker(plan.config.shard), plan)
            except Exception as error:
                # Shown in the status; a thread that ended here would look after nothing any more.
                self._failure = f"{type(error).__name__}: {error}"

    def _look(self, worker: str, plan: ShardPlan) -> None:
        """Take the answer to the question that was put at the last look, and put the next."""
        handle = self._handles.get(worker)
        asked = self._asked.pop(worker, None)
        if handle is None:
            return  # not begun yet
        if asked is not None and not ray.wait([asked], timeout=0)[0]:
            self._asked[worker] = asked
            if self._silence.hangs(worker, running=_is_running(handle)):
                self._ended += 1
                ray.kill(handle, no_restart=False)
            return
        self._silence.answered(worker)
        if asked is not None and _waits(asked) and (node := node_with_disk(plan.config)) is not None:
            self._handles[worker] = handle = _begun_again(handle, plan, node)
            self._moved += 1
        with suppress(Overloaded):  # so many calls of this process wait that nothing is known of it
            self._asked[worker] = send(handle, "health")


class Silence:
    """Counts looks at which a shard said nothing: looks and not seconds, as who looks may have been stopped himself."""

    def __init__(self) -> None:
        self._looks: Counter[str] = Counter()

    def answered(self, worker: str) -> None:
        """The shard answers, or Ray does in its place."""
        del self._looks[worker]

    def hangs(self, worker: str, *, running: bool) -> bool:
        """One more look without an answer: whether that is to be ended. One that Ray still begins is not silent."""
        self._looks[worker] = self._looks[worker] + 1 if running else 0
        if self._looks[worker] < SHARD_SILENT_LOOKS_MAX:
            return False
        self.answered(worker)
        return True


def _is_running(handle: Any) -> bool:
    """Whether Ray takes the shard for running: not before it has replayed its log."""
    found = state.actors(handle._actor_id.hex())
    return bool(found) and found["State"] == "ALIVE"


def _waits(answer: Any) -> bool:
    try:
        return bool(unwrap(answer, 0.0, "health") == WAITS_FOR_DISK)
    except MalamuteError:
        return False  # it is on its way: Ray begins it again


def _begun_again(handle: Any, plan: ShardPlan, node: str) -> Any:
    """The shard's actor on `node`. When this process dies in between, its successor begins the actor anew."""
    ray.kill(handle, no_restart=True)
    return begin_shard(plan, node)
