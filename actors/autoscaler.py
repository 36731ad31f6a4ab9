"""Owns measuring how busy the shards are, and the history of it. What follows from it is core.autoscale's to decide."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from core.autoscale import AutoscaleRules, Decision, Sample, decide
from core.clock import Clock


class Autoscaler:
    """The samples of one deployment since this process began. Used by one thread, decisions may be asked by others."""

    def __init__(self, rules: AutoscaleRules, memtable_bytes_max: int, clock: Clock) -> None:
        self._rules = rules
        self._memtable_bytes_max = memtable_bytes_max
        self._clock = clock
        self._samples: deque[Sample] = deque(maxlen=100_000)
        self._before: tuple[float, dict[tuple[int, int], tuple[float, float]]] = (clock.steady_s(), {})
        self._shards: tuple[int, ...] = ()
        self._since_s = clock.steady_s()

    def look(self, shards: Iterable[Mapping[str, Any]]) -> None:
        """Take the numbers of all shards (Status.shards). A process that is new counts from now on."""
        now_s, (before_s, before) = self._clock.steady_s(), self._before
        serving = [shard for shard in shards if "accepted_bytes" in shard]
        totals = {(s["shard"], s["pid"]): (float(s["accepted_bytes"]), float(s["cpu_s"])) for s in serving}
        self._before = (now_s, totals)
        known = [(totals[key], before[key]) for key in totals.keys() & before.keys()]
        if not known or now_s <= before_s:
            return
        backlog = max(shard["memtable_bytes"] for shard in serving) / self._memtable_bytes_max
        bytes_, cpu_s = (sum(now[n] - then[n] for now, then in known) for n in (0, 1))
        self._samples.append(Sample(now_s, bytes_ / (now_s - before_s), cpu_s / (now_s - before_s), backlog))
        while self._samples[0].at_s < now_s - self._rules.down_after_s:
            self._samples.popleft()

    def decide(self, shards: tuple[int, ...]) -> Decision:
        """How many shards there should be in the place of `shards`, and why."""
        if shards != self._shards:
            self._shards, self._since_s = shards, self._clock.steady_s()
        return decide(list(self._samples), len(shards), self._rules, self._since_s)
