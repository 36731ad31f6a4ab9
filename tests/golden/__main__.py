"""Writes the golden store of the present format: `python -m tests.golden`. Never overwrites one: formats do not change.

A store of two flushed batches, one that is in the WAL only, an opened producer and one stream with settings.
"""

from __future__ import annotations

import itertools
import shutil
import sys
from pathlib import Path

from core.clock import Clock, ManualClock
from storage.catalog import CatalogStore
from storage.compaction_plan import CompactionRules
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.shard import Shard
from storage.storage_format import STORAGE_FORMAT, open_storage
from storage.stream_settings import StreamSettings
from tests.support.compacted import Compaction
from tests.support.shards import STREAM, TENANT, append, open_on, open_on_objects

HERE = Path(__file__).parent
# Storage format 1 once had no indexes of segments; releases from then and from now read each other's stores.
PRESENT = f"format-{STORAGE_FORMAT}-indexed"
# The same with the WAL on the object store.
PRESENT_OBJECT = f"format-{STORAGE_FORMAT}-object"
# The same with ids of events: a manifest of format 2, which older releases refuse.
PRESENT_IDS = f"format-{STORAGE_FORMAT}-ids"
# The same with its segments merged: a manifest of format 3, with levels and removed segments.
PRESENT_MERGED = f"format-{STORAGE_FORMAT}-merged"
PRESENT_ALL = (PRESENT, PRESENT_OBJECT, PRESENT_IDS, PRESENT_MERGED)
START_US = 1_700_000_000_000_000


def settings_of(name: str) -> StreamSettings:
    """The settings of the one stream of a golden store."""
    return StreamSettings(STREAM, sort_key=("service", "n"), dedup_key="n" if name == PRESENT_IDS else None)


def open_golden(directory: Path, clock: Clock, name: str) -> Shard:
    """The one shard of a store in `directory`."""
    objects = LocalObjectStore(str(directory), LocalFileSystem())
    if name == PRESENT_OBJECT:
        ids = itertools.count(1)
        return open_on_objects(objects, clock=clock, file_ids=lambda: next(ids))
    wal, settings = str(directory / "wal" / "0000"), settings_of(name)
    return open_on(LocalFileSystem(), clock=clock, objects=objects, wal_directory=wal, settings=settings)


def write(directory: Path, name: str) -> None:
    """Make the store in `directory`, which must not be there."""
    directory.mkdir()
    clock = ManualClock(START_US)
    objects = LocalObjectStore(str(directory), LocalFileSystem())
    open_storage(objects, 1)
    CatalogStore(objects, clock, 1).ensure_stream(TENANT, settings_of(name))
    shard = open_golden(directory, clock, name)
    epoch = shard.open_producer(TENANT, STREAM, "golden").epoch
    append(shard, "golden", epoch, 0, range(10))
    shard.flush()
    append(shard, "golden", epoch, 1, range(10, 20), position=b"twenty")
    shard.flush()
    if name == PRESENT_OBJECT:
        shard = open_golden(directory, clock, name)  # leaves a fence
    if name == PRESENT_MERGED:
        Compaction(shard, objects, clock, CompactionRules(rows_target=20, inputs_max=2)).run()
    append(shard, "golden", epoch, 2, range(20, 25), position=b"twenty-five")
    if name == PRESENT_IDS:
        again = shard.open_producer(TENANT, STREAM, "again").epoch
        append(shard, "again", again, 0, range(15, 22))
    # Not closed: what a killed process leaves is the harder case.


def main() -> int:
    missing = [name for name in PRESENT_ALL if not (HERE / name).exists()]
    for name in missing:
        directory = HERE / name
        write(directory, name)
        for lock in directory.rglob("LOCK"):
            lock.unlink()
        shutil.rmtree(directory / "tmp", ignore_errors=True)
    if not missing:
        print("all are there already: a format that was released does not change")
    return 0 if missing else 1


if __name__ == "__main__":
    sys.exit(main())
