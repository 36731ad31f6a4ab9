"""Named snapshots and instants of the past, over real actors: the same answers whatever is written afterwards."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

import malamute
from core.limits import COMPACTION_INPUTS_MAX

FLUSHES = COMPACTION_INPUTS_MAX + 1  # as many segments of one size are merged


def events(first: int, count: int) -> list[dict[str, object]]:
    return [{"v": v, "service": f"s{v % 3}", "message": f"event {v}"} for v in range(first, first + count)]


def count(stream: str) -> str:
    return f"SELECT service, count(*) AS n, sum(v) AS s FROM {stream} GROUP BY service ORDER BY service"


def test_a_snapshot_answers_the_same_through_writes_and_flushes_in_every_form(shared_store):
    store = shared_store
    store.write("first", events(0, 300))
    taken = store.snapshot("before-deploy", ttl="7d")
    assert taken.events >= 300
    assert taken.expires_at - taken.created_at == timedelta(days=7)
    expected = store.sql(count("first")).to_pylist()
    for first in range(300, 900, 200):
        store.write("first", events(first, 200))
        store.flush()
        assert store.sql(count("first"), at="before-deploy").to_pylist() == expected
    store.write("later", [{"a": 1}])
    assert "later" not in [row[0] for row in store.sql("SHOW STREAMS", at="before-deploy")]
    with pytest.raises(malamute.NotFound, match="later"):
        store.sql("SELECT * FROM later", at="before-deploy")
    page = store.search("event", stream="first", limit=200, at="before-deploy")
    rest = store.search("event", stream="first", limit=200, at="before-deploy", cursor=page.cursor)
    assert (len(page), len(rest)) == (200, 100)
    with pytest.raises(malamute.InvalidRequest, match="repeat stream, query, order and at"):
        store.search("event", stream="first", limit=200, cursor=page.cursor)
    assert store.aggregate("first", at="before-deploy").to_pylist() == [{"count": 300}]
    assert sum(batch.num_rows for batch in store.sql_batches("SELECT v FROM first", at="before-deploy")) == 300
    store.drop_snapshot("before-deploy")
    with pytest.raises(malamute.NotFound, match="'before-deploy' is not there"):
        store.sql(count("first"), at="before-deploy")


def test_a_snapshot_answers_the_same_after_merges_changes_of_the_shards_and_a_restart(ray_session, storage):
    with malamute.connect(storage=storage, shards=1) as store:
        for number in range(FLUSHES):
            store.write("logs", events(10 * number, 10))
            store.flush()
        store.snapshot("before")
        expected = store.sql(count("logs")).to_pylist()
        store.write("logs", events(1_000_000, 500))
        deadline_s = time.monotonic() + 60
        while store.status().to_dict()["shards"][0]["segments"] >= FLUSHES:
            assert time.monotonic() < deadline_s, "nothing was merged"
            time.sleep(0.2)
        assert store.sql(count("logs"), at="before").to_pylist() == expected
        for shards in (3, 2):
            store.scale(shards)
            assert store.sql(count("logs"), at="before", cache=False).to_pylist() == expected
        assert store.snapshot("after").events == 10 * FLUSHES + 500
        store.scale(1)
    with malamute.connect(storage=storage) as store:
        assert [found.name for found in store.snapshots()] == ["after", "before"]
        assert store.sql(count("logs"), at="before").to_pylist() == expected
        assert store.sql("SELECT count(*) FROM logs", at="after").scalar() == 10 * FLUSHES + 500


def test_an_instant_leaves_out_what_was_stored_later(shared_store):
    store = shared_store
    store.write("instants", events(0, 100))
    store.flush()
    store.write("instants", events(100, 100))
    between = datetime.now(UTC)
    store.write("instants", events(200, 100))
    plain = "SELECT count(*) AS n, sum(v) AS s FROM instants"
    questions = {
        plain: [{"n": 200, "s": sum(range(200))}],
        "SELECT v FROM instants ORDER BY v DESC LIMIT 2": [{"v": 199}, {"v": 198}],
        "SELECT count(*) AS n FROM instants a JOIN instants b ON a.v = b.v": [{"n": 200}],
        "SELECT count(*) AS n FROM instants WHERE _ingested_at IS NOT NULL AND v >= 150": [{"n": 50}],
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
    store.write("mistakes", events(0, 10))
    store.snapshot("nightly")
    with pytest.raises(malamute.SnapshotExists, match="there already"):
        store.snapshot("nightly")
    with pytest.raises(malamute.NotFound, match="did you mean 'nightly'"):
        store.sql(count("mistakes"), at="nighty")
    with pytest.raises(malamute.InvalidName, match="snapshot name"):
        store.snapshot("Before Deploy")
    with pytest.raises(malamute.InvalidQuery, match="ttl"):
        store.snapshot("other", ttl="a week")
    with pytest.raises(malamute.InvalidRequest, match="at 5 is not allowed"):
        store.sql(count("mistakes"), at=5)
    store.snapshot("short", ttl=timedelta(milliseconds=1))
    with pytest.raises(malamute.SnapshotExpired, match="expired"):
        store.sql(count("mistakes"), at="short")
