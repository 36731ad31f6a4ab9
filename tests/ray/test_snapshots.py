"""Every query reads whole batches of one snapshot, while events come in, memtables are flushed and readers read."""

from __future__ import annotations

import random
import threading

import pytest

import malamute

BATCH_ROWS = 40
QUERIES = 60
QUESTIONS = (
    "SELECT coalesce(sum(v), 0) AS s, count(*) AS c FROM bank",
    "WITH keys AS (SELECT sum(v) AS s, count(*) AS c FROM bank GROUP BY k) SELECT sum(s) AS s, sum(c) AS c FROM keys",
    "SELECT coalesce(sum(v), 0) AS s, count(*) AS c FROM (SELECT v FROM bank WHERE k >= 0)",
    "SELECT coalesce(sum(a.v), 0) AS s, count(*) AS c FROM bank a SEMI JOIN bank b ON a.k = b.k",
)


@pytest.mark.parametrize("readers", [0, 2])
def test_t21_every_query_sees_whole_batches_of_one_snapshot(ray_session, tmp_path, readers: int):
    config = tmp_path / "ray_config.yaml"
    config.write_text(f"name: bank{readers}\nreaders:\n  count: {readers}\n  num_cpus: 0.1\n")
    done = threading.Event()
    failures: list[BaseException] = []
    with malamute.connect(storage=str(tmp_path / "data"), config=str(config)) as store:
        store.write("bank", transfers(random.Random(0)))

        def keep(work) -> None:
            try:
                while not done.is_set():
                    work()
            except BaseException as error:
                failures.append(error)

        rng = random.Random(21)
        threads = [
            threading.Thread(target=keep, args=(lambda: store.write("bank", transfers(rng)),)),
            threading.Thread(target=keep, args=(store.flush,)),
        ]
        for thread in threads:
            thread.start()
        counted = 0
        for number in range(QUERIES):
            (row,) = store.sql(QUESTIONS[number % len(QUESTIONS)], cache=number % 3 > 0).to_pylist()
            assert row["s"] == 0
            assert row["c"] % BATCH_ROWS == 0
            assert row["c"] >= counted, "an event that a query saw is not there any more"
            counted = row["c"]
        done.set()
        for thread in threads:
            thread.join()
        assert not failures, failures
        assert store.sql("SELECT sum(v) AS s FROM bank").scalar() == 0
        assert counted > BATCH_ROWS


def transfers(rng: random.Random) -> list[dict[str, int]]:
    """One batch of events whose amounts are 0 together."""
    amounts = [rng.randrange(-1000, 1000) for _ in range(BATCH_ROWS - 1)]
    return [{"k": rng.randrange(50), "v": amount} for amount in (*amounts, -sum(amounts))]
