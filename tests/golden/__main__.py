"""Writes the golden store of the present format: `python -m tests.golden`. Never overwrites one: formats do not change.

A store of two flushed batches, one that is in the WAL only, an opened producer and one stream with settings.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from core.clock import ManualClock
from storage.catalog import CatalogStore
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.storage_format import STORAGE_FORMAT, open_storage
from storage.stream_settings import StreamSettings
from tests.support.shards import STREAM, TENANT, append, open_on

HERE = Path(__file__).parent
# Storage format 1 once had no indexes of segments; releases from then and from now read each other's stores.
PRESENT = f"format-{STORAGE_FORMAT}-indexed"
START_US = 1_700_000_000_000_000


def write(directory: Path) -> None:
    """Make the store in `directory`, which must not be there."""
    directory.mkdir()
    clock = ManualClock(START_US)
    objects = LocalObjectStore(str(directory), LocalFileSystem())
    open_storage(objects, 1)
    CatalogStore(objects, clock, 1).ensure_stream(TENANT, StreamSettings(STREAM, sort_key=("service", "n")))
    shard = open_on(LocalFileSystem(), clock=clock, objects=objects, wal_directory=str(directory / "wal" / "0000"))
    epoch = shard.open_producer(TENANT, STREAM, "golden").epoch
    append(shard, "golden", epoch, 0, range(10))
    shard.flush()
    append(shard, "golden", epoch, 1, range(10, 20), position=b"twenty")
    shard.flush()
    append(shard, "golden", epoch, 2, range(20, 25), position=b"twenty-five")
    # Not closed: what a killed process leaves is the harder case.


def main() -> int:
    directory = HERE / PRESENT
    if directory.exists():
        print(f"{directory.name} is there already: a format that was released does not change")
        return 1
    write(directory)
    for lock in directory.rglob("LOCK"):
        lock.unlink()
    shutil.rmtree(directory / "tmp", ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
