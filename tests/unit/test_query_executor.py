"""The engine's budgets: spilling within a directory, refusal without one, time and cancellation."""

from __future__ import annotations

import threading
import time

import numpy as np
import pyarrow as pa
import pytest

from core.errors import BudgetExceeded, MalamuteError
from core.limits import MIB
from query.executor import Executor

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
