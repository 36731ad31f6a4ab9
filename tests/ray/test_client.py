"""The Python client on a real Ray: what goes in comes out, once, in every form that is promised."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import malamute

EVENTS = [
    {"@timestamp": "2026-01-02T03:04:05Z", "service": "web", "http": {"status_code": 200}, "n": 1},
    {"@timestamp": "2026-01-02T03:04:06Z", "service": "web", "http": {"status_code": 500}, "n": 2},
    {"@timestamp": "2026-01-02T03:04:07Z", "service": "db", "n": "three"},
]


@pytest.fixture
def store(shared_store):
    return shared_store


def test_dicts_are_visible_at_once(store, stream):
    receipt = store.write(stream, EVENTS)
    assert (receipt.accepted, receipt.duplicates, receipt.rejected) == (3, 0, [])
    rows = store.sql(
        f"SELECT http.status_code, count(*) AS n FROM {stream} WHERE service = 'web' GROUP BY 1 ORDER BY 1"
    )
    assert rows.to_pylist() == [{"http.status_code": 200, "n": 1}, {"http.status_code": 500, "n": 1}]


@pytest.mark.parametrize("form", ["ndjson", "arrow", "batch", "pandas", "polars", "path", "parquet"])
def test_every_form_of_input(store, stream, form, tmp_path):
    table = pa.table({"service": ["a", "b", None], "n": [1, 2, 3], "timestamp": [datetime(2026, 1, 1, tzinfo=UTC)] * 3})
    ndjson = b"\n".join(json.dumps({"service": s, "n": n}).encode() for s, n in [("a", 1), ("b", 2), (None, 3)])
    path, parquet = tmp_path / "events.ndjson", tmp_path / "events.parquet"
    path.write_bytes(ndjson)
    pq.write_table(table, parquet)
    forms = {
        "ndjson": ndjson,
        "arrow": table,
        "batch": table.to_batches()[0],
        "pandas": pd.DataFrame({"service": ["a", "b", None], "n": [1, 2, 3]}),
        "polars": pl.DataFrame({"service": ["a", "b", None], "n": [1, 2, 3]}),
        "path": path,
        "parquet": str(parquet),
    }
    assert store.write(stream, forms[form]).accepted == 3
    assert store.sql(f"SELECT service, n FROM {stream} ORDER BY n").to_pylist() == [
        {"service": "a", "n": 1},
        {"service": "b", "n": 2},
        {"service": None, "n": 3},
    ]


def test_results_in_every_form(store, stream):
    store.write(stream, [{"n": n} for n in range(5)])
    result = store.sql(f"SELECT n FROM {stream} ORDER BY n")
    assert result.to_arrow().column("n").to_pylist() == [0, 1, 2, 3, 4]
    assert list(result.to_pandas()["n"]) == [0, 1, 2, 3, 4]
    assert result.to_polars()["n"].to_list() == [0, 1, 2, 3, 4]
    assert pl.DataFrame(result)["n"].to_list() == [0, 1, 2, 3, 4]
    assert sum(batch.num_rows for batch in result.batches()) == 5
    assert store.sql(f"SELECT sum(n) FROM {stream}").scalar() == 10


def test_bad_lines_are_named_and_good_ones_stored(store, stream):
    receipt = store.write(stream, b'{"n":1}\nnot json\n{"n":2}\n[1]\n')
    assert receipt.accepted == 2
    assert [(line, byte) for line, byte, _ in receipt.rejected] == [(2, 8), (4, 25)]
    assert all(isinstance(reason, str) and reason for _, _, reason in receipt.rejected)


def test_unreadable_timestamps_are_kept_and_counted(store, stream):
    receipt = store.write(stream, [{"timestamp": "yesterday", "n": 1}, {"n": 2}, {"timestamp": 1_700_000_000, "n": 3}])
    assert (receipt.timestamps_unreadable, receipt.timestamps_missing) == (1, 1)
    rows = store.sql(
        f'SELECT n, _timestamp_inferred AS i, "timestamp::str" AS raw FROM {stream} ORDER BY n'
    ).to_pylist()
    assert rows == [
        {"n": 1, "i": True, "raw": "yesterday"},
        {"n": 2, "i": True, "raw": None},
        {"n": 3, "i": False, "raw": None},
    ]


def test_conflicting_types_are_both_there(store, stream):
    store.write(stream, EVENTS)
    assert sorted(row["n"] for row in store.sql(f"SELECT n FROM {stream}").to_pylist()) == ["1", "2", "three"]
    assert store.sql(f"SELECT count(*) FROM {stream} WHERE n >= 2").scalar() == 1


def test_the_answer_is_the_same_before_and_after_a_flush(store, stream):
    store.write(stream, EVENTS)
    query = f"SELECT service, count(*) AS c, max(http.status_code) AS m FROM {stream} GROUP BY ALL ORDER BY 1"
    before = store.sql(query).to_pylist()
    store.flush()
    assert store.sql(query).to_pylist() == before
    store.write(stream, EVENTS)
    assert [row["c"] for row in store.sql(query).to_pylist()] == [2, 4]


def test_joins_windows_and_ctes_use_the_gather_path(store, stream):
    store.write(stream, [{"k": n % 3, "v": n} for n in range(9)])
    store.write(f"{stream}b", [{"k": k, "name": f"k{k}"} for k in range(3)])
    joined = store.sql(
        f"SELECT b.name, sum(a.v) AS s FROM {stream} a JOIN {stream}b b ON a.k = b.k GROUP BY 1 ORDER BY 1"
    )
    assert joined.to_pylist() == [{"name": "k0", "s": 9}, {"name": "k1", "s": 12}, {"name": "k2", "s": 15}]
    ranked = store.sql(
        f"WITH t AS (SELECT v, row_number() OVER (ORDER BY v DESC) r FROM {stream}) SELECT v FROM t WHERE r <= 2"
    )
    assert sorted(row["v"] for row in ranked.to_pylist()) == [7, 8]


def test_exact_distinct_over_shards(store, stream):
    for _ in range(4):
        store.write(stream, [{"user": f"u{n}"} for n in range(7)])
    assert store.sql(f"SELECT count(DISTINCT user) FROM {stream}").scalar() == 7


def test_parameters(store, stream):
    store.write(stream, EVENTS)
    assert store.sql(f"SELECT count(*) FROM {stream} WHERE service = ?", ["web"]).scalar() == 2
    assert store.sql(f"SELECT count(*) FROM {stream} WHERE service = $s", {"s": "db"}).scalar() == 1


def test_unknown_stream_names_the_nearest(store, stream):
    store.write(stream, EVENTS)
    with pytest.raises(malamute.NotFound, match=f"did you mean '{stream}'"):
        store.sql(f"SELECT 1 FROM {stream}x")


def test_unknown_path_is_null_with_a_warning(store, stream):
    store.write(stream, EVENTS)
    result = store.sql(f"SELECT servise FROM {stream} LIMIT 1")
    assert result.to_pylist() == [{"servise": None}] and "service" in result.warnings[0]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", "cannot parse"),
        ("SELECT FROM WHERE", "cannot"),
        ("SELECT 1; SELECT 2", "exactly one"),
        ("SELECT * FROM read_parquet('/etc/passwd')", "read_parquet"),
        ("COPY (SELECT 1) TO 'x'", "not allowed"),
    ],
)
def test_bad_sql_is_a_typed_error(store, sql, message):
    with pytest.raises(malamute.InvalidQuery, match=message):
        store.sql(sql)


@pytest.mark.parametrize("name", ["Logs", "", "a b", "../x", "1x", "x" * 64])
def test_bad_stream_names_are_refused(store, name):
    with pytest.raises(malamute.InvalidName, match="not allowed"):
        store.write(name, EVENTS)


def test_unreadable_file_and_unknown_durability(store, stream, tmp_path):
    with pytest.raises(malamute.NotFound, match="no file"):
        store.write(stream, str(tmp_path / "missing.ndjson"))
    with pytest.raises(malamute.InvalidRequest, match="durability"):
        store.write(stream, EVENTS, durability="eternal")
    with pytest.raises(malamute.InvalidRequest, match="not accepted"):
        store.write(stream, 42)


def test_create_stream_is_idempotent_and_refuses_other_settings(store, stream):
    store.create_stream(stream, sort_key=["host", "timestamp"], timestamp="at")
    store.create_stream(stream, sort_key=["host", "timestamp"], timestamp="at")
    with pytest.raises(malamute.InvalidRequest, match="other settings"):
        store.create_stream(stream, sort_key=["service"])
    store.write(stream, [{"at": "2026-01-01T00:00:00Z", "n": 1}])
    row = store.sql(f"SELECT timestamp FROM {stream}").to_pylist()[0]
    assert row["timestamp"] == datetime(2026, 1, 1, tzinfo=UTC)


def test_named_producer_batches_in_the_background_and_resumes(store, stream):
    with store.producer("importer-1", stream=stream) as producer:
        assert producer.position() is None
        for n in range(1000):
            producer.send({"n": n})
        producer.send_batch([{"n": 1000}], position=b"offset 1000")
        receipt = producer.flush()
        assert receipt.accepted == 1001 and producer.position() == b"offset 1000"
    with store.producer("importer-1", stream=stream) as producer:
        assert producer.position() == b"offset 1000"
    assert store.sql(f"SELECT count(*), count(DISTINCT n) FROM {stream}").to_arrow().to_pylist()[0] == {
        "count_star()": 1001,
        "count(DISTINCT n)": 1001,
    }


def test_an_older_incarnation_of_a_producer_is_fenced(store, stream):
    old = store.producer("p", stream=stream)
    new = store.producer("p", stream=stream)
    old.send({"n": 1})
    with pytest.raises(malamute.Fenced):
        old.flush()
    new.send({"n": 2})
    new.close()
    assert store.sql(f"SELECT n FROM {stream}").to_pylist() == [{"n": 2}]


def test_many_threads_write_and_read_at_once(store, stream):
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for round_ in range(5):
                store.write(stream, [{"thread": number, "round": round_, "i": i} for i in range(50)])
                seen = store.sql(f"SELECT count(*) FROM {stream} WHERE thread = {number}").scalar()
                assert seen == 50 * (round_ + 1), "an acknowledged event is visible to a query that starts later"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert store.sql(f"SELECT count(*) FROM {stream}").scalar() == 1000


def test_status_says_what_runs(store, stream):
    store.write(stream, EVENTS)
    status = store.status()
    numbers = status.to_dict()
    assert len(numbers["shards"]) == 2 and status.events >= 3
    for shard in status.shards:
        assert shard["state"] == "serving" and shard["pid"] > 0 and shard["epoch"] >= 1
        assert {"node", "wal_bytes", "memtable_bytes", "segments", "rss_bytes"} <= shard.keys()
