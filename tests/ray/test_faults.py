"""Shards, drivers and whole clusters that die: nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import malamute
from cluster.launch import stop
from malamute.connection import embedded_name
from tests.support.sockets import descendants

REPOSITORY = Path(__file__).resolve().parents[2]


def count(store: malamute.Client, stream: str) -> tuple[int, int]:
    row = store.sql(f"SELECT count(*) AS c, count(DISTINCT n) AS d FROM {stream}").to_pylist()[0]
    return row["c"], row["d"]


def pids(store: malamute.Client) -> list[int]:
    return [shard["pid"] for shard in store.status().shards]


def test_sigkill_of_shards_during_ingest_loses_and_doubles_nothing(store):
    rng = random.Random(27)
    done = threading.Event()
    failures: list[BaseException] = []
    acknowledged = 0

    def ingest() -> None:
        nonlocal acknowledged
        try:
            while not done.is_set():
                receipt = store.write("numbers", [{"n": n} for n in range(acknowledged, acknowledged + 500)])
                acknowledged += receipt.accepted
        except BaseException as error:
            failures.append(error)

    writer = threading.Thread(target=ingest)
    writer.start()
    kills = 0
    while kills < 4:
        time.sleep(rng.uniform(0.5, 1.5))
        serving = [shard for shard in store.status().shards if shard["state"] == "serving"]
        if not serving:  # none is back yet from the kill before
            continue
        os.kill(rng.choice(serving)["pid"], signal.SIGKILL)
        kills += 1
    time.sleep(1)
    done.set()
    writer.join()
    assert not failures, failures
    assert acknowledged > 2000
    assert count(store, "numbers") == (acknowledged, acknowledged)
    assert max(shard["epoch"] for shard in store.status().shards) > 1


def test_a_query_rides_through_the_death_of_a_shard_and_of_the_coordinator(store):
    store.write("numbers", [{"n": n} for n in range(1000)])
    os.kill(pids(store)[0], signal.SIGKILL)
    assert count(store, "numbers") == (1000, 1000)
    os.kill(store.status().to_dict()["coordinator"]["pid"], signal.SIGKILL)
    assert count(store, "numbers") == (1000, 1000)


def test_acknowledged_events_are_visible_to_every_query_that_starts_later(store):
    """T20 in small: a probe reads its own writes while shards are flushed under it."""
    missed = 0
    for number in range(40):
        store.write("probe", [{"n": number}])
        if number % 10 == 5:
            store.flush()
        missed += count(store, "probe") != (number + 1, number + 1)
    assert missed == 0


def test_close_and_connect_again_finds_everything(ray_session, storage):
    with malamute.connect(storage=storage) as store:
        store.write("numbers", [{"n": n} for n in range(100)])
    with malamute.connect(storage=storage) as store:
        assert count(store, "numbers") == (100, 100)
        assert all(shard["epoch"] == 2 and shard["replayed_rows"] == 0 for shard in store.status().shards)


def test_death_of_all_actors_at_once_loses_nothing(ray_session, storage):
    store = malamute.connect(storage=storage)
    store.write("numbers", [{"n": n} for n in range(100)])
    stop(embedded_name(storage), graceful=False)
    with malamute.connect(storage=storage) as again:
        assert count(again, "numbers") == (100, 100)


def test_two_stores_live_side_by_side_in_one_ray(ray_session, tmp_path):
    with malamute.connect(storage=tmp_path / "a") as a, malamute.connect(storage=tmp_path / "b") as b:
        a.write("numbers", [{"n": 1}])
        b.write("numbers", [{"n": 1}, {"n": 2}])
        assert count(a, "numbers") == (1, 1) and count(b, "numbers") == (2, 2)


def test_storage_in_use_is_refused_and_says_by_whom(store, storage):
    with pytest.raises(malamute.StorageInUse, match=r"locked by pid \d+"):
        malamute.connect(storage=storage, name="second")
    store.write("numbers", [{"n": 1}])
    assert count(store, "numbers") == (1, 1)


def test_another_number_of_shards_is_refused(ray_session, storage):
    malamute.connect(storage=storage).close()
    with pytest.raises(malamute.InvalidSettings, match="2 shards"):
        malamute.connect(storage=storage, shards=3)


def test_storage_of_a_newer_format_is_refused(ray_session, tmp_path):
    (tmp_path / "format.json").write_text(json.dumps({"malamute_format": 99, "shards": 2}))
    with pytest.raises(malamute.Corrupt, match="format 99"):
        malamute.connect(storage=tmp_path)


DRIVER = """
import os, sys, malamute
store = malamute.connect(storage=sys.argv[1])
written = 0
while True:
    receipt = store.write("numbers", [{"n": n} for n in range(written, written + 200)])
    written += receipt.accepted
    os.write(1, f"{written}\\n".encode())
"""


def test_kill_9_of_the_driver_and_its_whole_ray_loses_nothing(ray_session, storage, tmp_path):
    """The driver owns its Ray: it is killed with every process of it, as when the machine's container dies."""
    environment = {**os.environ, "RAY_TMPDIR": ray_session}
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, storage],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env=environment,
        start_new_session=True,
    )
    assert driver.stdout is not None
    written = 0
    while written < 2000:
        line = driver.stdout.readline()
        assert line, f"the driver ended by itself with {driver.wait()}"
        written = int(line)
    victims = descendants(driver.pid)
    assert len(victims) > 3
    for pid in [driver.pid, *victims]:
        with_suppressed_kill(pid)
    rest = driver.stdout.read().split()
    driver.stdout.close()
    driver.wait()
    acknowledged = int(rest[-1]) if rest else written
    with malamute.connect(storage=storage) as store:
        stored, distinct = count(store, "numbers")
        assert stored == distinct and acknowledged <= stored <= acknowledged + 200


def with_suppressed_kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
