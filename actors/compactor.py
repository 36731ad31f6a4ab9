"""Owns the Ray side of one compactor: asks the shards for merges, carries them out. Stateless: any restart may happen.

While it merges it renews the shard's lease on the job: one that died, or was paused, loses it within seconds to others,
and what it proposes afterwards is refused. What was uploaded until then is an orphan.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayError

from actors.errors import send, unwrap
from actors.memory import memory_numbers, use_steady_allocator
from core.errors import MalamuteError
from core.limits import ACK_WAIT_S_MAX, COMPACTION_LEASE_S, COMPACTION_POLL_S, COMPACTION_RENEW_S
from storage.compaction import Job, carry_out
from storage.compaction_pace import Stopped
from storage.deployment import ShardConfig, open_objects, segment_files
from storage.open_objects import object_requests
from storage.warm_up import warm_up


@dataclass(slots=True)
class _Counters:
    merges: int = 0
    rows: int = 0
    refused: int = 0
    failed: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class _Running:
    """The merge that is carried out, and since when on the steady clock."""

    shard: int
    job: Job
    began_s: float


@ray.remote(max_restarts=-1, max_task_retries=0, enable_task_events=False)
class CompactorActor:
    """One compactor of a deployment, named `<deployment>.compactor-<n>`."""

    def __init__(self, name: str, namespace: str, config: ShardConfig, number: int) -> None:
        use_steady_allocator()
        self._prefix, self._namespace, self._number = f"{name}.shard-", namespace, number
        config = replace(config, cache_directory=f"{config.cache_directory}-compactor-{number}")
        self._url, self._objects, self._files = config.url, open_objects(config), segment_files(config)
        self._counters = _Counters()
        self._running: _Running | None = None
        threading.Thread(target=self._loop, name="compact", daemon=True).start()

    def status(self) -> dict[str, Any]:
        """What it merges now (`merging`, None: nothing), and did since its process began; with process and node."""
        node = ray.get_runtime_context().get_node_id()
        numbers = {**memory_numbers(), **asdict(self._counters), "requests": object_requests(self._url)}
        return {"pid": os.getpid(), "node": node, "merging": _merging(self._running), **numbers}

    def _loop(self) -> None:
        warm_up()
        while True:
            found = False
            with suppress(RayError):  # who there is will be asked again
                for shard, handle in self._shards():
                    with suppress(MalamuteError, RayError):  # the same of who is away: a lease on a job ends by itself
                        found = self._work_for(shard, handle) or found
            if not found:
                threading.Event().wait(COMPACTION_POLL_S)

    def _shards(self) -> list[tuple[int, Any]]:
        """The shards that there are now, each compactor beginning with another."""
        actors = ray.util.list_named_actors(all_namespaces=True)
        names = sorted(a["name"] for a in actors if a["namespace"] == self._namespace)
        handles = []
        for name in names:
            if name.startswith(self._prefix):
                with suppress(ValueError):  # it ended meanwhile
                    handles.append((int(name.removeprefix(self._prefix)), ray.get_actor(name, self._namespace)))
        first = self._number % max(1, len(handles))
        return handles[first:] + handles[:first]

    def _work_for(self, shard: int, handle: Any) -> bool:
        job: Job | None = unwrap(send(handle, "take_merge"), ACK_WAIT_S_MAX, "a merge to carry out")
        if job is None:
            return False
        counters = self._counters
        try:
            with self._leased(shard, handle, job) as lost:
                replacement = carry_out(job, self._objects, self._files.path, lambda: _stop_if(lost))
            done = unwrap(send(handle, "finish_merge", replacement), ACK_WAIT_S_MAX, "a replacement")
            counters.merges += done
            counters.rows += job.merge.rows if done else 0
            counters.refused += not done
        except Stopped:
            counters.refused += 1  # it was paused, and others merge the same
        except Exception as error:
            # The shard leaves the inputs alone for a while, counts it and shows it in status.
            counters.failed += 1
            counters.last_error = reason = f"{type(error).__name__}: {error}"
            unwrap(send(handle, "give_up_merge", job, reason), ACK_WAIT_S_MAX, "giving up a merge")
        return True

    @contextmanager
    def _leased(self, shard: int, handle: Any, job: Job) -> Iterator[threading.Event]:
        """Renew the lease on a job all the time; what is yielded is set when it has ended all the same."""
        done, lost = threading.Event(), threading.Event()

        def renew() -> None:
            while not done.wait(COMPACTION_RENEW_S):
                with suppress(MalamuteError):  # the shard is away: it is asked again
                    if not unwrap(send(handle, "renew_merge", job.name), COMPACTION_LEASE_S, "the lease on a merge"):
                        lost.set()
                        return

        self._running = _Running(shard, job, time.monotonic())
        thread = threading.Thread(target=renew, name="renew", daemon=True)
        thread.start()
        try:
            yield lost
        finally:
            done.set()
            self._running = None


def _stop_if(lost: threading.Event) -> None:
    if lost.is_set():
        raise Stopped


def _merging(running: _Running | None) -> dict[str, Any] | None:
    if running is None:
        return None
    first, merge = running.job.merge.inputs[0], running.job.merge
    what = {"shard": running.shard, "tenant": first.tenant, "stream": first.stream}
    return {**what, "segments": len(merge.inputs), "rows": merge.rows, "s": time.monotonic() - running.began_s}
