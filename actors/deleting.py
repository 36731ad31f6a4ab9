"""Owns carrying deletes to their end over Ray: shards erase, a query proves it, named snapshots are waited for.

Runs in the coordinator, in a thread of its own. What is done is in the manifests and in the catalog, so whoever comes
after a crash, of anybody, goes on from there; nothing here outlives one, and nothing has to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

from actors.errors import send, unwrap
from actors.fleet import RayBackend
from core.clock import Clock
from core.errors import MalamuteError
from core.ids import ShardId
from core.limits import ACK_WAIT_S_MAX, DELETE_HELD_LOOK_S, DELETE_LOOK_S, DELETE_RETRY_S
from query.coordinate import Queries
from query.tasks import shard_worker
from storage.catalog import CatalogStore
from storage.deletes import HELD, RUNNING, Delete, DeleteStatus, due, pending
from storage.manifest import ManifestStore
from storage.manifest_format import Erased
from storage.named_snapshots import snapshots_of_stream
from storage.objects import ObjectStore


class Deleting:
    """The deletes of a deployment. Thread-safe.

    `grace_s` is how long the files stay that were replaced, `shards` gives all that ever served. `lock` is held while
    it is decided that no named snapshot holds anything of a delete.
    """

    def __init__(
        self,
        backend: RayBackend,
        queries: Queries,
        catalog: CatalogStore,
        objects: ObjectStore,
        clock: Clock,
        grace_s: float,
        shards: Callable[[], Iterable[int]],
    ) -> None:
        self._backend, self._queries, self._catalog = backend, queries, catalog
        self._objects, self._clock, self._grace_s = objects, clock, grace_s
        self._shards = shards
        self.lock = threading.Lock()
        self._wake = threading.Event()
        self._status: dict[int, DeleteStatus] = {}
        self._flushed: set[int] = set()
        self._held: dict[tuple[int, str, int], bool] = {}  # delete, key and time of a snapshot → whether it holds some
        self._held_look_s = -DELETE_HELD_LOOK_S

    def start(self) -> None:
        """Carry on what was begun before this process."""
        threading.Thread(target=self._run, name="deletes", daemon=True).start()

    def begin(self, tenant: str, stream: str, where: str) -> DeleteStatus:
        """Begin a delete: no query that starts after this returned shows what meets `where` now.

        Raises InvalidQuery, NotFound (the stream), InvalidRequest (too many), Unavailable, UnknownOutcome (it may have
        begun: look at all()).
        """
        wanted = self._queries.delete_of(tenant, stream, where)
        try:
            return DeleteStatus(self._catalog.add_delete(wanted))
        finally:
            self._wake.set()  # also when the outcome is unknown: it may be there

    def all(self, tenant: str) -> list[DeleteStatus]:
        """The deletes of a tenant, the first one first, also those that are done."""
        found = []
        for delete in self._catalog.deletes():
            if delete.tenant == tenant:
                gone_us = None if delete.done_at_us is None else delete.done_at_us + int(self._grace_s * 1e6)
                status = self._status.get(delete.id, DeleteStatus(delete))
                found.append(replace(status, delete=delete, files_gone_us=gone_us))
        return found

    def status(self) -> dict[str, object]:
        """How many deletes of all tenants are under way, and why one does not go on, None when all do."""
        waiting = pending(self._catalog.deletes())
        failures = (self._status[one.id].failure for one in waiting if one.id in self._status)
        held = sum(delete.state == HELD for delete in waiting)
        return {"running": len(waiting) - held, "held": held, "failure": next(filter(None, failures), None)}

    def _run(self) -> None:
        while True:
            pause_s = DELETE_LOOK_S
            try:
                waiting = due(self._catalog.deletes())
            except MalamuteError:
                waiting, pause_s = (), DELETE_RETRY_S  # queries fail of it as well, and say why
            for delete in waiting:
                try:
                    self._step(delete)
                except Exception as error:
                    # Shown; a thread that ended here would carry no delete to its end.
                    self._note(delete, failure=f"{type(error).__name__}: {error}")
                    pause_s = DELETE_RETRY_S
            if any(delete.state == RUNNING for delete in waiting) and pause_s == DELETE_LOOK_S:
                continue
            self._wake.wait(pause_s if waiting else DELETE_HELD_LOOK_S)
            self._wake.clear()

    def _step(self, delete: Delete) -> None:
        if delete.state == RUNNING and self._erased(delete) and not self._queries.remaining(delete):
            rows, segments = self._counted(delete)
            now_us = self._clock.now_us()
            delete = self._catalog.update_delete(
                replace(delete, segments_rewritten=segments, rows_removed=rows, remaining=0, rewritten_at_us=now_us)
            )
            self._held_look_s = -DELETE_HELD_LOOK_S
        if delete.state == HELD:
            self._let_go(delete)

    def _erased(self, delete: Delete) -> bool:
        """Have every shard go on; whether all of them have nothing left."""
        if delete.id not in self._flushed:
            self._backend.flush(ACK_WAIT_S_MAX)  # what was in memory as it began is in segments then
            self._flushed.add(delete.id)
        leaf = self._queries.leaf_of(delete)
        asked = {
            shard: send(self._backend.handles[shard_worker(shard)], "erase", delete, leaf)
            for shard in self._backend.shards
        }
        answers = [unwrap(ref, ACK_WAIT_S_MAX, f"erase on shard {shard}") for shard, ref in asked.items()]
        done, left = (sum(numbers) for numbers in zip(*answers, strict=True))
        self._note(delete, segments_done=done, segments_total=done + left, failure=None)
        return left == 0

    def _counted(self, delete: Delete) -> Erased:
        """What all shards erased for it, also those that gave their segments away since."""
        manifests = (ManifestStore(self._objects, ShardId(shard), self._clock).load() for shard in self._shards())
        counts = [
            erased
            for manifest in manifests
            if manifest is not None
            for (_, number), erased in manifest.erased.items()
            if number == delete.id
        ]
        return Erased(sum(erased.rows for erased in counts), sum(erased.segments for erased in counts))

    def _let_go(self, delete: Delete) -> None:
        """End the delete when no named snapshot holds an event of it."""
        now_s = self._clock.steady_s()
        if now_s < self._held_look_s + DELETE_HELD_LOOK_S:
            return
        with self.lock:
            holders = []
            for key, snapshot in snapshots_of_stream(self._objects, self._clock.now_us(), delete.tenant, delete.stream):
                known = (delete.id, key, snapshot.created_at_us)
                if known not in self._held:
                    self._held[known] = self._queries.remaining(delete, snapshot) > 0
                if self._held[known]:
                    holders.append(snapshot.name)
            if not holders:
                self._catalog.update_delete(replace(delete, done_at_us=self._clock.now_us()))
        self._held_look_s = now_s if holders else -DELETE_HELD_LOOK_S
        self._note(delete, held_by=tuple(holders), failure=None)

    def _note(self, delete: Delete, **changes: object) -> None:
        self._status[delete.id] = replace(self._status.get(delete.id, DeleteStatus(delete)), **changes)  # type: ignore[arg-type]
