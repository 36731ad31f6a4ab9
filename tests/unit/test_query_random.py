"""Random queries over random data: equal to plain DuckDB over the same rows (T44), and with every switch (T42).

A slice of what `python -m tests.torture.query_random` does. A failure names its seed and a shrunk query.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from query.executor import Executor
from query.fragment import GATHER, PARTIAL_AGGREGATE
from tests.support import query_check
from tests.support.query_generator import Query, generate
from tests.support.query_oracle import Oracle, ours
from tests.support.query_switches import SWITCHES, switch_failures, switched, without_pruning, without_two_phases

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

SEEDS = range(10)
QUERIES = 40
SWITCHED_SEEDS = range(100, 102)
SWITCHED_QUERIES = 10


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Path, Executor]]:
    with query_check.engine() as opened:
        yield opened


@pytest.mark.parametrize("seed", SEEDS)
def test_random_queries_equal_plain_tables(place: tuple[Path, Executor], seed: int) -> None:
    assert list(query_check.failures(seed, QUERIES, *place)) == []


@pytest.mark.parametrize("seed", SWITCHED_SEEDS)
def test_random_queries_are_equal_with_every_switch(place: tuple[Path, Executor], seed: int) -> None:
    assert list(switch_failures(seed, SWITCHED_QUERIES, *place)) == []


def test_a_seed_is_a_data_set_and_queries() -> None:
    assert generate(3, 20) == generate(3, 20)
    assert generate(3, 20)[1] != generate(4, 20)[1]


def test_queries_are_of_every_plan_and_most_have_rows(place: tuple[Path, Executor]) -> None:
    kinds: dict[str, int] = {}
    empty = refused = 0
    for seed in range(20, 24):
        data, queries = generate(seed, 60)
        shards = query_check.spread(data, place[0] / f"kinds-{seed}", place[1])
        oracle = Oracle(data)
        for query in queries:
            answer = query_check.from_oracle(oracle, query.template)
            if isinstance(answer, str):
                refused += 1
            else:
                empty += answer.num_rows == 0
                kind = shards.plan(ours(query.template)).kind
                kinds[kind] = kinds.get(kind, 0) + 1
        oracle.close()
    total = sum(kinds.values())
    assert set(kinds) >= {"partial_aggregate", "topn", "project", "gather"}
    assert min(kinds[name] for name in kinds if name != "constant") > total / 50
    assert refused < total / 5
    assert empty < total * 0.4


def test_a_wrong_answer_is_found_and_shrunk(place: tuple[Path, Executor]) -> None:
    data, _ = generate(1, 0)
    oracle = Oracle(data)
    wrong = Query(
        'SELECT max("service") AS a, sum("id") + 1 AS b FROM "logs" WHERE "id" >= 0 AND length("service") > 1 '
        'GROUP BY "service"'
    )

    def said(query: Query) -> str:
        def broken(template: str) -> query_check.Answer:
            return query_check.from_oracle(oracle, template.replace("sum(", "max("))

        return query_check.difference(broken, lambda asked: query_check.from_oracle(oracle, asked), query)

    assert said(wrong)
    assert query_check.shrink(wrong, lambda query: bool(said(query))).template == 'SELECT sum("id") AS b FROM "logs"'
    oracle.close()


def test_switches_switch_something(place: tuple[Path, Executor]) -> None:
    data, _ = generate(2, 0)
    shards = query_check.spread(data, place[0] / "switches", place[1])
    assert shards.plan("SELECT count(*) FROM logs").kind == PARTIAL_AGGREGATE
    with without_two_phases():
        assert shards.plan("SELECT count(*) FROM logs").kind == GATHER
    shards.query("SELECT count(*) FROM logs WHERE id < 0 AND timestamp < '2025-01-01'")
    assert shards.last_stats.segments_pruned == shards.last_stats.segments > 0
    with without_pruning():
        shards.query("SELECT count(*) FROM logs WHERE id < 0 AND timestamp < '2025-01-01'")
        assert shards.last_stats.segments_pruned == 0
    text = "SELECT sum(id) FROM logs"
    for switch in SWITCHES:
        spread = query_check.spread(data, place[0] / f"switched {switch.name}", place[1], switch)
        switched(spread, switch, text)
        assert (spread.last_stats.segments_cached > 0) == (switch.asked > 1)
    assert len({switch.name for switch in SWITCHES}) == len(SWITCHES)
