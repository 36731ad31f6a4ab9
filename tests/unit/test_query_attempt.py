"""Queries that are answered in one round: when they are, and that they are right whatever happened since the last."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from core.errors import BudgetExceeded, InvalidQuery
from query.fragment import WHOLE, LeafResult
from query.options import PARTIAL, QueryAnswer
from query.parcel import packed
from query.result_cache import ResultCache
from query.tasks import Task
from tests.unit.test_query_coordinate import Rig
from tests.unit.test_query_shards import SHARDS, Shards, build_shards, to_batch, to_segment

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

ROWS = 60
COUNT = "SELECT count(*) AS c FROM logs"
QUESTIONS = [
    "SELECT count(*) AS c, count(DISTINCT id) AS d, sum(id) AS s FROM logs",
    "SELECT level, count(*) AS c FROM logs GROUP BY 1 ORDER BY 1 NULLS LAST",
    "SELECT id FROM logs WHERE id >= 10000 ORDER BY id",
    "SELECT * FROM logs ORDER BY id DESC, timestamp, _offset, _shard LIMIT 3",
    "SELECT median(id) AS m FROM logs",
    "SELECT count(*) AS c FROM logs l JOIN traces t ON l.id = t.id",
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    built = build_shards(tmp_path_factory.mktemp("attempt"), rows=ROWS)
    yield built
    built.executor.close()


@pytest.fixture
def rig(shards: Shards) -> Rig:
    return Counting(shards)


class Counting(Rig):
    """Counts the tasks that are sent after a snapshot was taken."""

    def __init__(self, shards: Shards, readers: int = 0) -> None:
        super().__init__(shards, readers)
        self.started: list[Task] = []
        self.starting = lambda worker, task: self.started.append(task)
        self.attempted = 0

    def attempt(self, *arguments: Any) -> Any:
        self.attempted += 1
        return super().attempt(*arguments)

    def rounds(self, sql: str, **options: Any) -> tuple[int, int]:
        """Attempts and descriptions of a query."""
        attempted, described = self.attempted, self.describes - self.attempted
        self.ask(sql, **options)
        assert self.nothing_is_left()
        return self.attempted - attempted, self.describes - self.attempted - described


def change(rig: Rig, shard: int, **fields: Any) -> None:
    rig.snapshots[shard]["logs"] = replace(rig.snapshots[shard]["logs"], **fields)  # type: ignore[index]


def write(rig: Rig, shard: int, events: list[dict[str, Any]]) -> None:
    """Acknowledge events."""
    held = rig.snapshots[shard]["logs"]
    batch = to_batch(list(enumerate(events)), held.visible_offset)
    change(rig, shard, visible_offset=held.visible_offset + len(events), memtable=(*held.memtable, batch))


def flush(rig: Rig, shard: int, shards: Shards) -> None:
    """Make segments of the memtable."""
    held = rig.snapshots[shard]["logs"]
    version = held.manifest_version + 1
    files = [shards.directory / f"{id(rig)}-{shard}-{version}-{n}.parquet" for n in range(len(held.memtable))]
    made = [to_segment(batch, "logs", path, shard) for batch, path in zip(held.memtable, files, strict=True)]
    change(rig, shard, manifest_version=version, segments=(*held.segments, *made), memtable=())


EVENT = {"id": ("int", 10_000), "level": ("str", "info")}


# --- in one round -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sql", QUESTIONS)
def test_the_second_question_takes_one_round(rig: Counting, sql: str) -> None:
    first = rig.ask(sql, cache=False).table
    assert rig.rounds(sql, cache=False) == (1, 0)
    rig.started.clear()
    rig.pins.clear()
    second = rig.ask(sql, cache=False)
    assert second.table.equals(first) and not rig.started and not rig.pins
    assert second.stats["tasks"] == SHARDS


def test_so_does_another_question_about_the_same_stream(rig: Counting) -> None:
    rig.ask(COUNT)
    assert rig.rounds("SELECT max(id) FROM logs") == (1, 0)


def test_more_events_of_the_same_paths_are_counted_in_one_round(rig: Counting) -> None:
    write(rig, 1, [EVENT])
    rig.ask(COUNT)
    write(rig, 1, [EVENT, EVENT])
    assert rig.rounds(COUNT, cache=False) == (1, 0)
    assert rig.ask(COUNT).table.to_pylist() == [{"c": ROWS + 3}]


def test_a_kept_answer_takes_one_look_and_no_pin(rig: Counting) -> None:
    rig.ask(COUNT)
    assert rig.rounds(COUNT) == (1, 0) and rig.ask(COUNT).stats["result_cached"]
    write(rig, 0, [EVENT])
    assert rig.rounds(COUNT) == (2, 0)  # the look, and the attempt that it was not enough for
    assert rig.ask(COUNT).table.to_pylist() == [{"c": ROWS + 1}]


def test_an_answer_that_is_dropped_between_two_looks_is_computed(
    rig: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.ask(COUNT)
    monkeypatch.setattr(ResultCache, "get", lambda *_: None)
    assert rig.ask(COUNT).table.to_pylist() == [{"c": ROWS}] and rig.nothing_is_left()


# --- in more than one round -------------------------------------------------------------------------------------------


def test_what_a_flush_moved_is_counted_once(rig: Counting, shards: Shards) -> None:
    write(rig, 0, [EVENT])
    rig.ask(COUNT)
    flush(rig, 0, shards)
    assert rig.rounds(COUNT, cache=False) == (1, 1)
    assert rig.ask(COUNT).table.to_pylist() == [{"c": ROWS + 1}]


@pytest.mark.parametrize(
    "event", [{"fresh": ("str", "x")}, {"level": ("int", 3)}, {"tags": ("str", "plain")}], ids=lambda e: next(iter(e))
)
def test_a_path_of_another_shape_is_planned_anew(rig: Counting, event: dict[str, Any]) -> None:
    sql = "SELECT * FROM logs WHERE id >= 10000"
    rig.ask(sql)
    write(rig, 2, [{**EVENT, **event}])
    answer = rig.ask(sql)
    (path,) = event
    assert answer.table.column(path).to_pylist() == [str(event[path][1])] and rig.nothing_is_left()


def test_a_query_that_was_wrong_before_may_be_right_now(rig: Counting) -> None:
    sql = "SELECT max(tags || 'x') AS m FROM logs"
    with pytest.raises(InvalidQuery):
        rig.ask(sql)
    write(rig, 2, [{**EVENT, "tags": ("str", "plain")}])
    assert rig.ask(sql).table.num_rows == 1 and rig.nothing_is_left()


def test_a_query_that_the_engine_refuses_at_the_shards_is_refused_over_a_snapshot(rig: Counting) -> None:
    sql = "SELECT id::TINYINT AS i FROM logs"
    rig.ask(sql)
    write(rig, 0, [EVENT])
    for _ in range(2):
        with pytest.raises(InvalidQuery, match="10000"):
            rig.ask(sql)
        assert rig.nothing_is_left()


def test_what_readers_read_and_what_may_be_partial_takes_two_rounds(shards: Shards, rig: Counting) -> None:
    read = Counting(shards, readers=2)
    read.ask(COUNT)
    assert read.rounds(COUNT, cache=False) == (0, 1)
    rig.ask(COUNT)
    assert rig.rounds(COUNT, cache=False, on_budget=PARTIAL) == (0, 1)
    with pytest.raises(BudgetExceeded):
        rig.ask("SELECT max(id) FROM logs", cache=False, scanned_bytes_max=1)


@pytest.mark.parametrize("seed", range(6))
def test_answers_are_those_of_somebody_who_remembers_nothing(shards: Shards, seed: int) -> None:
    rng = random.Random(seed)
    rig = Counting(shards)
    attempted = 0
    for step in range(25):
        shard = rng.randrange(SHARDS)
        if rng.random() < 0.5:
            event: dict[str, Any] = {"id": ("int", 10_000 + step)}
            if rng.random() < 0.4:
                event["level"] = rng.choice([("str", "info"), ("int", 7), ("bool", True)])
            if rng.random() < 0.2:
                event[f"path{rng.randrange(4)}"] = rng.choice([("str", "x"), ("float", 1.5)])
            write(rig, shard, [event] * rng.randrange(1, 4))
        elif rng.random() < 0.4:
            flush(rig, shard, shards)
        sql, cache = rng.choice(QUESTIONS), rng.random() < 0.5
        fresh = Rig(shards)
        fresh.snapshots = rig.snapshots
        before = rig.describes - rig.attempted
        found, wanted = rig.ask(sql, cache=cache), fresh.ask(sql, cache=False)
        attempted += rig.describes - rig.attempted == before
        assert found.table.equals(wanted.table), (step, sql)
        assert found.stats["snapshot"] == wanted.stats["snapshot"] and rig.nothing_is_left()
    assert 0 < attempted < 25  # both ways were taken


# --- where all rows are with one worker -------------------------------------------------------------------------------


def test_one_task_runs_the_query_itself(shards: Shards) -> None:
    rig = Counting(shards)
    for shard in range(1, SHARDS):
        change(rig, shard, segments=(), memtable=())
    held = rig.snapshots[0]["logs"]
    rows = sum(segment.rows for segment in held.segments) + sum(batch.num_rows for batch in held.memtable)
    answer = rig.ask("SELECT count(*) AS c, median(id) AS m FROM logs")
    assert answer.table.column("c").to_pylist() == [rows] and answer.stats["plan"] == WHOLE
    steps = rig.ask("EXPLAIN SELECT id FROM logs").table.to_pylist()
    assert [row["step"] for row in steps if row["step"] in ("task", "query", "merge")] == ["task", "query"]


@pytest.mark.parametrize("memtable", [False, True])
def test_few_rows_in_segments_of_several_shards_are_one_task(shards: Shards, memtable: bool) -> None:
    rig = Counting(shards)
    sql = "SELECT _shard, _offset, id FROM logs ORDER BY id"
    wanted = rig.ask(sql).table
    for shard in range(memtable, SHARDS):
        flush(rig, shard, shards)
    answer = rig.ask(sql)
    assert answer.stats["plan"] == WHOLE and answer.stats["tasks"] == 1
    assert answer.table.equals(wanted) and rig.rounds(sql, cache=False) == (1, 0)


@pytest.mark.parametrize("with_", ["", "WITH x AS (SELECT 1) ", "WITH RECURSIVE n(i) AS (SELECT 1) "])
def test_a_query_with_tables_of_its_own_runs_there_too(shards: Shards, with_: str) -> None:
    rig = Counting(shards)
    for shard in range(1, SHARDS):
        change(rig, shard, segments=(), memtable=())
    answer = rig.ask(f"{with_}SELECT count(*) AS c FROM logs WHERE 'WITH ' <> service")
    assert answer.stats["plan"] == WHOLE and answer.table.column("c").to_pylist()[0] > 0


# --- on the way -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 3, 100_000])
def test_tables_come_out_as_they_went_in(rows: int) -> None:
    texts = pa.array([f"text {n % 7}" for n in range(rows)], pa.string())
    numbers = pa.array(range(rows), pa.int64())
    table = pa.table([texts.dictionary_encode(), numbers, numbers], names=["s", "n", "n"])
    assert isinstance(packed(table), bytes) == (rows < 100)
    result = LeafResult((table, table.slice(1)), seconds=2.0)
    assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301
    answer = QueryAnswer(table, ("careful",), {"plan": "x"})
    assert pickle.loads(pickle.dumps(answer)) == answer  # noqa: S301
