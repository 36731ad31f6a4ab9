"""The load test without Ray: schedule, numbers, placement of producers, and a proof that must find planted errors."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest

from core.append import Ack
from core.batch import check_batch
from core.errors import InvalidRequest
from core.placement import first_placement
from ingest.generate import generator
from ingest.paced import Acknowledged, Pace, PacedProducer, Stopwatch, marked
from ingest.sender import Sent
from malamute.load_series import LoadSeries, latency_summary, per_second
from malamute.load_verify import verify
from malamute.loadgen import LoadPlan, default_batch_rows, offsets_s, producer_plans

ROWS = 100


class FakeShard:
    """A sender in manual time: each batch takes `service_s` of it, and one batch in flight is waited for."""

    def __init__(self, service_s: list[float]) -> None:
        self.now_s = 1_000.0
        self.service_s = service_s
        self.watch = Stopwatch()
        self.sequences: list[int] = []
        self.in_flight: tuple[int, float] | None = None
        self.paced = PacedProducer(
            generator("logs", 1, 3), "run-1", self.watch, self.sleep, lambda: self.now_s, lambda: 1_700_000_000_000_000
        )

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def send(self, batch: pa.RecordBatch) -> None:
        self.drain()
        self.watch.submitted_s = self.now_s
        service_s = self.service_s[min(len(self.sequences), len(self.service_s) - 1)]
        self.sequences.append(batch.column("load.sequence")[0].as_py())
        self.in_flight = (batch.num_rows, self.now_s + service_s)

    def drain(self) -> None:
        if self.in_flight is None:
            return
        rows, answered_s = self.in_flight
        self.in_flight = None
        self.watch.answered_s = answered_s
        self.now_s = max(self.now_s, answered_s)
        self.paced.acknowledged(Sent(rows, Ack(0, 1, 0, rows - 1, "local", False), 0.0))


def _run(shard: FakeShard, rate_per_s: float, seconds: float) -> list[Acknowledged]:
    batches = shard.paced.run(shard, Pace(rate_per_s, ROWS, seconds), 0.5)
    entries = shard.paced.take()
    assert len(entries) == batches
    assert shard.paced.take() == []
    return entries


def test_batches_go_out_when_they_are_due() -> None:
    entries = _run(FakeShard([0.01]), 1_000, 2.0)
    assert len(entries) == 20
    assert [entry.due_s for entry in entries] == pytest.approx([n * 0.1 for n in range(20)])
    assert [entry.sent_s for entry in entries] == pytest.approx([entry.due_s for entry in entries])
    assert [entry.answered_s - entry.sent_s for entry in entries] == pytest.approx([0.01] * 20)


def test_a_stall_is_charged_to_the_batches_that_had_to_wait() -> None:
    shard = FakeShard([0.01, 0.01, 1.0, 0.01])
    entries = _run(shard, 1_000, 2.0)
    since_sent = [entry.answered_s - entry.sent_s for entry in entries]
    since_due = [entry.answered_s - entry.due_s for entry in entries]
    assert since_sent == pytest.approx([0.01, 0.01, 1.0] + [0.01] * 17)
    # The tenth batch was due 0.7 s after the stalled one was sent, and had to wait for it and those between.
    assert since_due[2] == pytest.approx(1.0)
    assert since_due[3] == pytest.approx(0.91)
    assert since_due[9] == pytest.approx(0.2 + 0.01 * 7 + 0.1, abs=0.01)
    assert since_due[-1] == pytest.approx(0.01)
    assert shard.sequences == [n * ROWS for n in range(20)]


def test_nothing_is_added_after_the_time_is_over() -> None:
    entries = _run(FakeShard([0.3]), 1_000, 2.0)
    # Given to the sender at 1.8 s, while the one before was on its way until 2.1 s.
    assert [entry.sent_s for entry in entries] == pytest.approx([0.3 * n for n in range(8)])
    assert [entry.due_s for entry in entries] == pytest.approx([0.1 * n for n in range(8)])


def test_without_a_rate_a_batch_is_due_when_it_is_sent() -> None:
    entries = _run(FakeShard([0.25]), 0, 0.9)
    assert [entry.sent_s for entry in entries] == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
    assert [entry.due_s for entry in entries] == [entry.sent_s for entry in entries]


def test_the_run_id_is_in_every_event() -> None:
    batch = marked(generator("logs", 1).batch(1_000, 1_700_000_000_000_000), "run-7")
    assert set(check_batch(batch).column("load.run").to_pylist()) == {"run-7"}


def test_every_shard_gets_the_same_number_of_producers() -> None:
    plan = LoadPlan(1_000, 1.0, producers=9, batch_rows=10, level="local")
    plans = producer_plans(plan, "run", first_placement(3))
    shards = [item.placement.shard_of("default", "load", item.producer_id) for item in plans]
    assert shards == [0, 1, 2] * 3
    assert len({item.producer_id for item in plans}) == 9
    assert {item.pace.rate_per_s for item in plans} == {1_000 / 9}


def test_producers_do_not_all_send_at_the_same_moment() -> None:
    assert offsets_s(LoadPlan(1_000, 1.0, producers=4, batch_rows=100, level="local")) == pytest.approx(
        [0, 0.1, 0.2, 0.3]
    )
    assert offsets_s(LoadPlan(0, 1.0, producers=2, batch_rows=100, level="local")) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("rate_per_s", "producers", "rows"), [(1_000_000, 2, 65_536), (10_000, 2, 1_000), (1, 2, 1), (0, 2, 65_536)]
)
def test_batch_size_follows_the_rate(rate_per_s: float, producers: int, rows: int) -> None:
    assert default_batch_rows(rate_per_s, producers) == rows


@pytest.mark.parametrize(
    "wrong",
    [{"rate_per_s": -1}, {"seconds": 0}, {"producers": 0}, {"batch_rows": 0}, {"batch_rows": 10**9}, {"level": "x"}],
)
def test_impossible_plans_are_refused(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"rate_per_s": 1, "seconds": 1, "producers": 1, "batch_rows": 1, "level": "local"}
    LoadPlan(**right)
    with pytest.raises(InvalidRequest):
        LoadPlan(**{**right, **wrong})


def test_series_adds_up() -> None:
    series = LoadSeries(2)
    series.add(0, [Acknowledged(10, 100, 0.0, 0.0, 0.5, False), Acknowledged(10, 100, 1.0, 1.2, 2.5, True)], 0.0)
    series.add(1, [Acknowledged(5, 50, 0.0, 0.0, 0.75, False)], 0.25)
    assert (series.total_events, series.events, series.duplicates, series.batches) == (25, [20, 5], 10, 3)
    assert series.wall_s == 2.5
    assert series.events_per_s == 10
    assert [second.events for second in series.seconds] == [10, 5, 10]
    assert series.recent(3.9, 2).events == 15
    assert sorted(series.since_due_s()) == [0.5, 0.75, 1.5]
    assert per_second(series)[2] == {
        "second": 2,
        "events": 10,
        "arrow_bytes": 100,
        "ack_ms_p50": 1300.0,
        "ack_ms_p99": 1300.0,
        "due_ms_p99": 1500.0,
    }


def test_percentiles_are_observed_values() -> None:
    summary = latency_summary([n / 1000 for n in range(1, 101)])
    assert (summary["p50"], summary["p99"], summary["max"]) == (51.0, 100.0, 100.0)
    assert latency_summary([])["p99"] == 0.0


class Table:
    """Stands in for a client: the queries of the proof over a DuckDB table."""

    def __init__(self, rows: list[tuple[str, int, int]]) -> None:
        self._connection = duckdb.connect()
        self._connection.execute('CREATE TABLE load ("load.run" TEXT, "load.producer" BIGINT, "load.sequence" BIGINT)')
        if rows:
            self._connection.executemany("INSERT INTO load VALUES (?, ?, ?)", rows)

    def sql(self, text: str, parameters: Any = None, *, timeout_s: float = 0.0) -> pa.Table:
        return self._connection.sql(text, params=parameters).to_arrow_table()


def _rows(run: str, *sequences: range) -> list[tuple[str, int, int]]:
    return [(run, producer, number) for producer, numbers in enumerate(sequences) for number in numbers]


def _exact(rows: list[tuple[str, int, int]], acknowledged: list[int]) -> bool:
    return all(item.exact for item in verify(Table(rows), "load", "a", acknowledged, lambda share: None))


def test_the_proof_accepts_what_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("malamute.load_verify.SLICE_EVENTS", 7)
    other_run = _rows("b", range(5), range(99))
    assert _exact(_rows("a", range(50), range(20)) + other_run, [50, 20])
    assert _exact(_rows("a", range(50)) + other_run, [50, 0])
    assert _exact([], [0, 0])


@pytest.mark.parametrize(
    ("rows", "acknowledged"),
    [
        (_rows("a", range(49), range(20)), [50, 20]),  # the last one is lost
        (_rows("a", range(1, 50)), [50]),  # the first one is lost
        (_rows("a", range(50)) + _rows("a", range(7, 8)), [50]),  # one is doubled
        # One lost, another doubled; two lost, another tripled: the count, the ends, at last even the sum are right.
        ([row for row in _rows("a", range(50)) if row[2] != 7] + [("a", 0, 9)], [50]),
        ([row for row in _rows("a", range(50)) if row[2] not in (7, 9)] + [("a", 0, 8)] * 2, [50]),
        (_rows("a", range(50), range(1)), [50]),  # a producer that acknowledged nothing has an event
        ([], [50]),
    ],
)
def test_the_proof_finds_planted_errors(
    rows: list[tuple[str, int, int]], acknowledged: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("malamute.load_verify.SLICE_EVENTS", 7)
    assert not _exact(rows, acknowledged)
