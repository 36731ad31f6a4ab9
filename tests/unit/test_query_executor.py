"""The engine's budgets: spilling within a directory, refusal without one, time and cancellation."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from core.errors import BudgetExceeded, InvalidQuery, MalamuteError, Unavailable
from core.limits import GATHER_BYTES_MAX, MIB
from query.executor import Executor, Session
from query.merge import run_merge
from query.worker import Worker
from tests.support.local_backend import NamedFiles
from tests.unit.test_query_shards import build_shards

ROWS = 3_000_000
HUNGRY = "SELECT sum(b * rn) AS s FROM (SELECT b, row_number() OVER (ORDER BY a) AS rn FROM x)"


def table() -> pa.Table:
    return pa.table({"a": np.random.default_rng(1).random(ROWS), "b": np.arange(ROWS)})


def test_a_query_beyond_its_memory_spills_and_is_right(tmp_path):
    executor = Executor(threads=1, memory_bytes=64 * MIB, temp_directory=str(tmp_path))
    with executor.session() as session:
        session.register("x", table())
        spilled = session.table(HUNGRY).to_pylist()
    plain = Executor(threads=1)
    with plain.session() as session:
        session.register("x", table())
        assert session.table(HUNGRY).to_pylist() == spilled


def test_without_a_directory_it_fails_with_the_name_of_the_budget():
    executor = Executor(threads=1, memory_bytes=64 * MIB)
    with executor.session() as session:
        session.register("x", table())
        with pytest.raises(BudgetExceeded) as refused:
            session.table(HUNGRY)
    assert refused.value.budget == "memory"


ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE hash(a.range + b.range) = 1"


def test_a_query_beyond_its_time_is_stopped():
    executor = Executor(threads=1)
    with executor.session(seconds=0.2) as session, pytest.raises(BudgetExceeded) as refused:
        session.table(ENDLESS)
    assert refused.value.budget == "seconds"


@pytest.mark.parametrize("delay_s", [0.0, 0.0, 0.001, 0.003, 0.01, 0.1])
def test_a_query_can_be_cancelled_at_any_moment_from_another_thread(delay_s):
    executor = Executor(threads=1)
    outcome: list[MalamuteError] = []

    def run() -> None:
        with executor.session(query_id="q") as session:
            try:
                session.table(ENDLESS)
            except MalamuteError as error:
                outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(delay_s)
    while not executor.cancel("q"):
        time.sleep(0.0005)
    thread.join(timeout=30)
    assert not thread.is_alive() and isinstance(outcome[0], BudgetExceeded)


def test_what_is_gathered_has_a_budget_at_the_leaf_and_at_the_coordinator(tmp_path):
    shards = build_shards(tmp_path, rows=300)
    planned = shards.plan("SELECT a.id FROM logs a JOIN logs b USING (id)")
    assert planned.leaf.bytes_max == GATHER_BYTES_MAX
    worker = Worker(shards.executor, NamedFiles())
    results = [worker.run_leaf(planned.leaf, held) for held in shards.snapshots]
    sent = [sum(table.nbytes for table in result.tables) for result in results]

    at_leaf = replace(planned.leaf, bytes_max=sent[0] // 2)
    with pytest.raises(BudgetExceeded, match=f"more than {sent[0] // 2} bytes.*select fewer columns") as refused:
        worker.run_leaf(at_leaf, shards.snapshots[0])
    assert refused.value.budget == "gather_bytes"

    all_of_it = replace(planned, leaf=replace(planned.leaf, bytes_max=sum(sent)))
    assert run_merge(all_of_it, results, shards.executor).num_rows == 300
    with pytest.raises(BudgetExceeded) as refused:
        run_merge(replace(planned, leaf=replace(planned.leaf, bytes_max=sum(sent) - 1)), results, shards.executor)
    assert refused.value.budget == "gather_bytes"


def test_states_and_rows_have_the_same_budget(tmp_path):
    shards = build_shards(tmp_path, rows=300)
    worker = Worker(shards.executor, NamedFiles())
    for query in ("SELECT id, count(*) FROM logs GROUP BY id", "SELECT * FROM logs LIMIT 50"):
        planned = shards.plan(query)
        assert planned.leaf.bytes_max == GATHER_BYTES_MAX
        with pytest.raises(BudgetExceeded) as refused:
            results = [worker.run_leaf(replace(planned.leaf, bytes_max=400), held) for held in shards.snapshots]
            run_merge(replace(planned, leaf=replace(planned.leaf, bytes_max=400)), results, shards.executor)
        assert refused.value.budget == "gather_bytes"


@pytest.mark.parametrize(
    "item", ["(range // 1_000_000 * 300)::TINYINT", "CASE WHEN range > 1_000_000 THEN error('no') END"]
)
def test_a_mistake_that_only_a_late_row_shows_is_the_query_s(item):
    executor = Executor(threads=1)
    with executor.session() as session, pytest.raises(InvalidQuery):
        session.bounded_table(f"SELECT {item} AS x FROM range(2_000_000)", GATHER_BYTES_MAX)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("Conversion Error: Type INT64 with value 300 is out of range", InvalidQuery),
        ("Out of Memory Error: could not allocate block", BudgetExceeded),
        ("IO Error: cannot open file", Unavailable),
        ("INTERNAL Error: assertion failed", Unavailable),
        ("cannot read", Unavailable),
    ],
)
def test_what_arrow_tells_of_the_engine_means_what_the_engine_says(message, error):
    broken: list[bool] = []
    session = Session(None, lambda: broken.append(True))
    with pytest.raises(error), session._mapped_errors():
        raise OSError(message)
    assert bool(broken) == message.startswith("INTERNAL")
