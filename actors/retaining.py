"""Owns carrying out retention over Ray: looks now and then what is expired, and has the shards remove it.

Runs in the coordinator, in a thread of its own, and remembers nothing that has to be.
"""

from __future__ import annotations

import threading

from actors.errors import send, unwrap
from actors.fleet import RayBackend
from core.clock import Clock
from core.errors import MalamuteError
from core.limits import ACK_WAIT_S_MAX, RETENTION_LOOK_S
from query.coordinate import Queries
from query.hidden import finding_expired
from query.tasks import shard_worker
from storage.catalog import CatalogStore
from storage.retention import Retention, expired, retention_of


class Retaining:
    """Retention in a deployment. Thread-safe."""

    def __init__(self, backend: RayBackend, queries: Queries, catalog: CatalogStore, clock: Clock) -> None:
        self._backend, self._queries, self._catalog, self._clock = backend, queries, catalog, clock
        self._wake = threading.Event()
        self._failure: str | None = None

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._run, name="retention", daemon=True).start()

    def set(self, tenant: str, stream: str, retention: Retention) -> None:
        """See CatalogStore.set_retention; what is expired goes at once."""
        self._catalog.set_retention(tenant, stream, retention)
        self._wake.set()

    def status(self) -> dict[str, object]:
        """Why the last round came to nothing, None when it did not."""
        return {"failure": self._failure}

    def _run(self) -> None:
        while True:
            try:
                self._round()
                self._failure = None
            except Exception as error:
                # Shown in status(), and tried again; a thread that ended here would keep everything from now on.
                self._failure = f"{type(error).__name__}: {error}"
            self._wake.wait(RETENTION_LOOK_S)
            self._wake.clear()

    def _round(self) -> None:
        failure: MalamuteError | None = None
        for tenant in self._catalog.tenants_with_retention():
            own = self._catalog.retentions(tenant)
            for settings in self._catalog.streams(tenant):
                retention = retention_of(own, settings.name)
                try:
                    if retention is not None:
                        self._expire(tenant, settings.name, retention)
                except MalamuteError as error:
                    failure = error  # others go on
        if failure is not None:
            raise failure

    def _expire(self, tenant: str, stream: str, retention: Retention) -> None:
        held = self._queries.segments_of(tenant, stream)
        now_us = self._clock.now_us()
        found = expired(retention, (segment for segments in held.values() for segment in segments), now_us)
        cut_us = retention.cut_us(now_us)
        leaf = None if cut_us is None else finding_expired(stream, cut_us)
        asked = [
            (shard, send(self._backend.handles[shard_worker(shard)], "expire", found, leaf))
            for shard, segments in held.items()
            if any(segment.name in found.whole | found.split for segment in segments)
        ]
        for shard, ref in asked:
            unwrap(ref, ACK_WAIT_S_MAX, f"retention on shard {shard}")
