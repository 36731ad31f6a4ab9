"""Every released format is read for ever: tests/golden holds a store of each, made by `python -m tests.golden`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.clock import ManualClock
from storage.catalog import CatalogStore
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.segment_index import SegmentIndexes
from storage.storage_format import open_storage
from tests.golden.__main__ import PRESENT_ALL, PRESENT_IDS, PRESENT_MERGED, START_US, open_golden, write
from tests.support.shards import STREAM, TENANT, append, stored_rows

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
STORES = sorted(GOLDEN.glob("format-*"))


def test_there_is_one_of_the_present_format() -> None:
    assert {GOLDEN / name for name in PRESENT_ALL} <= set(STORES)


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
def test_a_store_of_a_released_format_opens_with_all_it_holds(store: Path, tmp_path: Path) -> None:
    directory = tmp_path / "store"
    shutil.copytree(store, directory)
    clock = ManualClock(START_US + 1_000_000)
    objects = LocalObjectStore(str(directory), LocalFileSystem())
    open_storage(objects, 1)
    assert CatalogStore(objects, clock, 1).get(TENANT, STREAM).sort_key == ("service", "n")
    shard = open_golden(directory, clock, store.name)
    assert stored_rows(shard, objects) == [(number, number) for number in range(25)]
    indexes = SegmentIndexes(objects, 2**20)
    found = [indexes.get(segment) for segment in shard.snapshot(TENANT, STREAM).segments]
    rows = {"format-1": [None, None], PRESENT_MERGED: [(20,)]}.get(store.name, [(10,), (10,)])
    assert [index and index.rows for index in found] == rows
    # The producer is where it was: what it sends again is known, what comes next is taken.
    assert append(shard, "golden", 1, 2, range(20, 25)).duplicate
    assert not append(shard, "golden", 1, 3, range(25, 30)).duplicate
    opened = shard.open_producer(TENANT, STREAM, "golden")
    assert (opened.epoch, opened.position) == (2, b"twenty-five")
    if store.name == PRESENT_IDS:
        assert append(shard, "again", 1, 0, range(15, 22)).duplicate_ids == 7
        assert append(shard, "again", 1, 1, range(30)).duplicate_ids == 30
    shard.flush()
    assert stored_rows(shard, objects) == [(number, number) for number in range(30)]
    shard.close()


@pytest.mark.parametrize("name", PRESENT_ALL)
def test_the_present_code_writes_the_same_names(tmp_path: Path, name: str) -> None:
    """A change of what is written where is a change of the format."""
    write(tmp_path / "store", name)
    golden = GOLDEN / name

    def names(root: Path) -> list[str]:
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != "LOCK")

    assert names(tmp_path / "store") == names(golden)
