"""What conditions say that an index can refute, and that no row is lost by it, whatever is put together."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from query.executor import Executor
from query.fragment import LIKE, Predicate
from query.merge import run_merge
from query.parse import parse
from query.plan import plan
from query.search.syntax import Wild
from query.shape import describe
from query.worker import Worker
from storage.snapshot import Segment
from tests.support.batches import START_US, memtable_batch
from tests.support.segment_store import SegmentStore, snapshot_of

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

ANY = Wild.ANY
SERVICES = ("compactor", "reader", "writer", "web-a", "web-b", "", "é%_")
ROWS = 300


class Rig:
    def __init__(self, directory: Path, values_max: int) -> None:
        rng = random.Random(values_max)
        self.store = SegmentStore(directory, row_group_rows=16, values_max=values_max)
        self.executor = Executor(threads=1, data_directories=[str(directory)])
        self.pruned = 0
        self.segments: list[Segment] = []
        for first in range(0, 2 * ROWS, ROWS):
            columns: dict[tuple[str, str], list[Any]] = {
                ("service", "str"): [rng.choice([*SERVICES[row * 7 // ROWS :][:2], None]) for row in range(ROWS)],
                ("host", "str"): [f"node-{first + row:04}" for row in range(ROWS)],
                ("n", "int"): [rng.choice([row // 40 * 3, None]) for row in range(ROWS)],
                ("mixed", "str"): [rng.choice(["7", "x", None]) if row % 2 else None for row in range(ROWS)],
                ("mixed", "int"): [None if row % 2 else row // 100 for row in range(ROWS)],
            }
            times = [START_US + first + row for row in range(ROWS)]
            self.segments += self.store.write([memtable_batch(columns, times, first)])

    def predicates(self, condition: str) -> tuple[Predicate, ...]:
        return self.plan(f"SELECT count(*) AS c FROM logs WHERE {condition}").leaf.scans[0].predicates

    def plan(self, sql: str) -> Any:
        return plan(parse(sql), {"logs": describe(snapshot_of(self.segments))}, self.executor, now_us=START_US)

    def count(self, condition: str, indexes: bool) -> int:
        planned = self.plan(f"SELECT count(*) AS c FROM logs WHERE {condition}")
        worker = Worker(self.executor, self.store, self.store.indexes if indexes else None)
        result = worker.run_leaf(planned.leaf, {"logs": snapshot_of(self.segments)})
        self.pruned += sum(result.stats.reasons.values())
        found: int = run_merge(planned, [result], self.executor).to_pylist()[0]["c"]
        return found


@pytest.fixture(scope="module", params=[32, 1])
def rig(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("predicates"), request.param)
    yield made
    made.executor.close()


def text(operator: str, *values: Any, path: str = "service") -> Predicate:
    return Predicate(path, None, "VARCHAR", operator, values)


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("service LIKE 'web%'", [text(LIKE, ("web", ANY))]),
        ("(service LIKE 'web%')", [text(LIKE, ("web", ANY))]),
        (
            "starts_with(service, 'web') AND n = 3",
            [text(LIKE, ("web", ANY)), Predicate("n", None, "BIGINT", "=", (3,))],
        ),
        ("service = 'a' OR service = 'b' OR service IN ('c', 'd')", [text("=", "a", "b", "c", "d")]),
        ("service LIKE 'a%' OR (service LIKE 'b%' AND n = 3)", [text(LIKE, ("a", ANY), ("b", ANY))]),
        ("service LIKE 'a%' OR service = 'b'", [text(LIKE, ("a", ANY), ("b",))]),
        ("service = 'b' OR service LIKE 'a%'", [text(LIKE, ("a", ANY), ("b",))]),
        ("matches('service:web*')", [text(LIKE, ("web", ANY))]),
        ("matches('service:(w*b OR reader)')", [text(LIKE, ("w", ANY, "b"), ("reader",))]),
        ("n = 3 OR n > 5", []),
        ("service LIKE 'a%' OR host LIKE 'a%'", []),
        ("service LIKE 'a%' OR n = 3", []),
        ("NOT service LIKE 'a%'", []),
        ("service NOT LIKE 'a%'", []),
        ("service ILIKE 'a%'", []),
        ("n::VARCHAR LIKE '1%'", []),
        ("n = 1" + "0" * 310, []),  # no double is so large
    ],
)
def test_what_can_be_refuted(rig: Rig, condition: str, found: list[Predicate]) -> None:
    assert list(rig.predicates(condition)) == found


def random_condition(rng: random.Random, depth: int = 2) -> str:
    if depth and rng.random() < 0.6:
        sides = [random_condition(rng, depth - 1) for _ in range(rng.choice([2, 2, 3]))]
        joined = rng.choice([" AND ", " OR ", " OR "]).join(sides)
        return f"({joined})" if rng.random() < 0.9 else f"NOT ({joined})"
    column = rng.choice(["service", "service", "host", "mixed"])
    value = rng.choice([*SERVICES, "node-0123", "node-9", "7", "metadata"])
    pattern = "".join(
        rng.choice([value[: rng.randrange(4)], "%", "_", "e", value[-2:]]) for _ in range(rng.randint(1, 3))
    )
    return rng.choice(
        [
            f"{column} = '{value}'",
            f"{column} IN ('{value}', '{rng.choice(SERVICES)}')",
            f"{column} LIKE '{pattern}'",
            f"{column} LIKE '{value[:5]}%'",
            f"{column} NOT LIKE '{pattern}'",
            f"starts_with({column}, '{value[:3]}')",
            f"ends_with({column}, '{value[-1:]}')",
            f"contains({column}, '{value[1:4]}')",
            f"n = {rng.randrange(25)}",
            f"n IN ({rng.randrange(25)}, {rng.randrange(25)}.5)",
            f"mixed = {rng.randrange(4)}",
            "service IS NOT NULL",
        ]
    )


def test_no_row_is_lost(rig: Rig) -> None:
    rng = random.Random(11)
    for _ in range(80):
        condition = random_condition(rng)
        assert rig.count(condition, indexes=True) == rig.count(condition, indexes=False), condition
    assert rig.pruned > 200
