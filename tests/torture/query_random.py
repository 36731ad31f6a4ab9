"""T44 and T42: random queries over random data equal plain DuckDB over the same rows, with every switch.

    python -m tests.torture.query_random --queries 20000 --seed 7

A data set is made for each QUERIES_OF_A_SEED queries. What differs is shrunk and printed with its seed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import chain

from tests.support import query_check
from tests.support.query_switches import switch_failures

QUERIES_OF_A_SEED = 60
SEEDS_AT_A_TIME = 5
SWITCHED_QUERIES_OF_A_SEED = 12
FAILURES_MAX = 20


def equal_plain_tables(seed: int) -> None:
    """One data set with its queries; raises AssertionError."""
    found = campaign([seed])
    assert not found, "\n".join(found)


def equal_with_switches(seed: int) -> None:
    """One data set, each of its queries with every part of the engine switched; raises AssertionError."""
    with query_check.engine() as (directory, executor):
        found = list(switch_failures(seed, SWITCHED_QUERIES_OF_A_SEED, directory, executor))
    assert not found, "\n".join(found)


def campaign(seeds: list[int]) -> list[str]:
    """What differs in the queries of `seeds`."""
    with query_check.engine() as (directory, executor):
        queries = (query_check.failures(seed, QUERIES_OF_A_SEED, directory, executor) for seed in seeds)
        return list(chain.from_iterable(queries))


def main(queries: int, seed: int, jobs: int) -> int:
    """Run at least `queries` queries in `jobs` processes; 1 when any differs."""
    began_s = time.monotonic()
    last = seed + -(-queries // QUERIES_OF_A_SEED)
    parts = [list(range(at, min(at + SEEDS_AT_A_TIME, last))) for at in range(seed, last, SEEDS_AT_A_TIME)]
    failures = asked = 0
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        for part, found in zip(parts, pool.map(campaign, parts), strict=True):
            asked += len(part) * QUERIES_OF_A_SEED
            failures += len(found)
            print("\n".join(found), end="\n" if found else "", flush=True)
            if failures > FAILURES_MAX:
                pool.shutdown(cancel_futures=True)
                break
    seconds = time.monotonic() - began_s
    print(f"T44: {asked:,} random queries from seed {seed}, {failures} differ, {asked / seconds:.0f} queries/s")
    return int(failures > 0)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--queries", type=int, default=20_000)
    arguments.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    arguments.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    chosen = arguments.parse_args()
    sys.exit(main(chosen.queries, chosen.seed, chosen.jobs))
