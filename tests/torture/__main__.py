"""`make torture`: seeded campaigns of the test suite with new seeds until the time is up; a failure ends it.

Prints what was run with its denominator. Replay a failure with MALAMUTE_SEED=<seed> and the named test.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.kill import test_kill9, test_power_cut
from tests.support.power_cut import NotPossible, power_cut_disk
from tests.torture import query_random, rpc_failures
from tests.unit import test_sender, test_shard_crash

Campaign = Callable[[int], None]

RPC_BATCHES = 200  # of each producer


def kill_9(seed: int) -> None:
    os.environ["MALAMUTE_SEED"] = str(seed)
    with tempfile.TemporaryDirectory(prefix="malamute-torture-") as directory:
        test_kill9.test_kill_9_at_random_times_loses_and_doubles_nothing(Path(directory))


def power_cuts(seed: int) -> None:
    with tempfile.TemporaryDirectory(prefix="malamute-torture-") as directory, power_cut_disk(Path(directory)) as disk:
        test_power_cut.run_cycles(disk, seed)


def lost_calls(seed: int) -> None:
    outcome = rpc_failures.campaign(seed, RPC_BATCHES, failures_max=-1)
    print(f"  {outcome.acknowledged:,} events acknowledged, {outcome.duplicates:,} of them sent again", flush=True)


CAMPAIGNS: dict[str, tuple[str, Campaign]] = {
    "T1": (
        "shard lives with power cuts after random operations",
        test_shard_crash.test_power_cut_after_any_operation_loses_and_doubles_nothing,
    ),
    "T6": (
        "recoveries with a second power cut inside",
        test_shard_crash.test_power_cut_inside_recovery_changes_nothing,
    ),
    "T16": (
        "producers over a lossy, repeating transport",
        test_sender.test_lost_and_repeated_requests_and_answers_store_each_batch_once,
    ),
    "T16 on Ray": (
        f"Rays that lose calls, {rpc_failures.PRODUCERS} producers of {RPC_BATCHES} batches each",
        lost_calls,
    ),
    "T4": (f"processes killed {test_kill9.CYCLES} times each", kill_9),
    "T2": (f"disks whose power was cut {test_power_cut.CYCLES} times each", power_cuts),
    "T44": (
        f"data sets, {query_random.QUERIES_OF_A_SEED} random queries of each compared with plain DuckDB",
        query_random.equal_plain_tables,
    ),
    "T42": (
        f"data sets, {query_random.SWITCHED_QUERIES_OF_A_SEED} random queries of each with every switch of the engine",
        query_random.equal_with_switches,
    ),
}


def main(minutes: float) -> int:
    first = int(os.environ.get("MALAMUTE_SEED", time.time_ns() % 1_000_000))
    print(f"seeds from {first}, {minutes:g} minutes")
    for name, (what, campaign) in CAMPAIGNS.items():
        deadline_s = time.monotonic() + 60 * minutes / len(CAMPAIGNS)
        runs = 0
        while runs == 0 or time.monotonic() < deadline_s:
            try:
                campaign(first + runs)
            except NotPossible as reason:
                print(f"{name}: SKIPPED: {reason}", flush=True)
                break
            except AssertionError as failure:
                print(f"{name}: FAILED with seed {first + runs} after {runs} good runs: {failure}")
                return 1
            runs += 1
        else:
            print(f"{name}: {runs} {what}: 0 lost, doubled or different", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(float(os.environ.get("MINUTES", "4"))))
