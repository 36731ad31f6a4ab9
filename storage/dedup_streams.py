"""Owns the ids of all streams of one shard: loading them when a stream is first written to, and asking them.

Nothing is loaded when a shard opens. What a stream's ids are is read from the runs that the manifest names and from
the events that are not flushed yet, before its first append is judged; until then no event of it can have been added.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pyarrow as pa

from core.columns import key_of
from core.errors import InvalidRequest, NotFound
from core.event_ids import event_ids, shards_of
from core.placement import Placement
from storage.dedup import LATE, BatchIds, DedupRule, Judged, StreamIds, sorted_ids, stored_ids, times_of
from storage.dedup_run import StreamIdRuns, read_run
from storage.memtable import StreamKey
from storage.objects import ObjectStore
from storage.stream_settings import StreamSettings

# A flush may replace a run while it is read; each time the manifest moved on.
_LOADS_MAX = 16

Stored = Callable[[StreamKey], tuple[StreamIdRuns | None, Sequence[pa.RecordBatch]]]


def rule_of(settings: StreamSettings) -> DedupRule | None:
    """The rule of a stream, None when it has no dedup key."""
    return None if settings.dedup_key is None else DedupRule(settings.dedup_key, settings.dedup_window)


class DedupStreams:
    """The ids of the streams of one shard. `stored` gives what a stream's ids are read from, at one instant.

    `placement` is the one that the shard serves; None: the one that a stream was made under.
    """

    def __init__(
        self,
        shard: int,
        objects: ObjectStore,
        settings: Callable[[str, str], StreamSettings],
        stored: Stored,
        placement: Placement | None = None,
    ) -> None:
        self._shard = shard
        self._objects = objects
        self._settings = settings
        self._stored = stored
        self._placement = placement
        self._loading = threading.Lock()
        self._streams: dict[StreamKey, StreamIds] = {}

    def ids_of(self, key: StreamKey, batch: pa.RecordBatch) -> BatchIds | None:
        """The ids of a batch, ready to be judged; None when its stream has no dedup key. Not under the shard's lock.

        Raises InvalidRequest, and what reading the catalog and runs raises: NotFound, Corrupt, Unavailable.
        """
        settings = self._settings(*key)
        rule = rule_of(settings)
        if rule is None:
            return None
        if any(key_of(field) == LATE for field in batch.schema):
            raise InvalidRequest(
                f"attribute {LATE.path!r} is what late events are marked with in stream {key[1]!r}: rename yours"
            )
        ids = event_ids(batch, rule.key)
        if (shards_of(ids.low, self._shards(settings))[ids.present] != self._shard).any():
            raise InvalidRequest(
                f"events of stream {key[1]!r} must go to the shard of their id, and some here belong to another than "
                f"{self._shard}: write with Client.write or Client.producer, which split them by {rule.key!r}"
            )
        self._load(key, rule)
        return sorted_ids(ids, times_of(batch))

    def _shards(self, settings: StreamSettings) -> Sequence[int]:
        if self._placement is not None:
            return self._placement.shards
        return range(settings.placements[-1].shards) if settings.placements else (self._shard,)

    def judge(self, key: StreamKey, ids: BatchIds, now_us: int) -> Judged:
        """See StreamIds.judge; under the shard's lock, like take and status."""
        return self._streams[key].judge(ids, now_us)

    def take(self, key: StreamKey, judged: Judged) -> None:
        """See StreamIds.take."""
        self._streams[key].take(judged)

    def status(self) -> dict[str, int]:
        """Ids that are in memory, and the bytes that they take."""
        streams = list(self._streams.values())  # another thread may be loading one
        return {
            "dedup_ids": sum(len(stream.index) for stream in streams),
            "dedup_bytes": sum(stream.index.bytes for stream in streams),
        }

    def _load(self, key: StreamKey, rule: DedupRule) -> None:
        if key in self._streams:
            return
        with self._loading:
            for attempt in range(_LOADS_MAX):
                if key in self._streams:
                    return
                try:
                    self._streams[key] = self._loaded(key, rule)
                except NotFound:
                    if attempt == _LOADS_MAX - 1:
                        raise

    def _loaded(self, key: StreamKey, rule: DedupRule) -> StreamIds:
        runs, batches = self._stored(key)
        known = StreamIds(rule)
        if runs is not None:
            known.take_runs(runs.watermark_us, ((run.start_us, *read_run(self._objects, run)) for run in runs.runs))
        for batch in batches:
            known.take_stored(*stored_ids(batch, rule))
        return known
