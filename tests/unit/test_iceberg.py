"""Exports to Iceberg: PyIceberg's own scan finds the rows in the very files of the store; each export is a snapshot."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan
from pyiceberg.table import StaticTable

from core.errors import Corrupt, InvalidRequest, InvalidSettings, Unavailable
from core.ids import ShardId
from storage.deployment import ShardConfig
from storage.exports import export_iceberg
from storage.fs import LocalFileSystem
from storage.iceberg.export import export
from storage.iceberg.exported import Exported
from storage.iceberg.table import ObjectCatalog
from storage.local_objects import LocalObjectStore
from storage.objects import AlreadyExists, ObjectStore
from storage.snapshot import Segment
from tests.support.batches import START_US, log_batch, memtable_batch
from tests.support.segment_store import SegmentStore

HOUR_US = 3_600_000_000


class Lake:
    """A store of segments and a place for its Iceberg table."""

    def __init__(self, directory: Path) -> None:
        self.store = SegmentStore(directory / "data", 1_000)
        self.directory = directory / "ice"
        self.objects = LocalObjectStore(str(self.directory), LocalFileSystem())

    def export(self, segments: Sequence[Segment], objects: ObjectStore | None = None) -> Exported:
        url_of = lambda segment: f"file://{self.store.path(segment)}"  # noqa: E731
        return export(segments, url_of, objects or self.objects, f"file://{self.directory}", "default/logs")

    def write(self, columns: dict[tuple[str, str], list[Any]], first_offset: int) -> list[Segment]:
        rows = len(next(iter(columns.values())))
        return self.store.write([memtable_batch(columns, [START_US + n for n in range(rows)], first_offset)])


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def rows(table: StaticTable, *names: str, **scan: Any) -> list[dict[str, Any]]:
    found = table.scan(selected_fields=names or ("*",), **scan).to_arrow_batch_reader().read_all()
    return sorted(found.to_pylist(), key=lambda row: row["_offset"])


def test_a_scan_reads_the_rows_in_the_files_of_the_store(lake: Lake) -> None:
    segments = [
        segment
        for seed in range(3)
        for segment in lake.store.write([log_batch(2_000, seed, first_offset=seed * 2_000)])
    ]
    done = lake.export(segments)
    assert (done.files, done.rows, done.files_added, done.files_removed, done.left_out) == (3, 6_000, 3, 0, ())
    table = StaticTable.from_metadata(done.metadata)
    paths = [lake.store.path(segment) for segment in segments]
    assert {task.file.file_path for task in table.scan().plan_files()} == {f"file://{path}" for path in paths}
    listed = duckdb.connect().read_parquet(paths, union_by_name=True).order("_offset").to_arrow_table().to_pylist()
    assert [{name: value for name, value in row.items() if name != "_rest"} for row in rows(table)] == [
        {name: row[name] for name in table.schema().column_names if name != "_rest"} for row in listed
    ]
    assert not list(lake.directory.rglob("*.parquet"))
    some = rows(table, "_offset", "service", row_filter=EqualTo("service", "service-3"))
    assert [row["_offset"] for row in some] == [row["_offset"] for row in listed if row["service"] == "service-3"]


def test_files_are_skipped_by_time_and_values(lake: Lake) -> None:
    segments = [
        segment
        for hour in range(3)
        for segment in lake.store.write([log_batch(100, hour, hour * 100, START_US + hour * 24 * HOUR_US)])
    ]
    table = StaticTable.from_metadata(lake.export(segments).metadata)
    day = And(
        GreaterThanOrEqual("timestamp", "2026-01-02T00:00:00+00:00"),
        LessThan("timestamp", "2026-01-03T00:00:00+00:00"),
    )
    assert [task.file.file_path for task in table.scan(row_filter=day).plan_files()] == [
        f"file://{lake.store.path(segments[1])}"
    ]
    assert len(rows(table, "_offset", row_filter=day)) == 100
    assert list(table.scan(row_filter=EqualTo("service", "zebra")).plan_files()) == []
    assert list(table.scan(row_filter=GreaterThanOrEqual("http.status_code", 501)).plan_files()) == []


def test_a_later_export_adds_a_snapshot_and_the_old_one_stays_readable(lake: Lake) -> None:
    one = lake.write({("service", "str"): ["a", "b"]}, 0)
    two = lake.write({("service", "str"): ["c"], ("n", "int"): [7]}, 2)
    first = lake.export(one)
    again = lake.export(one)
    assert (again.metadata, again.snapshot_id, again.files_added) == (first.metadata, first.snapshot_id, 0)
    second = lake.export([*one, *two])
    assert (second.files_added, second.files_removed) == (1, 0)
    merged = lake.store.write([memtable_batch({("service", "str"): ["a", "b", "c"]}, [START_US] * 3)])
    third = lake.export(merged)
    assert (third.files, third.files_added, third.files_removed) == (1, 1, 2)
    table = StaticTable.from_metadata(str(lake.directory))
    assert [snapshot.snapshot_id for snapshot in table.snapshots()] == [
        first.snapshot_id, second.snapshot_id, third.snapshot_id,
    ]  # fmt: skip
    assert [row["service"] for row in rows(table)] == ["a", "b", "c"]
    assert [row["service"] for row in rows(table, snapshot_id=first.snapshot_id)] == ["a", "b"]
    assert [row["n"] for row in rows(table, snapshot_id=second.snapshot_id)] == [None, None, 7]
    assert lake.export([]).files_removed == 1
    assert rows(StaticTable.from_metadata(str(lake.directory))) == []


def test_every_kind_has_its_type(lake: Lake) -> None:
    values: dict[tuple[str, str], list[Any]] = {
        ("bool", "bool"): [True, None],
        ("int", "int"): [-(2**63), 5],
        ("float", "float"): [float("nan"), 0.5],
        ("decimal", "decimal"): ["123456789012345678901234567890.5", None],
        ("str", "str"): ["ä\U0001f600", ""],
        ("json", "json"): ['[{"a":1}]', None],
        ("time", "time"): [START_US, None],
        ("bin", "bin"): [b"\0\xff", None],
        ("a.b c", "str"): ["dots and blanks", None],
        ("ints", "int[]"): [[1, None], []],
        ("strs", "str[]"): [["x"], None],
    }
    segments = lake.write(values, 0)
    table = StaticTable.from_metadata(lake.export(segments).metadata)
    types = {field.name: str(field.field_type) for field in table.schema().fields}
    assert types == {
        "timestamp": "timestamptz", "_timestamp_inferred": "boolean", "_ingested_at": "timestamptz", "_offset": "long",
        "_rest": "string", "bool": "boolean", "int": "long", "float": "double", "decimal": "string", "str": "string",
        "json": "string", "time": "timestamptz", "bin": "binary", "a.b c": "string", "ints": "list<long>",
        "strs": "list<string>",
    }  # fmt: skip
    [stored] = [pq.ParquetFile(lake.store.path(segment)).read().to_pylist() for segment in segments]
    assert repr([{name: row[name] for name in stored[0]} for row in rows(table)]) == repr(stored)
    for name, wanted in (("int", 5), ("bool", True), ("str", "ä\U0001f600")):
        assert len(rows(table, "_offset", row_filter=EqualTo(name, wanted))) == 1


def test_a_name_with_several_types_is_left_out_and_the_rest_stays_readable(lake: Lake) -> None:
    one = lake.write({("n", "int"): [1], ("ok", "str"): ["a"], ("huge", "uint"): [2**64 - 1]}, 0)
    two = lake.write(
        {("n", "float"): [1.5], ("ok", "json"): ["{}"], ("tags", "str[]"): [["x"]], ("list.element", "int"): [1]}, 1
    )
    three = lake.write({("tags", "str"): ["x"], ("list", "int[]"): [[1]]}, 2)
    first = lake.export(one)
    assert first.left_out == ("huge",)
    assert rows(StaticTable.from_metadata(first.metadata))[0]["n"] == 1
    done = lake.export([*one, *two, *three])
    assert done.left_out == ("huge", "list.element", "n", "tags")
    table = StaticTable.from_metadata(done.metadata)
    assert [field.name for field in table.schema().fields][5:] == ["ok", "list"]
    assert [row["ok"] for row in rows(table)] == ["a", "{}", None]
    assert [row["list"] for row in rows(table)] == [None, None, [1]]
    later = lake.export(two)  # nobody calls it an integer any more
    assert later.left_out == ()
    assert [row["n"] for row in rows(StaticTable.from_metadata(later.metadata))] == [1.5]


def test_exports_at_the_same_time_all_end_in_one_history(lake: Lake) -> None:
    groups = [lake.write({("n", "int"): [number]}, number) for number in range(4)]
    done: list[Exported] = []
    threads = [threading.Thread(target=lambda group=group: done.append(lake.export(group))) for group in groups]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    table = ObjectCatalog(lake.objects, f"file://{lake.directory}").load()
    done.sort(key=lambda exported: int(exported.metadata.rpartition("/v")[2].partition(".")[0]))
    assert [snapshot.snapshot_id for snapshot in table.snapshots()] == [exported.snapshot_id for exported in done]
    table = StaticTable.from_metadata(done[-1].metadata)
    assert len(done) == 4 and len(rows(table)) == 1


class Rival(LocalObjectStore):
    """Somebody else always creates the version first."""

    def put_new(self, key: str, data: Any) -> None:
        if key.endswith("v2.metadata.json"):
            raise AlreadyExists("there", key=key)
        super().put_new(key, data)


def test_an_export_that_never_gets_its_turn_says_so(lake: Lake) -> None:
    segments = lake.write({("n", "int"): [1]}, 0)
    with pytest.raises(Unavailable, match="try again"):
        lake.export(segments, Rival(str(lake.directory), LocalFileSystem()))
    assert lake.export(segments).files_added == 1


def test_what_is_not_iceberg_is_not_overwritten(lake: Lake) -> None:
    lake.objects.put_new("metadata/v3.metadata.json", b'{"theirs": true}')
    with pytest.raises(Corrupt, match="export to another location"):
        lake.export(lake.write({("n", "int"): [1]}, 0))
    assert lake.objects.get("metadata/v3.metadata.json") == b'{"theirs": true}'


def test_a_table_of_something_else_is_left_alone(lake: Lake) -> None:
    segments = lake.write({("n", "int"): [1]}, 0)
    done = lake.export(segments)
    with pytest.raises(InvalidRequest, match="something else"):
        export_iceberg(config(lake.store.directory), "default", "traces", segments, str(lake.directory))
    assert lake.export(segments) == dataclasses.replace(done, files_added=0)


def config(directory: Path) -> ShardConfig:
    return ShardConfig(ShardId(0), 1, str(directory), None, str(directory / "cache"), "local")


def test_an_export_goes_beside_the_data_or_where_it_is_told(lake: Lake, tmp_path: Path) -> None:
    segments = lake.write({("n", "int"): [1]}, 0)
    place = config(lake.store.directory)
    default = export_iceberg(place, "default", "logs", segments, None)
    assert default.metadata == f"file://{lake.store.directory}/iceberg/default/logs/metadata/v2.metadata.json"
    elsewhere = export_iceberg(place, "default", "logs", segments, str(tmp_path / "else where"))
    assert elsewhere.metadata == f"file://{tmp_path}/else where/metadata/v2.metadata.json"
    for exported in (default, elsewhere):
        assert rows(StaticTable.from_metadata(exported.metadata), "_offset", "n") == [{"_offset": 0, "n": 1}]


@pytest.mark.parametrize("location", ["", "/", "/shards/0000", "/iceberg", "/iceberg/other/logs", "/x/../iceberg/b/c"])
def test_an_export_never_goes_between_the_files_of_the_store(lake: Lake, location: str) -> None:
    root = lake.store.directory
    segments = lake.write({("n", "int"): [1]}, 0)
    before = sorted(root.rglob("*"))
    for place in (f"{root}{location}", f"file://{root}{location}"):
        with pytest.raises(InvalidRequest, match="between the files of the store"):
            export_iceberg(config(root), "default", "logs", segments, place)
    assert sorted(root.rglob("*")) == before


def test_a_relative_location_is_refused(lake: Lake) -> None:
    with pytest.raises(InvalidRequest, match="relative"):
        export_iceberg(config(lake.store.directory), "default", "logs", [], "ice")


def test_where_pyiceberg_is_missing_it_is_said_how_to_get_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "storage.iceberg.export", None)
    with pytest.raises(InvalidSettings, match=r"pip install 'malamute\[iceberg\]'"):
        export_iceberg(config(lake.store.directory), "default", "logs", [], None)
