"""Leaves on one worker: in turn between tenants, no slot lost, stopped when their query is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import pytest

from core.errors import BudgetExceeded, InvalidQuery, Unavailable
from core.limits import LEAVES_RUNNING_MAX, TENANT_LEAVES_RUNNING_MAX
from query.fragment import Leaf, LeafResult, StreamScan
from query.worker import Worker
from storage.snapshot import Segment
from tests.support.local_backend import NamedFiles
from tests.unit.test_query_shards import Shards, build_shards

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

FOREVER_S = 30.0
FREE = {"running": 0, "waiting": 0}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    built = build_shards(tmp_path_factory.mktemp("worker"), rows=30)
    yield built
    built.executor.close()


@pytest.fixture
def worker(shards: Shards) -> Worker:
    return Worker(shards.executor, NamedFiles())


def count(shards: Shards, worker: Worker, tenant: str = "default", query_id: str = "q") -> LeafResult:
    leaf = shards.plan("SELECT count(*) FROM logs").leaf
    return worker.run_leaf(leaf, {"logs": replace(shards.snapshots[0]["logs"], tenant=tenant)}, query_id=query_id)


@contextmanager
def busy(worker: Worker, tenant: str) -> Iterator[ExitStack]:
    """Leaves of `tenant` on all slots that it may have; closing the stack ends them."""
    with ExitStack() as slots:
        for _ in range(TENANT_LEAVES_RUNNING_MAX):
            slots.enter_context(worker._turns.slot(tenant, 0.0))
        yield slots


def test_a_flood_of_one_tenant_leaves_room_for_another(shards: Shards, worker: Worker) -> None:
    assert TENANT_LEAVES_RUNNING_MAX < LEAVES_RUNNING_MAX
    with busy(worker, "flood"):
        assert count(shards, worker, "other").tables[0].num_rows > 0
    assert worker._turns.status() == FREE


@pytest.mark.parametrize("error", [Unavailable("away"), InvalidQuery("no"), KeyError("a mistake")])
def test_a_leaf_that_fails_gives_its_slot_and_session_back(shards: Shards, error: Exception) -> None:
    class Away:
        def path(self, segment: Segment) -> str:
            raise error

    worker = Worker(shards.executor, Away())
    for _ in range(2 * LEAVES_RUNNING_MAX):
        with pytest.raises(type(error)):
            count(shards, worker)
    assert worker._turns.status() == FREE and shards.executor.running == 0


def test_segments_are_opened_at_once_and_read_as_if_one_by_one(shards: Shards, worker: Worker) -> None:
    snapshot = shards.snapshots[0]["logs"]
    segments = len(snapshot.segments)
    assert segments > 1
    together = threading.Barrier(segments)

    class Slow(NamedFiles):
        def path(self, segment: Segment) -> str:
            together.wait(FOREVER_S)  # passes when all of them are being opened
            return super().path(segment)

    leaf = shards.plan("SELECT * FROM logs").leaf
    with ThreadPoolExecutor(segments) as openers:
        opened = Worker(shards.executor, Slow(), openers=openers).run_leaf(leaf, {"logs": snapshot})
    one_by_one = worker.run_leaf(leaf, {"logs": snapshot})
    rows, expected = (sorted(map(repr, result.tables[0].to_pylist())) for result in (opened, one_by_one))
    assert rows == expected and len(rows) > 0
    assert opened.stats == one_by_one.stats


def test_a_segment_that_cannot_be_opened_fails_the_leaf(shards: Shards) -> None:
    class Gone(NamedFiles):
        def path(self, segment: Segment) -> str:
            if segment == shards.snapshots[0]["logs"].segments[-1]:
                raise Unavailable("gone")
            return super().path(segment)

    with ThreadPoolExecutor(2) as openers, pytest.raises(Unavailable, match="gone"):
        count(shards, Worker(shards.executor, Gone(), openers=openers))


def test_a_leaf_beyond_its_bytes_is_refused_and_leaves_nothing(shards: Shards, worker: Worker) -> None:
    scan: StreamScan = shards.plan("SELECT id FROM logs").leaf.scans[0]
    with pytest.raises(BudgetExceeded) as caught:
        worker.run_leaf(Leaf((scan,), bytes_max=1), {"logs": shards.snapshots[0]["logs"]})
    assert caught.value.budget == "gather_bytes" and worker._turns.status() == FREE


def test_a_leaf_that_is_cancelled_while_it_waits_for_its_turn_never_runs(shards: Shards, worker: Worker) -> None:
    results: list[LeafResult] = []

    def wait() -> None:
        with suppress(BudgetExceeded):
            results.append(count(shards, worker))

    with busy(worker, "default") as slots:
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        while not worker._turns.status()["waiting"]:
            thread.join(0.001)
        worker.cancel("q")
        slots.close()
        thread.join(FOREVER_S)
    assert not results


def test_the_same_stream_under_two_names_with_two_time_ranges(shards: Shards) -> None:
    early = "a.timestamp >= '2026-01-01 00:00:00' AND a.timestamp < '2026-01-01 00:01:00'"
    late = "b.timestamp >= '2026-01-01 00:02:00' AND b.timestamp < '2026-01-01 00:02:40'"
    rows = shards.query(f"SELECT a.id AS x, b.id AS y FROM logs a, logs b WHERE {early} AND {late}").to_pylist()
    first = {n for n in range(30) if n * 7 < 60}
    second = {n for n in range(30) if 120 <= n * 7 < 160}
    assert sorted((row["x"], row["y"]) for row in rows) == sorted((x, y) for x in first for y in second)
