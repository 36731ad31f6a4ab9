"""Owns the list of figures: what each claims, how it is run, where it ends, and which cannot be run yet and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.torture import (
    campaigns,
    configurations,
    faults,
    full_disk,
    kill_points,
    model,
    replay_speed,
    retries,
    scale_on_ray,
    segment_kills,
    snapshot_kills,
    sweeps,
)
from tests.torture.campaigns import Campaign
from tests.torture.day import campaign as day
from tests.torture.planted import run as planted


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `name` is unique and begins with the id of reliability figures, as in "T1 wal".

    `campaign` is run with one seed after the other, for a share of the time by `weight`; None: `missing` says why.
    `ends` is what the figure does not say.
    """

    name: str
    what: str
    campaign: Campaign | None = None
    weight: float = 1.0
    ends: str = ""
    missing: str = ""
    seeded: bool = True  # a seed that failed fails again

    @property
    def id(self) -> str:
        return self.name.split()[0]


FIGURES: Final = (
    Figure("T1 wal", "modelled power cuts of a bare WAL", campaigns.wal_power_cuts, ends="sampled, not exhaustive"),
    Figure("T1 shard", "modelled power cuts of a shard: WAL, flush, manifest", campaigns.shard_power_cuts, 2),
    Figure("T1 merges", "modelled power cuts of a shard that is compacted", campaigns.compaction_power_cuts),
    Figure("T1 deletes", "modelled power cuts of a shard that erases and is compacted", campaigns.erasing_power_cuts),
    Figure("T1 objects", "modelled power cuts with the WAL as objects", campaigns.object_wal_power_cuts),
    Figure(
        "T1 snapshots", "modelled power cuts of snapshots, backups, restores, clones", campaigns.snapshot_power_cuts
    ),
    Figure("T2", "power cuts of a real ext4 on a loop device", campaigns.real_power_cuts, 2, "one shard, no Ray"),
    Figure("T4", "processes killed at random times", campaigns.kills, 2, "one shard, no Ray"),
    Figure("T5", "processes killed at each change of the disk", kill_points.every_point_once, 4, "one shard, no Ray"),
    Figure(
        "T5 snapshots",
        "processes killed at every change that a snapshot, backup, restore and clone makes",
        snapshot_kills.every_step_once,
        2,
        "one shard, no Ray",
    ),
    Figure(
        "T5 segments",
        "processes killed at every change that a merge, a delete, retention or garbage collection makes",
        segment_kills.every_step_of_one,
        2,
        "one action a round; one shard, no Ray",
    ),
    Figure("T6 wal", "crash after crash of a bare WAL", campaigns.wal_crashes_in_recovery),
    Figure("T6 shard", "second power cuts inside recovery", campaigns.shard_crashes_in_recovery),
    Figure("T7", "a WAL cut at bytes of its last 65,536", sweeps.cuts, 2, "64 rounds are all of them"),
    Figure(
        "T8", "flipped bytes of WAL, segment, index, manifest", sweeps.flips, 2, "64 rounds are all of a small shard"
    ),
    Figure(
        "T8 scrub",
        "the scrubber beside writes, flushes, merges and changes of the shards; then a flipped byte of a segment",
        campaigns.scrubs,
        ends="logs and orphans count after ten minutes only",
        seeded=False,
    ),
    Figure("T9", "failing syncs: nothing acknowledged after, no file used again", faults.failing_syncs),
    Figure("T10", "I/O errors at each operation of a shard", faults.failing_operations, 2),
    Figure("T11", "a full disk: refused, readable, resumed", full_disk.fill_and_free, 1, "a tmpfs"),
    Figure(
        "T14", "replay of a killed shard", replay_speed.killed_and_opened, 1, "one shard, its files in the page cache"
    ),
    Figure("T16", "lost and repeated requests and answers", campaigns.lossy_transport),
    Figure("T16 ray", "the same in Ray's own calls", campaigns.lossy_ray, 4, "Ray chooses what fails", seeded=False),
    Figure(
        "T17",
        "batches sent again after rotation, flush, restart, kill, power cut, replacement",
        retries.after_each_event,
        ends="no merges yet",
    ),
    Figure(
        "T17 shards",
        "senders, reads and deaths while the number of shards changes",
        campaigns.changing_placements,
        2,
        "one process, no Ray",
    ),
    Figure(
        "T17 on Ray",
        "producers, reads and killed shards while the number of shards of a deployment changes",
        scale_on_ray.course,
        2,
        "one machine; a seed chooses the changes and the kills, the machine their moment",
        seeded=False,
    ),
    Figure("T17 ids", "events sent again under their ids, through crashes, against a model", campaigns.ids_sent_again),
    Figure("T18", "late writes of replaced owners", campaigns.late_owners),
    Figure(
        "T19",
        "history of producers and readers over Ray nodes that are killed, stopped and cut off",
        campaigns.history_over_nodes,
        4,
        "nodes of one machine; a seed chooses the faults, the machine their moment",
        seeded=False,
    ),
    Figure(
        "T19 sources",
        "sources of Kafka and of files that are killed, stopped and woken, with shards and the broker",
        campaigns.sources,
        2,
        "Kafka's mock of librdkafka; a seed chooses the faults, the machine their moment",
        seeded=False,
    ),
    Figure(
        "T20",
        "acknowledged, then queryable, while others write and flush",
        campaigns.probes,
        ends="one machine",
        seeded=False,
    ),
    Figure(
        "T21",
        "sums of whole batches in every answer during writes, flushes and merges",
        campaigns.whole_batches,
        ends="one machine; no retention",
        seeded=False,
    ),
    Figure("T22", "random merges keep every row, in order, and everything said of it", campaigns.random_merges, 2),
    Figure(
        "T27",
        "shards killed under producers and a reader: history, and until all producers are served again",
        campaigns.killed_shards,
        2,
        "one machine; a seed chooses the kills, the machine their moment",
        seeded=False,
    ),
    Figure(
        "T28", "owners paused, replaced and woken", campaigns.paused_owners, 2, "WAL on objects; pauses up to 0.3 s"
    ),
    Figure(
        "T28 hung",
        "shards stopped until the coordinator has ended them: the same",
        campaigns.hanging_shards,
        ends="one machine",
        seeded=False,
    ),
    Figure("T37", "object-store calls of which a fifth fails", campaigns.object_store_faults, ends="a store in memory"),
    Figure("T38", "32 writers on one manifest", campaigns.writers_of_one_manifest, ends="threads", seeded=False),
    Figure(
        "T39",
        "merges, flushes, garbage collection, crashes, readers and snapshots in random orders",
        campaigns.garbage_against_readers,
        ends="one step at a time",
    ),
    Figure("T39 snapshots", "snapshots taken beside merges and deletions", campaigns.snapshots_beside_deletions),
    Figure("T41", "random operations and crashes against a model", model.agree, 2),
    Figure("T42 storage", "the same batches under random configurations", configurations.same_events),
    Figure("T42 query", "the same queries with parts of the engine off", campaigns.switched_queries),
    Figure("T43", "bugs planted in a copy of the code", planted.all_caught, ends="one at a time", seeded=False),
    Figure("T44", "random queries against plain DuckDB", campaigns.random_queries, ends="one process"),
    Figure(
        "T46", "simulated days with every background task on, against a model", day.whole_day, 2, "one process, no Ray"
    ),
)

BY_NAME: Final = {figure.name: figure for figure in FIGURES}
