"""Owns the bugs in how a deployment is looked after, and in how the number of its shards changes. Data."""

from __future__ import annotations

from typing import Final

from tests.torture.planted.bug import Bug

_SCALING: Final = "tests/unit/test_scaling.py"
_HOLDINGS: Final = "tests/unit/test_query_holdings.py"
_SCRUB: Final = "tests/unit/test_scrub.py"
_KEEPER: Final = "tests/unit/test_keeper.py"

DEPLOYMENT_BUGS: Final = (
    # --- looking after what runs ------------------------------------------------------------------------------------
    Bug(
        "the scrubber counts what no manifest names any more",
        "storage/scrub.py",
        "            if is_named if of_segments else agreed and not is_named:\n",
        "            if of_segments or (agreed and not is_named):\n",
        _SCRUB,
    ),
    Bug(
        "the scrubber takes what was published meanwhile for an orphan",
        "storage/scrub.py",
        "else agreed and not is_named:\n",
        "else agreed or is_named:\n",
        _SCRUB,
    ),
    Bug(
        "the scrubber takes the first sight of a log for a finding",
        "storage/scrub.py",
        "<= agreed_s\n",
        "<= math.inf\n",
        _SCRUB,
    ),
    Bug(
        "the scrubber does not keep to its rate",
        "storage/read_rate.py",
        "        self._sleep(wait_s)\n",
        "",
        _SCRUB,
    ),
    Bug(
        "a shard that replays its log is taken for one that hangs",
        "actors/keeper.py",
        "self._looks[worker] + 1 if running else 0\n",
        "self._looks[worker] + 1\n",
        _KEEPER,
    ),
    Bug(
        "an answer does not begin the silence of a shard anew",
        "actors/keeper.py",
        "        del self._looks[worker]\n",
        "        pass\n",
        _KEEPER,
    ),
    # --- placements -------------------------------------------------------------------------------------------------
    Bug(
        "a sealed shard takes what is next",
        "storage/shard.py",
        "            raise refusal\n        return judge(",
        "            pass\n        return judge(",
        _SCALING,
    ),
    Bug(
        "a seal does not last",
        "storage/shard.py",
        "                edit = ManifestEdit(producers=self._retained(self._committed), sealed=self._sealed)\n",
        "                edit = ManifestEdit(producers=self._retained(self._committed))\n",
        _SCALING,
    ),
    Bug(
        "a shard is sealed with batches on their way",
        "storage/shard.py",
        "        while self.flush():\n            pass\n        with self._flush_lock:\n            with self._lock:\n",
        "        with self._flush_lock:\n            with self._lock:\n",
        _SCALING,
    ),
    Bug(
        "producers do not move",
        "storage/adoption.py",
        "        producers={**still_own, **adopted_producers(change, shard, rule_of)},\n",
        "        producers=still_own,\n",
        _SCALING,
    ),
    Bug(
        "a stale state of a producer that comes back is kept",
        "storage/adoption.py",
        "        producers={**still_own, **adopted_producers(change, shard, rule_of)},\n",
        "        producers={**adopted_producers(change, shard, rule_of), **producers},\n",
        _SCALING,
    ),
    Bug(
        "ids do not move",
        "storage/adoption.py",
        "            if any(len(high) for high, _ in parts):\n",
        "            if False:\n",
        _SCALING,
    ),
    Bug(
        "positions of shards that go are forgotten",
        "storage/adoption.py",
        "        return replace(states[shard], position=position)\n",
        "        return states[shard]\n",
        _SCALING,
    ),
    Bug(
        "what an heir took over is counted twice",
        "query/holdings.py",
        "{origin for origin, holder in holders.items() if holder < holding.shard}",
        "set()",
        _SCALING,
    ),
    Bug(
        "what a shard had in memory before its heir took over is counted twice",
        "query/holdings.py",
        "segments_shape=nothing, memtable=nothing, batches=0)",
        "segments_shape=nothing)",
        _HOLDINGS,
    ),
    Bug(
        "what an heir of an heir took over is counted twice",
        "query/holdings.py",
        "if _origin(segment, holding.shard) not in given)",
        "if True)",
        _HOLDINGS,
    ),
    Bug(
        "queries forget the shards that go before the others have their segments",
        "storage/placements.py",
        "        return tuple(sorted({*self.current.shards, *coming}))\n",
        "        return tuple(sorted(coming or self.current.shards))\n",
        _SCALING,
    ),
    Bug(
        "a sender that moved counts on from nothing",
        "ingest/sender.py",
        "replace(self._in_flight.request, placement=self.placement.version)\n",
        "replace(self._in_flight.request, placement=self.placement.version, sequence=0)\n",
        _SCALING,
    ),
    Bug(
        "a retired shard takes what its heir wrote beside its segments for orphans",
        "storage/recovery.py",
        "    if manifest.sealed > manifest.served:\n",
        "    if False:\n",
        _SCALING,
    ),
    Bug(
        "a snapshot is of the shards that served before its flush",
        "storage/named_snapshots.py",
        "        if placements.version:  #",
        "        if False:  #",
        _SCALING,
    ),
)
