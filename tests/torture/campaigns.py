"""Owns the campaigns that are tests of the suite run with new seeds; each says how much it did. Never judges by itself.

A campaign is a function of a seed. It raises whatever it finds wrong, and NotPossible where this machine lacks what
it needs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from core.append import LOCAL, OBJECT
from tests.kill import test_kill9, test_paused_owner, test_power_cut
from tests.support import compacted, merges, scaling
from tests.support.dedup_campaign import Campaign as DedupCampaign
from tests.support.power_cut import NotPossible, power_cut_disk
from tests.support.query_switches import SWITCHES
from tests.torture import deployment, nodes, query_random, rpc_failures
from tests.unit import (
    test_backup,
    test_compaction_shard,
    test_erasure,
    test_manifest,
    test_named_snapshots,
    test_object_wal_faults,
    test_object_wal_power_cut,
    test_sender,
    test_shard_crash,
    test_snapshot_garbage,
    test_wal_crash,
)

Counts = Mapping[str, int]
Campaign = Callable[[int], Counts]

RPC_BATCHES = 100  # of each producer
FAULTY_BATCHES = 300
NODES_S = 20.0  # of faults in one round
DEPLOYMENT_S = 20.0  # of work in one round


@contextmanager
def directory() -> Iterator[Path]:
    """A directory of its own on a real disk."""
    with tempfile.TemporaryDirectory(prefix="malamute-torture-") as name:
        yield Path(name)


def wal_power_cuts(seed: int) -> Counts:
    return {"lives": 1, "crash states": test_wal_crash.power_cuts(seed)}


def shard_power_cuts(seed: int) -> Counts:
    return {"shards": 1, "crash states": test_shard_crash.power_cuts(seed)}


def object_wal_power_cuts(seed: int) -> Counts:
    return {"shards": 1, "crash states": test_object_wal_power_cut.power_cuts(seed)}


def snapshot_power_cuts(seed: int) -> Counts:
    with test_backup.one_copy_at_a_time():
        backing_up = test_backup.crashes_while_backing_up(seed)
        restoring = test_backup.crashes_while_restoring(seed)
    states = test_named_snapshots.crashes_while_taking(seed) + backing_up + restoring
    return {"snapshots, backups, restores, clones": 3, "crash states": states}


def snapshots_beside_deletions(seed: int) -> Counts:
    taken, deeds = test_snapshot_garbage.beside_deletions(seed)
    return {"attempts": 1, "snapshots taken": taken, "writes, merges and deletions meanwhile": deeds}


def compaction_power_cuts(seed: int) -> Counts:
    return {"shards": 1, "crash states": test_compaction_shard.crash_states(seed, 30)}


def erasing_power_cuts(seed: int) -> Counts:
    return {"shards": 1, "crash states": test_erasure.crash_states(seed, 60)}


def random_merges(seed: int) -> Counts:
    return {"merges": 1, "rows": merges.random_merge(seed)}


def garbage_against_readers(seed: int) -> Counts:
    counts = compacted.Walk(seed).run(150)
    return {"walks": 1, **{name: counts[name] for name in ("events", "replacements", "refused", "garbage", "reads")}}


def real_power_cuts(seed: int) -> Counts:
    with directory() as place, power_cut_disk(place) as disk:
        return {"power cuts": test_power_cut.CYCLES, "events acknowledged": test_power_cut.run_cycles(disk, seed)}


def changing_placements(seed: int) -> Counts:
    counts = scaling.run(seed, steps=80, merges=0.3)
    deaths = counts["shard"] + counts["coordinator"] + counts["step"]
    return {"events": counts["events"], "placements": counts["placements"], "deaths": deaths, "reads": counts["reads"]}


def kills(seed: int) -> Counts:
    events = 0
    for durability in (LOCAL, OBJECT):
        with directory() as place:
            events += test_kill9.kills(place, seed, durability)
    return {"kills": 2 * test_kill9.CYCLES, "events acknowledged": events}


def wal_crashes_in_recovery(seed: int) -> Counts:
    return {"crash states": test_wal_crash.crashes_of_several_lives(seed)}


def shard_crashes_in_recovery(seed: int) -> Counts:
    return {"second power cuts": test_shard_crash.power_cuts_inside_recovery(seed)}


def lossy_transport(seed: int) -> Counts:
    deliveries, restarts = test_sender.lossy_course(seed)
    return {"batches": test_sender.BATCHES, "deliveries": deliveries, "restarts": restarts}


def lossy_ray(seed: int) -> Counts:
    outcome = rpc_failures.campaign(seed, RPC_BATCHES, failures_max=-1)
    batches = rpc_failures.PRODUCERS * RPC_BATCHES
    return {"batches": batches, "events acknowledged": outcome.acknowledged, "events sent again": outcome.duplicates}


def ids_sent_again(seed: int) -> Counts:
    return asdict(DedupCampaign(seed).run(lives=4, steps=25))


def late_owners(seed: int) -> Counts:
    return {"late publishes": test_manifest.late_publishes(seed) + test_shard_crash.late_writes(seed)}


def history_over_nodes(seed: int) -> Counts:
    counts = nodes.campaign(seed, NODES_S)
    return {name: count for name, count in counts.items() if isinstance(count, int)}


def sources(seed: int) -> Counts:
    try:
        from tests.torture import sources as campaign
    except ModuleNotFoundError as error:
        raise NotPossible(f"{error.name} is not installed") from error
    return campaign.kafka_campaign(seed) + campaign.files_campaign(seed)


def scrubs(seed: int) -> Counts:
    return deployment.campaign("scrubs", seed, DEPLOYMENT_S)


def probes(seed: int) -> Counts:
    return deployment.campaign("probes", seed, DEPLOYMENT_S)


def whole_batches(seed: int) -> Counts:
    return deployment.campaign("batches", seed, DEPLOYMENT_S)


def killed_shards(seed: int) -> Counts:
    return deployment.campaign("kills", seed, DEPLOYMENT_S)


def hanging_shards(seed: int) -> Counts:
    return deployment.campaign("hangs", seed, DEPLOYMENT_S)


def paused_owners(seed: int) -> Counts:
    with directory() as place:
        fenced = test_paused_owner.pauses(place, seed)
    return {"pauses": test_paused_owner.PAUSES, "of them ended by a fence": fenced}


def object_store_faults(seed: int) -> Counts:
    client = test_object_wal_faults.faults_in_memory(seed, FAULTY_BATCHES)
    return {"batches": FAULTY_BATCHES, "calls": client.calls, "faults": client.faults}


def writers_of_one_manifest(seed: int) -> Counts:
    """Threads: what they do is the same each time, and their order is the machine's."""
    with directory() as place:
        test_manifest.test_32_writers_on_one_store_lose_no_edit(place)
    test_manifest.test_32_owners_fighting_lose_no_edit()
    return {"edits of 32 threads": 5 * 32}


def random_queries(seed: int) -> Counts:
    query_random.equal_plain_tables(seed)
    return {"data sets": 1, "queries": query_random.QUERIES_OF_A_SEED}


def switched_queries(seed: int) -> Counts:
    query_random.equal_with_switches(seed)
    queries = query_random.SWITCHED_QUERIES_OF_A_SEED
    return {"data sets": 1, "queries": queries, "answers compared": queries * len(SWITCHES)}
