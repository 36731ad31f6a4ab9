"""Deletes and retention over real actors: hidden at once under load, rewritten, proven, also with named snapshots."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

import malamute
from malamute.deletion import Deletion
from tests.support.processes import pids

DAY_US = 86_400_000_000
COUNT = "SELECT count(*) AS n FROM logs WHERE usr.id = 4 AND v < 2000"


def events(first: int, count: int) -> list[dict[str, object]]:
    return [{"v": v, "usr": {"id": v % 10}, "message": f"event {v}"} for v in range(first, first + count)]


def only(rows: object) -> int:
    (row,) = rows.to_pylist()  # type: ignore[attr-defined]
    return int(row["n"])


def test_no_query_that_starts_after_delete_returned_shows_a_deleted_event(ray_session, storage):
    """Two writers, flushes and readers go on while events are deleted, and a shard is killed on the way."""
    with malamute.connect(storage=storage, shards=2) as store:
        for first in range(0, 2_000, 500):
            store.write("logs", events(first, 500))
            store.flush()
        store.snapshot("before")
        stop = threading.Event()
        deleted = threading.Event()
        seen: list[int] = []
        written: list[int] = []
        failures: list[BaseException] = []

        def write() -> None:
            while not stop.is_set():
                store.write("logs", events(10_000 + 100 * len(written), 100))
                written.append(100)

        def read() -> None:
            while not stop.is_set():
                after = deleted.is_set()
                at = "before" if len(seen) % 3 == 0 else None
                found = only(store.sql(COUNT, at=at, cache=len(seen) % 2 == 0))
                if after:
                    seen.append(found)
                elif found not in (0, 200):
                    raise AssertionError(f"{found} of 200 events were there")

        def guarded(body: object) -> None:
            try:
                body()  # type: ignore[operator]
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=guarded, args=[body]) for body in (write, read, read)]
        for thread in threads:
            thread.start()
        begun = store.delete("logs", where="usr.id = 4")
        deleted.set()
        os.kill(pids(lambda: store.status().shards)[0], signal.SIGKILL)
        done = ended(store, begun.id)
        store.flush()
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(seen) > 3 and set(seen) == {0}
        assert (done.state, done.held_by, done.remaining) == ("held", ("before",), 0)
        assert done.rows_removed == done.matched >= 200 and done.segments_rewritten >= 4
        assert only(store.sql("SELECT count(*) AS n FROM logs", at="before")) == 1_800
        later = only(store.sql("SELECT count(*) AS n FROM logs WHERE usr.id = 4"))
        assert later == sum(written) // 10 - (done.matched - 200)
        store.drop_snapshot("before")


def ended(store: malamute.Client, number: int) -> Deletion:
    """The delete when nothing but named snapshots may hold it up."""
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s:
        (found,) = [one for one in store.deletes() if one.id == number]
        if found.state == "done" or found.held_by:
            return found
        time.sleep(0.1)
    raise AssertionError(f"the delete did not end: {found}")


def test_a_delete_goes_on_after_a_restart_and_ends_with_a_proof(ray_session, storage):
    with malamute.connect(storage=storage) as store:
        store.write("logs", events(0, 100))
        begun = store.delete("logs", where="usr.id IN (1, 2)")
        assert only(store.sql("SELECT count(*) AS n FROM logs")) == 80
    with malamute.connect(storage=storage) as store:
        assert only(store.sql("SELECT count(*) AS n FROM logs")) == 80
        done = ended(store, begun.id)
        assert (done.state, done.rows_removed, done.segments_rewritten, done.remaining) == ("done", 20, 1, 0)
        assert done.files_gone_at is not None and done.files_gone_at > done.done_at
        (path,) = store.files("logs").paths
        assert store.sql("SELECT count(*) AS n FROM logs", cache=False).to_pylist() == [{"n": 80}]
        assert os.path.exists(path) and store.files("logs").rows == 80
        with pytest.raises(malamute.InvalidQuery, match="a subquery is not allowed") as refused:
            store.delete("logs", where="v = 1 OR v = (SELECT 2)")
        assert refused.value.line == 1


def test_retention_hides_at_once_and_removes_whole_segments(ray_session, storage):
    now = datetime.now(UTC)
    with malamute.connect(storage=storage) as store:
        for days in (1, 40):
            timed = [{"timestamp": (now - timedelta(days=days)).isoformat(), "v": v} for v in range(50)]
            store.write("logs", timed)
            store.write("audit", timed)
        store.flush()
        store.set_retention("audit")
        store.set_retention(None, age="30d")
        assert only(store.sql("SELECT count(*) AS n FROM logs")) == 50
        assert only(store.sql("SELECT count(*) AS n FROM audit")) == 100
        deadline_s = time.monotonic() + 60
        while store.files("logs").rows > 50:
            assert time.monotonic() < deadline_s, store.status().to_dict()["coordinator"]["retention"]
            time.sleep(0.1)
        assert store.files("audit").rows == 100
        assert {name: kept.age_us for name, kept in store.retention().items()} == {None: 30 * DAY_US, "audit": None}
