"""The course of a query on the coordinator: nothing is left behind whatever fails, budgets, what is kept of answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from core.clock import ManualClock
from core.errors import (
    BudgetExceeded,
    Corrupt,
    InvalidQuery,
    InvalidRequest,
    MalamuteError,
    Overloaded,
    Unavailable,
    UnknownOutcome,
)
from core.limits import CURSOR_IDLE_S, TENANT_CURSORS_MAX
from query.admission import Admission
from query.coordinate import Queries
from query.fragment import Leaf, LeafResult, LeafStats
from query.merge import run_merge
from query.options import PARTIAL, PIECES, UPDATES, QueryAnswer, QueryOptions
from query.tasks import Task
from storage.stream_settings import StreamSettings
from tests.support.local_backend import FixedSnapshots, FixedStreams, LocalBackend
from tests.unit.test_query_shards import NOW_US, SHARDS, Shards, build_shards, to_batch

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

ROWS = 60
COUNT = "SELECT count(*) AS c FROM logs"
FOREVER_S = 30.0


class Rig(LocalBackend):
    """A backend whose steps a test may fail or do more in."""

    def __init__(self, shards: Shards, readers: int = 0) -> None:
        super().__init__([dict(held) for held in shards.snapshots], shards.executor, readers)
        self.clock = ManualClock(NOW_US)
        self.described: Callable[[int], None] = lambda times: None
        self.starting: Callable[[str, Task], None] = lambda worker, task: None
        self.describes = 0
        self.released: list[str] = []
        names = [StreamSettings("logs"), StreamSettings("traces")]
        self.queries = Queries(self, shards.executor, self.clock, FixedStreams(names), FixedSnapshots())

    def describe(self, query_id: str, tenant: str, known: Any, timeout_s: float) -> Any:
        answers = super().describe(query_id, tenant, known, timeout_s)
        self.describes += 1
        self.described(self.describes)
        return answers

    def attempt(self, tenant: str, attempts: Any, timeout_s: float) -> Any:
        answers = super().attempt(tenant, attempts, timeout_s)
        self.describes += 1
        self.described(self.describes)
        return answers

    def fleet(self, query_id: str, leaf: Leaf, timeout_s: float, cache: bool) -> Any:
        return Fleet(super().fleet(query_id, leaf, timeout_s, cache), self)

    def release(self, query_id: str) -> None:
        self.released.append(query_id)
        super().release(query_id)

    def ask(self, sql: str, tenant: str = "default", parameters: Any = None, **options: Any) -> QueryAnswer:
        return self.queries.answer(sql, parameters, tenant, QueryOptions(**options))

    def nothing_is_left(self) -> bool:
        assert not any(self.pins.values()), self.pins
        free = {"running": 0, "waiting": 0, "open": 0}
        return self.queries.status()["queries"] == free and not self.queries._courses


class Fleet:
    def __init__(self, inner: Any, rig: Rig) -> None:
        self._inner = inner
        self._rig = rig

    def start(self, worker: str, task: Task) -> Any:
        self._rig.starting(worker, task)
        return self._inner.start(worker, task)

    def wait(self, pending: Any, timeout_s: float) -> Any:
        return self._inner.wait(pending, timeout_s)

    def result(self, pending: Any) -> LeafResult:
        found: LeafResult = self._inner.result(pending)
        return found


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    built = build_shards(tmp_path_factory.mktemp("coordinate"), rows=ROWS)
    yield built
    built.executor.close()


@pytest.fixture(params=[0, 2], ids=["shards read", "readers read"])
def rig(request: pytest.FixtureRequest, shards: Shards) -> Rig:
    return Rig(shards, request.param)


# --- nothing is left behind -------------------------------------------------------------------------------------------


def answer(rig: Rig, sql: str) -> None:
    rig.ask(sql)


def updates(rig: Rig, sql: str) -> None:
    list(rig.queries.updates(sql, None, "default", QueryOptions()))


def pieces(rig: Rig, sql: str) -> None:
    list(rig.queries.pieces(sql, None, "default", QueryOptions()))


WAYS = [
    pytest.param(answer, COUNT, id="answer"),
    pytest.param(answer, f"EXPLAIN ANALYZE {COUNT}", id="explain analyze"),
    pytest.param(answer, "SELECT l.id FROM logs l JOIN traces t ON l.id = t.id", id="join"),
    pytest.param(updates, COUNT, id="updates"),
    pytest.param(pieces, "SELECT id FROM logs", id="pieces"),
    pytest.param(pieces, "SELECT id FROM logs ORDER BY id", id="pieces in order"),
]
ERRORS = [
    Unavailable("away"),
    UnknownOutcome("lost"),
    Overloaded("full", retry_after=1.0),
    Corrupt("flipped"),
    BudgetExceeded("memory", budget="memory"),
    InvalidQuery("no"),
    KeyError("a mistake"),
]


@pytest.mark.parametrize(("way", "sql"), WAYS)
def test_after_a_query_nothing_is_left(rig: Rig, way: Callable[[Rig, str], None], sql: str) -> None:
    way(rig, sql)
    assert rig.nothing_is_left() and not rig.cancelled


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("way", "sql"), WAYS)
def test_a_shard_that_cannot_describe_leaves_no_pins(
    rig: Rig, way: Callable[[Rig, str], None], sql: str, error: MalamuteError
) -> None:
    def fail(times: int) -> None:
        raise error

    rig.described = fail
    with pytest.raises(type(error)):
        way(rig, sql)
    assert rig.nothing_is_left() and rig.released


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize(("way", "sql"), WAYS)
def test_a_task_that_fails_leaves_no_pins_of_the_others(
    rig: Rig, way: Callable[[Rig, str], None], sql: str, nth: int, error: MalamuteError
) -> None:
    memtables = []

    def fail(worker: str, task: Task) -> None:
        memtables.append(task.memtable)
        if task.memtable and sum(memtables) >= nth:
            raise error

    rig.starting = fail
    with pytest.raises(type(error)):
        way(rig, sql)
    assert rig.nothing_is_left() and len(rig.cancelled) == 1


@pytest.mark.parametrize("kind", [UPDATES, PIECES])
def test_a_caller_who_leaves_early_leaves_nothing(rig: Rig, kind: str) -> None:
    options = QueryOptions(update_s=0.0, query_id="q")
    assert rig.queries.begin(kind, "SELECT id FROM logs", None, "default", options, "c") is not None
    assert rig.queries.status()["queries"] == {"running": 0, "waiting": 0, "open": 1}
    assert rig.queries.cancel("default", "q")
    assert rig.nothing_is_left() and len(set(rig.cancelled)) == 1
    with pytest.raises(BudgetExceeded, match="cancelled"):
        rig.queries.take("default", "c")


# --- results that are taken part by part ------------------------------------------------------------------------------


def opened(rig: Rig, cursor: str, tenant: str = "default", kind: str = PIECES, **options: Any) -> pa.Table:
    return rig.queries.begin(kind, "SELECT id FROM logs", None, tenant, QueryOptions(**options), cursor)


@pytest.mark.parametrize("kind", [UPDATES, PIECES])
def test_all_parts_are_taken_once_and_then_there_are_none(rig: Rig, kind: str) -> None:
    parts = [opened(rig, "c", kind=kind, update_s=0.0)]
    while (part := rig.queries.take("default", "c")) is not None:
        parts.append(part)
    tables = parts if kind == PIECES else [parts[-1].table]
    assert sum(table.num_rows for table in tables) == ROWS and len(parts) > 1
    assert rig.nothing_is_left()
    with pytest.raises(UnknownOutcome, match="run the query again"):
        rig.queries.take("default", "c")


def test_takers_who_stay_away_keep_nobody_from_asking(rig: Rig) -> None:
    for number in range(TENANT_CURSORS_MAX):
        opened(rig, f"c{number}")
    assert rig.ask(COUNT).table["c"].to_pylist() == [ROWS]
    assert rig.queries.take("default", "c0") is not None


def test_who_stays_away_longest_makes_room_for_others_and_is_told(rig: Rig) -> None:
    for number in range(TENANT_CURSORS_MAX):
        opened(rig, f"c{number}")
        rig.clock.advance(0.1)
    with pytest.raises(Overloaded, match="16 results of tenant 'default'"):
        opened(rig, "too many")
    opened(rig, "c0", tenant="other")  # whom this is nothing to
    rig.clock.advance(CURSOR_IDLE_S)
    rig.queries.take("default", "c0")
    opened(rig, "one more")
    with pytest.raises(BudgetExceeded, match=r"no rows were taken for \d+ s while others") as caught:
        rig.queries.take("default", "c1")
    assert caught.value.budget == "taking" and len(rig.cancelled) == 1
    assert rig.queries.take("default", "c2") is not None
    with pytest.raises(UnknownOutcome):
        rig.queries.take("other", "c2")  # a name is its tenant's


def test_a_result_whose_time_is_over_is_let_go_of_though_nobody_comes(rig: Rig) -> None:
    opened(rig, "c", timeout_s=5.0)
    rig.clock.advance(5.1)
    assert rig.queries.status()["queries"]["open"] == 0 and rig.nothing_is_left()
    with pytest.raises(BudgetExceeded, match="its rows were taken") as caught:
        rig.queries.take("default", "c")
    assert caught.value.budget == "seconds"


def test_a_part_that_did_not_get_its_turn_may_be_asked_for_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(rig, "c")
    with monkeypatch.context() as patch:
        full = Admission(0, 0, 0)
        patch.setattr(rig.queries, "_admission", full)
        with pytest.raises(Overloaded):
            rig.queries.take("default", "c")
    rows = first.num_rows
    while (part := rig.queries.take("default", "c")) is not None:
        rows += part.num_rows
    assert rows == ROWS


def test_a_part_that_fails_ends_the_result_though_it_says_overloaded(rig: Rig) -> None:
    def refuse(worker: str, task: Task) -> None:
        raise Overloaded("busy", retry_after=0.1)

    parts = [opened(rig, "c")]
    rig.starting = refuse
    with pytest.raises(MalamuteError):
        while True:
            parts.append(rig.queries.take("default", "c"))
            assert parts[-1] is not None, "a result that failed looks complete"
    assert rig.nothing_is_left()


def test_two_who_take_the_same_part_are_told(rig: Rig) -> None:
    opened(rig, "c")
    with rig.queries._cursors.taking("default", "c"), pytest.raises(InvalidRequest, match="one after the other"):
        rig.queries.take("default", "c")
    assert rig.queries.take("default", "c") is not None


@pytest.mark.parametrize("sql", ["SELECT count(*) FROM logs WHERE nope(id)", "SELECT id + [1] FROM logs", "SELECT ("])
def test_a_query_that_cannot_be_planned_leaves_nothing(rig: Rig, sql: str) -> None:
    with pytest.raises(InvalidQuery):
        rig.ask(sql)
    assert rig.nothing_is_left()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM logs WHERE timestamp < '2001-01-01'",
        "SELECT l.id FROM logs l JOIN traces t ON l.id = t.id WHERE l.timestamp < '2001-01-01'",
        "SHOW STREAMS",
        "DESCRIBE logs",
        "DESCRIBE SELECT id FROM logs",
        "SELECT 1",
        f"EXPLAIN {COUNT}",
    ],
)
def test_pins_of_what_is_pruned_or_only_described_are_let_go_of(rig: Rig, sql: str) -> None:
    rig.ask(sql)
    rig.ask(sql)
    assert rig.nothing_is_left()


@pytest.mark.parametrize("at", ["describe", "task"])
def test_a_description_whose_samples_fail_leaves_nothing(rig: Rig, at: str) -> None:
    def fail(*_: Any) -> None:
        raise Unavailable("away")

    if at == "describe":
        rig.described = lambda times: fail() if times == 2 else None
    else:
        rig.starting = fail
    with pytest.raises(Unavailable):
        rig.ask("DESCRIBE logs")
    assert rig.nothing_is_left()


def test_parts_that_nobody_will_run_are_let_go_of(rig: Rig) -> None:
    plan, _, _ = rig.queries.parts(COUNT, None, "default", QueryOptions(query_id="q"))
    rig.queries.cancel("default", "q")  # as a client does with a plan that is not piecewise
    assert not plan.piecewise and rig.nothing_is_left()


def test_an_error_of_the_merge_leaves_nothing(rig: Rig) -> None:
    with pytest.raises(BudgetExceeded) as caught:
        rig.ask("SELECT id FROM logs", result_rows_max=1)
    assert caught.value.budget == "result_rows" and rig.nothing_is_left()


# --- cancel -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_query_that_is_cancelled_while_it_waits_for_its_turn_never_runs(shards: Shards, in_parts: bool) -> None:
    rig = Rig(shards)
    errors: list[Exception] = []
    with rig.queries._admission.slot("default", 0.0) as _:
        slots = [rig.queries._admission.slot("default", 0.0) for _ in range(3)]
        for slot in slots:
            slot.__enter__()

        def wait() -> None:
            try:
                if in_parts:
                    opened(rig, "c", query_id="q")
                else:
                    rig.ask(COUNT, query_id="q")
            except BudgetExceeded as error:
                errors.append(error)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        while not rig.queries.status()["queries"]["waiting"]:
            thread.join(0.001)
        assert rig.queries.cancel("default", "q") and not rig.queries.cancel("default", "other")
        for slot in slots:
            slot.__exit__(None, None, None)
        thread.join(FOREVER_S)
    (error,) = errors
    assert isinstance(error, BudgetExceeded) and error.budget == "cancelled"
    assert rig.describes == 0 and rig.nothing_is_left()


@pytest.mark.parametrize("at", ["describe", "task"])
def test_a_query_that_is_cancelled_while_it_runs_ends(rig: Rig, at: str) -> None:
    if at == "describe":
        rig.described = lambda times: _cancel(rig)
    else:
        rig.starting = lambda worker, task: _cancel(rig) if task.number == 2 else None
    with pytest.raises(BudgetExceeded) as caught:
        rig.ask("SELECT id, message FROM logs", query_id="q")
    assert caught.value.budget == "cancelled" and rig.nothing_is_left()
    assert not rig.queries.cancel("default", "q")


def _cancel(rig: Rig) -> None:
    assert rig.queries.cancel("default", "q")


def test_a_query_that_is_cancelled_right_before_its_merge_ends(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def merge(*arguments: Any, **more: Any) -> Any:
        _cancel(rig)
        return run_merge(*arguments, **more)

    monkeypatch.setattr("query.course.run_merge", merge)
    with pytest.raises(BudgetExceeded):
        rig.ask(COUNT, query_id="q")


@pytest.mark.parametrize("tenant", ["default", "other"])
def test_two_queries_of_one_name_do_not_take_each_others_pins(rig: Rig, tenant: str) -> None:
    def another(worker: str, task: Task) -> None:
        rig.starting = lambda worker, task: None
        assert rig.ask("SELECT count(id) AS c FROM logs", tenant, query_id="q").table.to_pylist() == [{"c": ROWS}]

    rig.starting = another
    assert rig.ask(COUNT, query_id="q").table.to_pylist() == [{"c": ROWS}]


# --- snapshots --------------------------------------------------------------------------------------------------------


def grow(rig: Rig, shard: int, events: int) -> None:
    """Flush nothing, but publish a new version with more events in the memtable."""
    held = rig.snapshots[shard]["logs"]
    batch = to_batch([(n, {"id": ("int", 10_000 + n)}) for n in range(events)], held.visible_offset)
    rig.snapshots[shard]["logs"] = replace(  # type: ignore[index]
        held,
        manifest_version=held.manifest_version + 1,
        visible_offset=held.visible_offset + events,
        memtable=(*held.memtable, batch),
    )


def test_a_query_whose_base_another_moved_on_counts_every_event_once(rig: Rig) -> None:
    assert rig.ask(COUNT).table.to_pylist() == [{"c": ROWS}]

    def another(times: int) -> None:
        if times == 2:
            for shard in range(SHARDS):
                grow(rig, shard, 2)
            assert rig.ask("SELECT count(*) AS n FROM logs").table.to_pylist() == [{"n": ROWS + 3 + 6}]

    for shard in range(SHARDS):
        grow(rig, shard, 1)
    rig.described = another
    answered = rig.ask(COUNT)
    assert answered.table.to_pylist() == [{"c": ROWS + 3 + 6}]
    assert answered.stats["snapshot"]["logs"] == {n: rig.snapshots[n]["logs"].visible_offset for n in range(SHARDS)}
    assert rig.nothing_is_left()


def test_a_snapshot_does_not_see_what_comes_after_it(rig: Rig) -> None:
    before = rig.ask("SELECT max(id) AS m FROM logs").table.to_pylist()
    grow(rig, 0, 3)
    assert rig.ask("SELECT max(id) AS m FROM logs").table.to_pylist() == [{"m": 10_002}] != before


# --- what is kept of answers ------------------------------------------------------------------------------------------


def cached(rig: Rig, sql: str, **options: Any) -> list[bool]:
    return [rig.ask(sql, **options).stats.get("result_cached", False) for _ in range(2)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT now() AS t, count(*) AS c FROM logs",
        "SELECT count(*) AS c FROM logs WHERE timestamp < current_timestamp",
        "SELECT count(*) AS c FROM logs WHERE timestamp::DATE <= today()",
        "SELECT random() AS r, id FROM logs",
        "SELECT id FROM logs ORDER BY random()",
        "SELECT uuid() AS u FROM logs",
        "SELECT * FROM (SELECT id, random() AS r FROM logs) WHERE r < 2",
        "SELECT count(*) AS c FROM logs USING SAMPLE 50%",
        "SELECT count(*) AS c FROM logs TABLESAMPLE 50%",
        "SHOW STREAMS",
        "DESCRIBE logs",
    ],
)
def test_answers_that_may_be_others_next_time_are_not_kept(rig: Rig, sql: str) -> None:
    assert cached(rig, sql) == [False, False]


@pytest.mark.parametrize("sql", [COUNT, "SELECT id FROM logs ORDER BY id LIMIT 3", "SELECT 1 AS one"])
def test_answers_that_are_always_the_same_are_kept(rig: Rig, sql: str) -> None:
    assert cached(rig, sql) == [False, True]
    assert cached(rig, sql, cache=False) == [False, False]


def test_another_tenant_parameter_or_dialect_is_another_question(rig: Rig) -> None:
    sql = "SELECT count(*) AS c FROM logs WHERE id < $1"
    for tenant, parameters in (
        ("default", [5]),
        ("default", [6]),
        ("default", [5.0]),
        ("other", [5]),
        ("default", ["5"]),
    ):
        assert not rig.ask(sql, tenant, parameters).stats["result_cached"]
    assert rig.ask(sql, "default", [5]).stats["result_cached"]
    assert not rig.ask(COUNT, dialect="postgres").stats["result_cached"]


def test_an_event_makes_it_another_answer(rig: Rig) -> None:
    assert cached(rig, COUNT) == [False, True]
    grow(rig, 1, 1)
    assert rig.ask(COUNT).table.to_pylist() == [{"c": ROWS + 1}]


def test_a_plan_is_not_used_for_a_stream_of_another_shape(rig: Rig) -> None:
    sql = "SELECT * FROM logs ORDER BY id DESC LIMIT 1"
    first = rig.ask(sql)
    held = rig.snapshots[2]["logs"]
    batch = to_batch([(0, {"id": ("int", 99_999), "fresh": ("str", "x"), "level": ("int", 3)})], held.visible_offset)
    rig.snapshots[2]["logs"] = replace(  # type: ignore[index]
        held, visible_offset=held.visible_offset + 1, memtable=(*held.memtable, batch)
    )
    second = rig.ask(sql)
    assert set(second.table.column_names) - set(first.table.column_names) == {"fresh"}
    (row,) = second.table.select(["id", "fresh", "level"]).to_pylist()
    assert row == {"id": 99_999, "fresh": "x", "level": "3"}
    assert rig.ask(sql, "other").table.to_pylist() == second.table.to_pylist()


# --- budgets ----------------------------------------------------------------------------------------------------------


def test_a_result_ended_by_scanned_bytes_is_partial_flagged_and_not_kept(shards: Shards) -> None:
    rig = Rig(shards, readers=2)
    sql = "SELECT count(*) AS c, max(message) AS m FROM logs"
    with pytest.raises(BudgetExceeded) as caught:
        rig.ask(sql, scanned_bytes_max=1)
    assert caught.value.budget == "scanned_bytes" and rig.nothing_is_left()
    partial = rig.ask(sql, scanned_bytes_max=1, on_budget=PARTIAL)
    assert partial.stats["partial"] and 0 < partial.stats["progress"] < 1 and "partial" in partial.warnings[-1]
    assert partial.table["c"][0].as_py() < ROWS and rig.nothing_is_left()
    whole = rig.ask(sql)
    assert whole.table["c"][0].as_py() == ROWS and not whole.stats["partial"] and not whole.stats["result_cached"]


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_result_ended_by_time_is_what_was_read_until_then(shards: Shards, done: int) -> None:
    rig = Rig(shards, readers=2)
    started = []

    def slow(worker: str, task: Task) -> None:
        started.append(task.number)
        if len(started) > done:
            rig.clock.advance(100.0)

    rig.starting = slow
    partial = rig.ask(COUNT, timeout_s=10.0, on_budget=PARTIAL)
    assert partial.stats["partial"] and partial.table["c"][0].as_py() <= ROWS and rig.nothing_is_left()
    started.clear()
    with pytest.raises(BudgetExceeded) as caught:
        rig.ask(COUNT, timeout_s=10.0)
    assert caught.value.budget == "seconds" and rig.nothing_is_left()


def test_time_that_is_over_before_a_task_runs_is_an_error(rig: Rig) -> None:
    with pytest.raises(BudgetExceeded) as caught:
        rig.described = lambda times: rig.clock.advance(2.0)
        rig.ask(COUNT, timeout_s=1.0)
    assert caught.value.budget == "seconds" and rig.nothing_is_left()
    for wrong in (0.0, -1.0, float("nan"), float("inf"), "5"):
        with pytest.raises(InvalidRequest, match="timeout_s"):
            QueryOptions(timeout_s=wrong)  # type: ignore[arg-type]


def test_a_cancelled_query_is_not_partial(rig: Rig) -> None:
    rig.starting = lambda worker, task: _cancel(rig)
    with pytest.raises(BudgetExceeded) as caught:
        rig.ask(COUNT, query_id="q", on_budget=PARTIAL)
    assert caught.value.budget == "cancelled"


@pytest.mark.parametrize("limit", [{"result_rows_max": 5}, {"result_bytes_max": 5}])
def test_rows_beyond_a_budget_are_refused(rig: Rig, limit: dict[str, int]) -> None:
    with pytest.raises(BudgetExceeded):
        rig.ask("SELECT id FROM logs", **limit)
    with pytest.raises(BudgetExceeded):
        list(rig.queries.pieces("SELECT id FROM logs ORDER BY id", None, "default", QueryOptions(**limit)))


@pytest.mark.parametrize("limit", [{"result_rows_max": 5}, {"result_bytes_max": 5}])
def test_a_kept_answer_beyond_a_budget_is_refused(rig: Rig, limit: dict[str, int]) -> None:
    rig.ask("SELECT id FROM logs")
    with pytest.raises(BudgetExceeded):
        rig.ask("SELECT id FROM logs", **limit)


def test_early_answers_may_end_in_a_partial_one(shards: Shards) -> None:
    rig = Rig(shards, readers=2)
    options = QueryOptions(scanned_bytes_max=1, on_budget=PARTIAL, cache=False)
    *_, last = rig.queries.updates("SELECT max(message) AS m FROM logs", None, "default", options)
    assert last.stats["partial"]


@pytest.mark.parametrize("method", ["updates", "pieces"])
def test_explain_in_pieces_is_still_explain(rig: Rig, method: str) -> None:
    found = list(getattr(rig.queries, method)(f"EXPLAIN {COUNT}", None, "default", QueryOptions()))
    table = found[-1].table if method == "updates" else found[-1]
    assert "step" in table.column_names


def test_rows_that_need_no_merge_are_passed_on_without_a_copy(shards: Shards) -> None:
    plan = shards.plan("SELECT service, id FROM logs WHERE id > 3")
    rows = pa.table({"c0": ["web", "db"], "c1": pa.array([4, 5], pa.int64())})
    merged = run_merge(plan, [LeafResult((rows,), LeafStats(), 0.0)], shards.executor)
    assert merged.column_names == ["service", "id"]
    given, got = (table.column(0).chunk(0).buffers()[2] for table in (rows, merged))
    assert got.address == given.address
    with pytest.raises(BudgetExceeded, match="sql_batches"):
        run_merge(plan, [LeafResult((rows,), LeafStats(), 0.0)], SimpleNamespace(memory_bytes=1))
