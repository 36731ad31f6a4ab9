"""Owns the Ray side of one compactor: asks the shards for merges, carries them out. Stateless: any restart may happen.

A shard's lease on a job ends when its compactor dies; what was uploaded until then is an orphan.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError

from actors.errors import send, unwrap
from actors.memory import use_steady_allocator
from core.errors import MalamuteError
from core.limits import ACK_WAIT_S_MAX, COMPACTION_POLL_S
from storage.compaction import Job, carry_out
from storage.deployment import ShardConfig, open_objects, segment_files
from storage.warm_up import warm_up


@ray.remote(max_restarts=-1, max_task_retries=0, enable_task_events=False)
class CompactorActor:
    """One compactor of a deployment, named `<deployment>.compactor-<n>`."""

    def __init__(self, name: str, namespace: str, config: ShardConfig, number: int) -> None:
        use_steady_allocator()
        self._prefix, self._namespace, self._number = f"{name}.shard-", namespace, number
        config = replace(config, cache_directory=f"{config.cache_directory}-compactor-{number}")
        self._objects, self._files = open_objects(config), segment_files(config)
        threading.Thread(target=self._loop, name="compact", daemon=True).start()

    def _loop(self) -> None:
        warm_up()
        while True:
            found = False
            with suppress(RayError):  # who there is will be asked again
                for handle in self._shards():
                    with suppress(MalamuteError, RayError):  # the same of who is away: a lease on a job ends by itself
                        found = self._work_for(handle) or found
            if not found:
                threading.Event().wait(COMPACTION_POLL_S)

    def _shards(self) -> list[Any]:
        """The shards that there are now, each compactor beginning with another."""
        actors = ray.util.list_named_actors(all_namespaces=True)
        names = sorted(a["name"] for a in actors if a["namespace"] == self._namespace)
        handles = []
        for name in names:
            if name.startswith(self._prefix):
                with suppress(ValueError):  # it ended meanwhile
                    handles.append(ray.get_actor(name, namespace=self._namespace))
        first = self._number % max(1, len(handles))
        return handles[first:] + handles[:first]

    def _work_for(self, handle: Any) -> bool:
        job: Job | None = unwrap(send(handle, "take_merge"), ACK_WAIT_S_MAX, "a merge to carry out")
        if job is None:
            return False
        try:
            replacement = carry_out(job, self._objects, self._files.path, lambda: None)
            unwrap(send(handle, "finish_merge", replacement), ACK_WAIT_S_MAX, "a replacement")
        except Exception as error:
            # The shard leaves the inputs alone for a while, counts it and shows it in status.
            reason = f"{type(error).__name__}: {error}"
            unwrap(send(handle, "give_up_merge", job, reason), ACK_WAIT_S_MAX, "giving up a merge")
        return True
