"""Queries on real actors: readers, kept states, budgets, cancellation, pieces, pages and datasets."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import malamute
from core.errors import BudgetExceeded, InvalidRequest
from core.limits import TENANT_QUERIES_RUNNING_MAX
from tests.support.processes import pids

START_US = 1_767_000_000_000_000
ROWS = 2_000


def events(first: int, count: int) -> list[dict[str, object]]:
    return [
        {
            "timestamp": (START_US + n * 1_000_000) / 1e6,
            "service": ("web", "db", "api")[n % 3],
            "n": n,
            "message": f"request {n} took {n % 97} ms" + (" gizmo" if n % 500 == 7 else ""),
        }
        for n in range(first, first + count)
    ]


@pytest.fixture(scope="module", params=[0, 2], ids=["shards read", "readers read"])
def filled(request, ray_session, tmp_path_factory) -> Iterator[malamute.Client]:
    """Four flushes of `logs`, and a rest in the memtables."""
    directory = tmp_path_factory.mktemp("questions")
    config = directory / "ray_config.yaml"
    config.write_text(f"name: questions{request.param}\nreaders:\n  count: {request.param}\n  num_cpus: 0.1\n")
    client = malamute.connect(storage=str(directory / "data"), config=str(config))
    for part in range(4):
        client.write("logs", events(part * ROWS, ROWS))
        client.flush()
    client.write("logs", events(4 * ROWS, ROWS))
    yield client
    client.close()


def numbers(table: pa.Table, column: str = "n") -> list[int]:
    return sorted(table.column(column).to_pylist())


def test_every_event_is_counted_once_wherever_it_is_read(filled):
    found = filled.sql("SELECT service, count(*) AS c, sum(n) AS s FROM logs GROUP BY service ORDER BY service")
    expected = {name: [n for n in range(5 * ROWS) if n % 3 == k] for k, name in enumerate(("web", "db", "api"))}
    assert found.to_pylist() == [
        {"service": name, "c": len(expected[name]), "s": sum(expected[name])} for name in ("api", "db", "web")
    ]
    assert found.stats["segments_read"] + found.stats["segments_cached"] == found.stats["segments"] > 0


def test_a_second_look_takes_the_segments_from_kept_states(filled):
    text = "SELECT service, max(n) AS m FROM logs WHERE timestamp > now() - INTERVAL 100 YEAR GROUP BY service"
    first = filled.sql(text)
    filled.sql(text)  # who asks a second time may go on asking: from here on states are kept
    again = filled.sql(text)  # now() has moved on, so it is another question over the same segments
    assert again.to_pylist() == first.to_pylist() or numbers(again.to_arrow(), "m") == numbers(first.to_arrow(), "m")
    assert not again.stats["result_cached"]
    if filled.status().to_dict()["readers"]:
        assert again.stats["segments_cached"] == again.stats["segments"] > 0 and again.stats["bytes_read"] == 0
    else:  # one shard reads so few rows sooner than it looks for what is kept
        assert again.stats["segments_read"] == again.stats["segments"] > 0 and again.stats["plan"] == "whole"
    fresh = filled.sql(text, cache=False)
    assert fresh.stats["segments_cached"] == 0
    assert numbers(fresh.to_arrow(), "m") == numbers(first.to_arrow(), "m")


def test_the_same_question_over_the_same_snapshot_is_answered_from_memory_until_an_event_comes(filled):
    filled.write("few", [{"n": 1}])
    text = "SELECT sum(n) AS s FROM few"
    assert [filled.sql(text).stats["result_cached"] for _ in range(2)] == [False, True]
    filled.write("few", [{"n": 2}])
    changed = filled.sql(text)
    assert (changed.scalar(), changed.stats["result_cached"]) == (3, False)


def test_a_rare_word_is_found_without_reading_the_segments_that_lack_it(filled):
    filled.write("words", [{"message": f"common {n}", "n": n} for n in range(100)])
    filled.flush()
    filled.write("words", [{"message": "a unicorn passed", "n": 100}])
    filled.flush()
    found = filled.sql("SELECT n FROM words WHERE matches('unicorn')")
    assert found.to_pylist() == [{"n": 100}]
    assert found.stats["segments_pruned"] > 0
    assert filled.sql("SELECT count(*) FROM logs WHERE matches('gizmo')").scalar() == 5 * ROWS // 500


def test_early_answers_grow_into_the_whole_one(filled):
    text = "SELECT count(*) AS c FROM logs"
    updates = list(filled.sql(text, progressive=True))
    assert [update.stats["partial"] for update in updates] == [True] * (len(updates) - 1) + [False]
    assert updates[-1].scalar() == 5 * ROWS and updates[-1].stats["progress"] == 1.0


def test_rows_in_pieces_are_all_rows_once(filled):
    batches = list(filled.sql_batches("SELECT n, message FROM logs WHERE n % 2 = 0"))
    assert all(isinstance(batch, pa.RecordBatch) for batch in batches) and len(batches) > 2
    assert numbers(pa.Table.from_batches(batches)) == list(range(0, 5 * ROWS, 2))
    ordered = pa.Table.from_batches(list(filled.sql_batches("SELECT n FROM logs ORDER BY n DESC")))
    assert ordered.column("n").to_pylist() == list(range(5 * ROWS - 1, -1, -1))
    empty = list(filled.sql_batches("SELECT n FROM logs WHERE n < 0"))
    assert empty[0].schema.names == ["n"] and sum(batch.num_rows for batch in empty) == 0


def test_pages_of_a_search_hold_still_while_events_come_in(filled):
    filled.write("pages", events(0, 250))
    filled.flush()
    seen: list[int] = []
    cursor, pages = None, 0
    while True:
        page = filled.search("service:(web OR db)", stream="pages", limit=40, cursor=cursor)
        seen += page.to_arrow().column("n").to_pylist()
        pages += 1
        assert not {"_shard", "_offset"} & set(page.columns)
        filled.write("pages", events(125, 60))  # also older than what is still to come
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [n for n in range(249, -1, -1) if n % 3 != 2]
    assert pages == len(seen) // 40 + 1
    oldest = filled.search("*", stream="pages", order="oldest", limit=3)
    assert oldest.to_arrow().column("n").to_pylist() == [0, 1, 2]
    with pytest.raises(InvalidRequest, match="another search"):
        filled.search("other", stream="pages", cursor=oldest.cursor)
    with pytest.raises(InvalidRequest, match="damaged"):
        filled.search("*", stream="pages", cursor="%%%")
    with pytest.raises(InvalidRequest, match="needs the name of a stream"):
        filled.search("gizmo")


def test_budgets_name_themselves_and_may_end_in_a_partial_result(filled):
    text = "SELECT max(message) AS m FROM logs"
    with pytest.raises(BudgetExceeded) as caught:
        filled.sql(text, cache=False, scanned_bytes_max=1)
    assert caught.value.budget == "scanned_bytes"
    partial = filled.sql(text, cache=False, scanned_bytes_max=1, on_budget="partial")
    assert partial.stats["partial"] and "partial" in partial.warnings[-1]
    for option, budget in (("result_rows_max", "result_rows"), ("result_bytes_max", "result_bytes")):
        with pytest.raises(BudgetExceeded) as caught:
            filled.sql("SELECT * FROM logs", **{option: 10})
        assert caught.value.budget == budget
    with pytest.raises(InvalidRequest, match="on_budget"):
        filled.sql(text, on_budget="maybe")


SLOW = "SELECT count(*) FROM logs WHERE " + " OR ".join(
    f"regexp_matches(repeat(message, 2000), '{letter}z$')" for letter in "abcdefghij"
)


def running(store: malamute.Client) -> int:
    numbers = store.status().to_dict()
    return sum(worker["caches"]["running"] for worker in (*numbers["shards"], *numbers["readers"]))


def test_a_cancelled_query_stops_on_every_worker(filled):
    outcome: list[BaseException] = []

    def ask() -> None:
        try:
            filled.sql(SLOW, query_id="slow-one", cache=False)
        except BudgetExceeded as error:
            outcome.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while not running(filled):
        assert asking.is_alive()
        time.sleep(0.01)
    assert filled.cancel("slow-one")
    asking.join(30)
    assert [error.budget for error in outcome] == ["cancelled"]
    deadline = time.monotonic() + 30
    while running(filled) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running(filled) == 0
    assert not filled.cancel("slow-one")


def test_leaving_the_pieces_early_stops_the_query(filled):
    batches = filled.sql_batches("SELECT n FROM logs")
    assert next(batches).num_rows >= 0
    batches.close()
    assert filled.sql("SELECT count(*) FROM logs").scalar() == 5 * ROWS


def test_takers_who_stop_taking_keep_nobody_of_their_tenant_waiting(filled):
    takers = [filled.sql_batches("SELECT n FROM logs") for _ in range(TENANT_QUERIES_RUNNING_MAX + 2)]
    first = [next(taker) for taker in takers]
    assert filled.status().to_dict()["coordinator"]["queries"]["open"] == len(takers)
    assert filled.sql("SELECT count(*) AS c FROM logs", cache=False, timeout_s=20).scalar() == 5 * ROWS
    for taker, batch in zip(takers, first, strict=True):
        assert numbers(pa.Table.from_batches([batch, *taker])) == list(range(5 * ROWS))
    assert filled.status().to_dict()["coordinator"]["queries"] == {"running": 0, "waiting": 0, "open": 0}


def test_rows_that_nobody_takes_in_time_are_an_error_that_says_so(filled):
    taker = filled.sql_batches("SELECT n FROM logs", timeout_s=2)
    next(taker)
    deadline = time.monotonic() + 30
    while filled.status().to_dict()["coordinator"]["queries"]["open"] and time.monotonic() < deadline:
        time.sleep(0.1)
    with pytest.raises(BudgetExceeded, match="before its rows were taken") as caught:
        list(taker)
    assert caught.value.budget == "seconds"


def test_a_dataset_holds_the_rows(filled):
    pytest.importorskip("ray.data")
    rows = filled.dataset("SELECT n, service FROM logs WHERE n < 5000").to_pandas()
    assert sorted(rows["n"]) == list(range(5000))
    merged = filled.dataset("SELECT service, count(*) AS c FROM logs GROUP BY service").to_pandas()
    assert sorted(merged["service"]) == ["api", "db", "web"]


def test_queries_go_on_when_a_reader_dies(filled):
    readers = pids(lambda: filled.status().readers)
    if not readers:
        pytest.skip("this deployment has no readers")
    os.kill(readers[0], signal.SIGKILL)
    for _ in range(5):
        assert filled.sql("SELECT count(*) FROM logs", cache=False).scalar() == 5 * ROWS


def test_what_is_kept_on_disk_is_not_taken_for_another_store(ray_session, tmp_path: Path):
    for value in (1, 2):
        directory = tmp_path / "again"
        with malamute.connect(storage=str(directory)) as client:
            client.write("logs", [{"n": value}])
            client.flush()
            assert client.sql("SELECT sum(n) AS s FROM logs WHERE n < 9 + 0 * length(now()::VARCHAR)").scalar() == value
            assert client.sql("SELECT sum(n) AS s FROM logs").scalar() == value
        shutil.rmtree(directory)


def test_describe_shows_kinds_shares_and_values(filled):
    filled.write("described", [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}, {"a": "two"}])
    filled.flush()
    filled.write("described", [{"a": 3}])
    rows = {row["column_name"]: row for row in filled.sql("DESCRIBE described").to_pylist()}
    assert (rows["a"]["values"], rows["a"]["share"], rows["b"]["share"]) == (4, 1.0, 0.5)
    assert sorted(rows["a"]["samples"]) == ["1", "2", "3"] or "two" in rows["a"]["samples"]
    assert rows["b"]["samples"] == ["x"]


def test_explain_analyze_shows_what_was_pruned_and_what_each_part_cost(filled):
    plan = filled.sql("EXPLAIN SELECT n FROM logs WHERE timestamp < '2020-01-01'").to_pylist()
    steps = {row["step"] for row in plan}
    assert steps >= {"plan", "leaf", "prune"} and steps & {"merge", "query"}  # a query where one task is all there is
    assert any("by time" in row["detail"] for row in plan if row["step"] == "prune")
    text = "EXPLAIN ANALYZE SELECT service, count(*) FROM logs WHERE matches('gizmo') GROUP BY 1"
    done = filled.sql(text).to_pylist()
    tasks = [row for row in done if row["step"] == "task"]
    assert all(row["milliseconds"] > 0 and row["bytes"] >= 0 for row in tasks) and tasks
    assert done[-1]["step"] == "result" and done[-1]["rows"] == 3


def test_aggregates_are_series_top_lists_and_tables(filled):
    top = filled.aggregate("logs", group_by=["service"], measures={"n": "count", "most": ("max", "n")}, top=2)
    assert [row["n"] for row in top.to_pylist()] == sorted((row["n"] for row in top.to_pylist()), reverse=True)
    assert len(top) == 2
    series = filled.aggregate("logs", search="service:web", interval="auto")
    assert 50 <= len(series) <= 130
    assert sum(series.to_arrow().column("count").to_pylist()) == len([n for n in range(5 * ROWS) if n % 3 == 0])
    with pytest.raises(InvalidRequest, match="no measure"):
        filled.aggregate("logs", order_by="nope")
