"""Owns carrying changes of the placement to their end over Ray: begins, seals and lets shards adopt, ends retired ones.

Runs in the coordinator, in a thread of its own. What the steps are is storage.scaling's; nothing here outlives a crash,
and nothing has to.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ray

from actors.autoscaler import Autoscaler
from actors.errors import ask_again, send, unwrap
from actors.fleet import RayBackend
from actors.placement import ShardPlan, begin_shard, node_with_disk, plan_of
from core.append import Ack, AppendRequest
from core.autoscale import AutoscaleRules
from core.clock import Clock
from core.errors import MalamuteError, Unavailable, UnknownOutcome
from core.limits import ACK_WAIT_S_MAX, PLACEMENTS_LOOK_S, SCALE_BEGIN_S_MAX, SCALE_LOOK_S, SCALE_RETRY_S
from core.placement import Placement
from query.tasks import shard_worker
from storage.objects import ObjectStore
from storage.placements import Placements, PlacementStore, begun, placement_to_plain
from storage.scaling import carry_on, last_word


@dataclass(frozen=True, slots=True)
class AutoscalePlan:
    """Whether the number of shards changes by itself, and by which rules."""

    enabled: bool
    rules: AutoscaleRules


class Scaling:
    """The placement of a deployment and its changes. Thread-safe.

    A retired shard goes on for as long as a query may take, as those that began before may still read with it.
    """

    def __init__(
        self,
        template: ShardPlan,
        objects: ObjectStore,
        store: PlacementStore,
        backend: RayBackend,
        clock: Clock,
        autoscale: AutoscalePlan,
    ) -> None:
        self._template = template
        self._objects = objects
        self._store = store
        self._backend = backend
        self._clock = clock
        self._grace_s = template.config.query_seconds_max
        self._autoscale = autoscale
        self._autoscaler = Autoscaler(autoscale.rules, template.config.memtable_bytes_max, clock)
        self._wake = threading.Event()
        self._failure: str | None = None
        self._last: dict[str, Any] | None = None  # the last change that automatic scaling began
        self.placements = self._first_look()

    def _first_look(self) -> Placements:
        """The placements, as soon as the storage answers: an actor whose constructor raises is never begun again."""
        while True:
            try:
                return self._store.load()
            except (Unavailable, UnknownOutcome):
                self._wake.wait(SCALE_RETRY_S)

    @property
    def plans(self) -> list[ShardPlan]:
        """The plans of all shards that serve."""
        return [plan_of(self._template, shard) for shard in self.placements.serving]

    def start(self) -> None:
        """Have the shards that serve, and carry on what was begun before this process."""
        for plan in self.plans:
            begin_shard(plan, None)  # nothing, unless a coordinator died while it moved the shard to its disk
        self._backend.serve(self.placements.serving)
        threading.Thread(target=self._run, name="scaling", daemon=True).start()
        threading.Thread(target=self._look, name="autoscale", daemon=True).start()

    def scale(self, count: int, dry_run: bool) -> dict[str, Any]:
        """Begin the change to `count` shards, unless there are or will be so many; returns status().

        With `dry_run` nothing is changed, and what is returned is how status() would begin.
        """
        if dry_run:
            return _told(begun(self._store.load(), count, self._clock.now_us()))
        told = _told(self._store.begin(count))
        self._wake.set()
        return {**told, "failure": None}

    def decision(self) -> dict[str, Any]:
        """What automatic scaling decides now."""
        shards = self.placements.current.shards
        decision = self._autoscaler.decide(shards)
        return {"now": [*shards], **asdict(decision), "enabled": self._autoscale.enabled}

    def last_word(self, shard: int, request: AppendRequest) -> Ack:
        """See storage.scaling.last_word."""
        return last_word(self._objects, self._clock, self.placements, shard, request)

    def status(self) -> dict[str, Any]:
        """The placement in force, the next one, how far it is, and what keeps it from going on; in `automatic` whether
        the number changes by itself, what is decided now, and the last change of this process that it began.
        """
        decided = self._autoscaler.decide(self.placements.current.shards)
        automatic = {"enabled": self._autoscale.enabled, **asdict(decided), "last": self._last}
        return {**_told(self.placements), "failure": self._failure, "automatic": automatic}

    # --- storage.scaling.Shards -----------------------------------------------------------------------------------

    def begin(self, shards: Sequence[int]) -> None:
        """See storage.scaling.Shards."""
        plans = [plan_of(self._template, shard) for shard in shards]
        handles = [begin_shard(plan, node_with_disk(plan.config)) for plan in plans]
        for shard, handle in zip(shards, handles, strict=True):
            for step in ("open", "be_warm"):  # while writers do not have to wait
                _ask_new(handle, step, shard, self._template)

    def seal(self, shards: Sequence[int], placement: int) -> None:
        """See storage.scaling.Shards."""
        self._all(shards, "seal", placement)

    def adopt(self, shards: Sequence[int], before: Placement, after: Placement) -> None:
        """See storage.scaling.Shards."""
        self._all(shards, "adopt", before, after)

    def _all(self, shards: Sequence[int], method: str, *arguments: Any) -> None:
        refs = [(shard, send(self._backend.handles[shard_worker(shard)], method, *arguments)) for shard in shards]
        for shard, ref in refs:
            unwrap(ref, ACK_WAIT_S_MAX, f"{method} of shard {shard}")

    # --- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        retired_at_s: dict[int, float] = {}
        ended: set[int] = set()
        while True:
            self._wake.clear()
            try:
                self._take(self._store.load())
                self._end_retired(retired_at_s, ended)  # before others need their room
                carry_on(self._store, self, self._take)
                self._failure = None
            except MalamuteError as error:
                self._failure = str(error)  # shown in status(), and tried again: what was lacking may be back by then
            except Exception as error:
                # The same; a thread that ended here would leave a change unfinished without a word.
                self._failure = f"{type(error).__name__}: {error}"
            self._wake.wait(PLACEMENTS_LOOK_S if self._failure is None else SCALE_RETRY_S)

    def _look(self) -> None:
        """Measure how busy the shards are, and begin a change when it is time and allowed."""
        pause = threading.Event()
        while not pause.wait(SCALE_LOOK_S):
            try:
                self._autoscaler.look(self._backend.status()["shards"])
                current = self.placements.current.shards
                decision = self._autoscaler.decide(current)
                if self._autoscale.enabled and not self.placements.moving and decision.shards != len(current):
                    self._store.begin(decision.shards)
                    self._last = {**asdict(decision), "at_us": self._clock.now_us()}
                    self._wake.set()
            except Exception as error:
                self._failure = f"{type(error).__name__}: {error}"  # shown in status(), and decided again

    def _take(self, placements: Placements) -> None:
        """Let queries ask the shards that serve now, before anybody is told of the placement."""
        self._backend.serve(placements.serving)
        self.placements = placements

    def _end_retired(self, retired_at_s: dict[int, float], ended: set[int]) -> None:
        """End the processes of shards that no query needs any more, at once those of a change that was called off."""
        now_s = self._clock.steady_s()
        for shard in self.placements.retired - ended:
            served = any(shard in placement.shards for placement in self.placements.history)
            if served and now_s - retired_at_s.setdefault(shard, now_s) < self._grace_s:
                continue
            handle = self._backend.let_go(shard_worker(shard)) or _found(self._template, shard)
            if handle is not None:
                send(handle, "close")  # what it has is in segments already, so nobody waits for it
                ray.kill(handle, no_restart=True)
            ended.add(shard)


def _ask_new(handle: Any, step: str, shard: int, template: ShardPlan) -> None:
    """Wait for a shard that was just begun; Unavailable says what Ray has when it did not begin."""
    try:
        ask_again(handle, step, timeout_s=SCALE_BEGIN_S_MAX, what=f"start of shard {shard}")
    except UnknownOutcome as error:
        free = ray.available_resources().get("CPU", 0.0)
        raise Unavailable(
            f"shard {shard} does not serve after {SCALE_BEGIN_S_MAX:g} s: it needs {template.num_cpus:g} CPUs of a "
            f"node, and {free:g} are free on all: add nodes, or ask for the number that is in force to call it off"
        ) from error


def _told(placements: Placements) -> dict[str, Any]:
    coming = placements.coming
    following = None if coming is None else placement_to_plain(coming)
    return {**placement_to_plain(placements.current), "state": placements.state, "next": following}


def _found(template: ShardPlan, shard: int) -> Any:
    plan = plan_of(template, shard)
    try:
        return ray.get_actor(plan.name, namespace=plan.namespace)
    except ValueError:
        return None
