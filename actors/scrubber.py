"""Owns the Ray side of the scrubber, one process of a deployment. What counts, and how, is decided in storage.scrub.

It keeps nothing: one that begins anew begins a new round.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray

from actors.errors import send, unwrap
from actors.memory import memory_numbers, use_steady_allocator
from core.clock import SystemClock
from core.errors import MalamuteError
from core.limits import ACTOR_CALLS_PENDING_MAX, SCRUB_FIRST_S, STATUS_WAIT_S_MAX
from storage.deployment import ShardConfig, open_objects
from storage.fs import LocalFileSystem
from storage.open_objects import object_requests
from storage.scrub import Scrubber, ScrubOptions
from storage.verify import StoragePlace

NICENESS = 10  # appends and queries of its node go first


@dataclass(frozen=True, slots=True)
class ScrubPlan:
    """What the scrubber is begun with. `name` is its name on Ray, `wal_directory` that of all shards' WALs."""

    name: str
    namespace: str
    config: ShardConfig
    wal_directory: str | None
    options: ScrubOptions


@ray.remote(
    max_restarts=-1,
    max_task_retries=0,
    max_pending_calls=ACTOR_CALLS_PENDING_MAX,
    max_concurrency=2,
    num_cpus=0,
    enable_task_events=False,
)
class ScrubberActor:
    """The scrubber of a deployment, named `<deployment>.scrubber`."""

    def __init__(self, plan: ScrubPlan) -> None:
        os.nice(NICENESS)
        use_steady_allocator()
        pa.set_cpu_count(1)
        self._url = plan.config.url
        clock = SystemClock()
        place = StoragePlace(plan.config.url, open_objects(plan.config), LocalFileSystem(), plan.wal_directory, clock)
        self._scrubber = Scrubber(place, plan.options, clock)
        threading.Thread(target=self._scrubber.run, args=[threading.Event()], name="scrub", daemon=True).start()

    def status(self) -> dict[str, Any]:
        """See storage.scrub.Scrubber.status; with process, node and memory."""
        node = ray.get_runtime_context().get_node_id()
        numbers = {**memory_numbers(), **self._scrubber.status(), "requests": object_requests(self._url)}
        return {"pid": os.getpid(), "node": node, **numbers}


class Scrubbing:
    """The scrubber as the coordinator sees it; `plan` None: there is none."""

    def __init__(self, plan: ScrubPlan | None) -> None:
        self._plan = plan

    def start(self) -> None:
        """Begin the scrubber in a while, unless it is there: what runs for a moment only needs none."""
        if self._plan is not None:
            first_s = min(SCRUB_FIRST_S, self._plan.options.interval_s)
            timer = threading.Timer(first_s, _begin, [self._plan])
            timer.daemon = True
            timer.start()

    def status(self) -> dict[str, Any]:
        """The scrubber's numbers; `state` is off, waiting (also for its beginning), reading or unavailable."""
        if self._plan is None:
            return {"state": "off"}
        with suppress(ValueError):
            handle = ray.get_actor(self._plan.name, namespace=self._plan.namespace)
            try:
                numbers: dict[str, Any] = unwrap(send(handle, "status"), STATUS_WAIT_S_MAX, "status of the scrubber")
            except MalamuteError as error:
                return {"state": "unavailable", "reason": str(error)}
            return numbers
        return {"state": "waiting", "rounds": 0, "progress": None, "last_round": None, "failure": None}


def _begin(plan: ScrubPlan) -> None:
    ScrubberActor.options(  # type: ignore[attr-defined]
        name=plan.name, namespace=plan.namespace, lifetime="detached", get_if_exists=True
    ).remote(plan)
