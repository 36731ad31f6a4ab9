"""Named snapshots and instants of the past, over real actors: the same answers whatever is written afterwards."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

import malamute
from core.limits import COMPACTION_INPUTS_MAX

FLUSHES = COMPACTION_INPUTS_MAX + 1  # as many segments of one size are merged
COUNT = "SELECT service, count(*) AS n, sum(v) AS s FROM logs GROUP BY service ORDER BY service"


def events(first: int, count: int) -> list[dict[str, object]]:
    return [{"v": v, "service": f"s{v % 3}", "message": f"event {v}"} for v in range(first, first + count)]


def test_a_snapshot_answers_the_same_after_writes_flushes_and_a_restart(ray_session, storage):
    with malamute.connect(storage=storage) as store:
        store.write("logs", events(0, 300))
        taken = store.snapshot("before-deploy", ttl="7d")
        assert (taken.name, taken.events) == ("before-deploy", 300)
        assert taken.expires_at - taken.created_at == timedelta(days=7)
        expected = store.sql(COUNT).to_pylist()
        for first in range(300, 900, 200):
            store.write("logs", events(first, 200))
            store.flush()
            assert store.sql(COUNT, at="before-deploy").to_pylist() == expected
        store.write("other", [{"a": 1}])
        assert [row[0] for row in store.sql("SHOW STREAMS", at="before-deploy")] == ["logs"]
    with malamute.connect(storage=storage) as store:
        assert store.sql(COUNT, at="before-deploy", cache=False).to_pylist() == expected
        assert [found.name for found in store.snapshots()] == ["before-deploy"]
        page = store.search("event", stream="logs", limit=200, at="before-deploy")
        rest = store.search("event", stream="logs", limit=200, at="before-deploy", cursor=page.cursor)
        assert (len(page), len(rest)) == (200, 100)
        with pytest.raises(malamute.InvalidRequest, match="repeat stream, query, order and at"):
            store.search("event", stream="logs", limit=200, cursor=page.cursor)
        assert store.aggregate("logs", at="before-deploy").to_pylist() == [{"count": 300}]
        assert sum(batch.num_rows for batch in store.sql_batches("SELECT v FROM logs", at="before-deploy")) == 300
        with pytest.raises(malamute.NotFound, match="other"):
            store.sql("SELECT * FROM other", at="before-deploy")
        store.drop_snapshot("before-deploy")
        with pytest.raises(malamute.NotFound, match="there are none"):
            store.sql(COUNT, at="before-deploy")


def test_a_snapshot_answers_the_same_after_merges_and_changes_of_the_shards(ray_session, storage):
    with malamute.connect(storage=storage, shards=1) as store:
        for number in range(FLUSHES):
            store.write("logs", events(10 * number, 10))
            store.flush()
        store.snapshot("before")
        expected = store.sql(COUNT).to_pylist()
        store.write("logs", events(1_000_000, 500))
        deadline_s = time.monotonic() + 60
        while store.status().to_dict()["shards"][0]["segments"] >= FLUSHES:
            assert time.monotonic() < deadline_s, "nothing was merged"
            time.sleep(0.2)
        assert store.sql(COUNT, at="before").to_pylist() == expected
        for shards in (3, 2):
            store.scale(shards)
            assert store.sql(COUNT, at="before", cache=False).to_pylist() == expected
        assert store.snapshot("after").events == 10 * FLUSHES + 500
        store.scale(1)
        assert store.sql("SELECT count(*) FROM logs", at="after").scalar() == 10 * FLUSHES + 500


def test_an_instant_leaves_out_what_was_stored_later(shared_store):
    store = shared_store
    store.write("logs", events(0, 100))
    store.flush()
    store.write("logs", events(100, 100))
    between = datetime.now(UTC)
    store.write("logs", events(200, 100))
    plain = "SELECT count(*) AS n, sum(v) AS s FROM logs"
    questions = {
        plain: [{"n": 200, "s": sum(range(200))}],
        "SELECT v FROM logs ORDER BY v DESC LIMIT 2": [{"v": 199}, {"v": 198}],
        "SELECT count(*) AS n FROM logs a JOIN logs b ON a.v = b.v": [{"n": 200}],
        "SELECT count(*) AS n FROM logs WHERE _ingested_at IS NOT NULL AND v >= 150": [{"n": 50}],
    }
    for moment in (between, between.isoformat()):
        for text, rows in questions.items():
            assert store.sql(text, at=moment).to_pylist() == rows
            assert store.sql(text, at=moment).to_pylist() == rows, "from the cache"
    assert store.sql(plain).to_pylist() == [{"n": 300, "s": sum(range(300))}]
    assert store.sql(plain, at="2020-01-01").to_pylist() == [{"n": 0, "s": None}]
    store.flush()
    assert store.sql(plain, at=between).to_pylist() == questions[plain]
    with pytest.raises(malamute.InvalidQuery, match="not of an instant"):
        store.sql("SHOW STREAMS", at=between)


def test_mistakes_with_snapshots_say_what_to_do(shared_store):
    store = shared_store
    store.write("logs", events(0, 10))
    store.snapshot("nightly")
    with pytest.raises(malamute.SnapshotExists, match="there already"):
        store.snapshot("nightly")
    with pytest.raises(malamute.NotFound, match="did you mean 'nightly'"):
        store.sql(COUNT, at="nighty")
    with pytest.raises(malamute.InvalidName, match="snapshot name"):
        store.snapshot("Before Deploy")
    with pytest.raises(malamute.InvalidQuery, match="ttl"):
        store.snapshot("other", ttl="a week")
    with pytest.raises(malamute.InvalidRequest, match="at 5 is not allowed"):
        store.sql(COUNT, at=5)
    store.snapshot("short", ttl=timedelta(milliseconds=1))
    with pytest.raises(malamute.SnapshotExpired, match="expired"):
        store.sql(COUNT, at="short")
