"""Owns the view of a running deployment that people and programs read."""

from __future__ import annotations

from collections import Counter
from typing import Any

from storage.object_requests import price_usd


class Status:
    """The numbers of one deployment at one moment."""

    def __init__(self, numbers: dict[str, Any]) -> None:
        self._numbers = numbers

    @property
    def shards(self) -> list[dict[str, Any]]:
        """One dict per shard: state, pid, node, epoch, events, wal_bytes, memtable_bytes, segments …"""
        return list(self._numbers["shards"])

    @property
    def placement(self) -> dict[str, Any]:
        """The placement in force: version, shards, since when; and the change under way: state, next, failure."""
        return dict(self._numbers["coordinator"]["placement"])

    @property
    def readers(self) -> list[dict[str, Any]]:
        """One dict per reader: pid, node, memory, caches."""
        return list(self._numbers["readers"])

    @property
    def compactors(self) -> list[dict[str, Any]]:
        """One dict per compactor actor: pid, node, memory, merging (the merge it carries out), merges, refused, failed.

        What shards merge, by themselves or by compactors, is in `compaction`.
        """
        return list(self._numbers["compactors"])

    @property
    def keeper(self) -> dict[str, Any]:
        """Since the coordinator began: shards `ended` because they hung, `moved` to their disks; the last `failure`."""
        return dict(self._numbers["coordinator"]["keeper"])

    @property
    def deletes(self) -> dict[str, Any]:
        """The deletes that are `running`, or `held` by named snapshots, and why one does not go on, `failure`."""
        return dict(self._numbers["coordinator"]["deletes"])

    @property
    def retention(self) -> dict[str, Any]:
        """Why the last round of retention came to nothing: `failure`."""
        return dict(self._numbers["coordinator"]["retention"])

    @property
    def scrub(self) -> dict[str, Any]:
        """The verification in the background: state, rounds, progress, last_round with its findings, failure."""
        return dict(self._numbers["scrub"])

    @property
    def compaction(self) -> dict[str, Any]:
        """Over all shards that answered, since their processes started: what was merged, what waits, what failed.

        `write_amplification` is how often an event was written on average; `last_compaction_error` is one of them.
        """
        shards = [shard for shard in self.shards if shard.get("compaction")]
        if not shards:
            return {}
        total: Counter[str] = Counter()
        levels: Counter[int] = Counter()
        for shard in shards:
            numbers = dict(shard["compaction"])
            levels.update(numbers.pop("segments_by_level"))
            total.update({name: number for name, number in numbers.items() if not isinstance(number, str)})
        flushed = sum(shard["flushed_rows"] for shard in shards)
        return {
            **total,
            "segments_by_level": dict(sorted(levels.items())),
            "write_amplification": 1 + total["compacted_rows"] / max(1, flushed),
            "last_compaction_error": next(filter(None, (s["compaction"]["last_compaction_error"] for s in shards)), ""),
        }

    @property
    def cache_hits(self) -> dict[str, tuple[int, int]]:
        """Per cache, how often it had the answer, and how often it was asked, since its processes started.

        `results`: whole answers, `states`: partial states of segments, `indexes`: indexes of segments in memory.
        """
        kept = self._numbers["coordinator"]["result_cache"]
        found = {"results": (kept["hits"], kept["hits"] + kept["misses"])}
        workers = [worker["caches"] for worker in (*self.shards, *self.readers) if "caches" in worker]
        for cache in ("states", "indexes"):
            hits = sum(worker[cache].get("hits", 0) for worker in workers)
            found[cache] = (hits, hits + sum(worker[cache].get("misses", 0) for worker in workers))
        return found

    @property
    def requests(self) -> dict[str, int]:
        """What the deployment's processes asked of the object store since they started; {} of a directory.

        Requests by kind (get, head, put, list, delete), bytes_read, bytes_written; of the requests, retries after an
        error and hedges of late reads.
        """
        total: Counter[str] = Counter()
        for process in (self._numbers["coordinator"], *self.shards, *self.readers, *self.compactors, self.scrub):
            total.update(process.get("requests", {}))
        return dict(total)

    @property
    def requests_usd(self) -> float:
        """An estimate of what these requests would cost at the list price of S3; see storage/object_requests.py."""
        return price_usd(self.requests)

    @property
    def events(self) -> int:
        """Events held by all shards that answered."""
        return sum(shard.get("events", 0) for shard in self.shards)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return self._numbers

    def __repr__(self) -> str:
        serving = sum(shard["state"] == "serving" for shard in self.shards)
        return f"<Status {serving} of {len(self.shards)} shards serving, {self.events} events>"
