"""The files of a running deployment, read by others: plain DuckDB over the list, PyIceberg over an export."""

from __future__ import annotations

import dataclasses

import duckdb
import pytest
from pyiceberg.table import StaticTable

import malamute


def events(first: int, count: int) -> list[dict[str, object]]:
    return [
        {"service": ("web", "db")[n % 2], "n": n, "http": {"code": 200 if n % 3 else "none"}, "tags": ["x"] * (n % 3)}
        for n in range(first, first + count)
    ]


def test_the_listed_files_hold_what_sql_answers(shared_store, stream):
    shared_store.write(stream, events(0, 300))
    files = shared_store.files(stream)
    assert (files.rows, files.rows_unflushed) == (0, 300)
    files = shared_store.files(stream, flush=True)
    assert (files.rows, files.rows_unflushed) == (300, 0)
    shared_store.write(stream, events(300, 200))
    assert shared_store.files(stream) == dataclasses.replace(files, rows_unflushed=200)
    files = shared_store.files(stream, flush=True)
    assert files.rows == 500 and len(set(files.paths)) == len(files.paths)
    question = "SELECT service, count(*) AS c, sum(n)::BIGINT AS s FROM {} GROUP BY 1 ORDER BY 1"
    plain = question.format(f"read_parquet({list(files.paths)}, union_by_name=true)")
    assert duckdb.connect().execute(plain).fetchall() == [
        tuple(row.values()) for row in shared_store.sql(question.format(stream)).to_pylist()
    ]


def test_an_export_is_read_by_pyiceberg(shared_store, stream, tmp_path):
    shared_store.write(stream, events(0, 100))
    first = shared_store.export_iceberg(stream, tmp_path / "lake", flush=True)
    shared_store.write(stream, events(100, 50))
    second = shared_store.export_iceberg(stream, tmp_path / "lake", flush=True)
    assert (first.rows, second.rows, second.files_removed) == (100, 150, 0)
    table = StaticTable.from_metadata(str(tmp_path / "lake"))
    assert len(table.snapshots()) == 2
    scanned = table.scan(selected_fields=("n", "service")).to_arrow_batch_reader().read_all()
    assert sorted(scanned.to_pylist(), key=lambda row: row["n"]) == [
        {"service": event["service"], "n": event["n"]} for event in events(0, 150)
    ]
    paths = [task.file.file_path.removeprefix("file://") for task in table.scan().plan_files()]
    assert sorted(paths) == sorted(shared_store.files(stream).paths)


def test_the_files_of_a_snapshot_are_those_of_then(shared_store, stream, tmp_path):
    shared_store.write(stream, events(0, 60))
    shared_store.snapshot("then")
    files = shared_store.files(stream)
    shared_store.write(stream, events(60, 40))
    assert shared_store.files(stream, flush=True).rows == 100
    assert shared_store.files(stream, at="then") == files and files.rows == 60
    exported = shared_store.export_iceberg(stream, tmp_path / "then", at="then")
    assert StaticTable.from_metadata(exported.metadata).scan().count() == 60
    shared_store.write(f"{stream}_later", events(0, 1))
    with pytest.raises(malamute.NotFound, match="not in snapshot"):
        shared_store.files(f"{stream}_later", at="then")
    with pytest.raises(malamute.NotFound, match="never"):
        shared_store.files(stream, at="never")


def test_a_stream_that_is_not_there_has_no_files(shared_store):
    for ask in (shared_store.files, shared_store.export_iceberg):
        with pytest.raises(malamute.NotFound, match="nothing-here"):
            ask("nothing-here")
