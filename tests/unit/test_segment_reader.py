"""Segment files: verified once, refused when damaged, downloaded into a bounded cache."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from obstore.store import MemoryStore

from core.clock import ManualClock
from core.errors import Corrupt, NotFound
from core.ids import ShardId
from storage.deployment import ShardConfig, segment_files
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.objects import ObjectStore
from storage.remote_objects import RemoteObjectStore
from storage.segment_reader import SegmentFiles
from storage.segment_writer import write_segments
from storage.snapshot import Segment
from storage.stream_settings import StreamSettings
from tests.support.batches import START_US, log_batch, memtable_batch


def written(objects: ObjectStore, count: int = 1, rows: int = 200) -> list[Segment]:
    numbers = itertools.count()
    segments = []
    for seed in range(count):
        segments += write_segments(
            [log_batch(rows, seed)],
            "default",
            StreamSettings("logs"),
            ShardId(0),
            new_name=lambda: f"00000001-{next(numbers):08d}",
            objects=objects,
        )
    return segments


def files_of(objects: ObjectStore, cache: Path, cache_bytes_max: int = 10**9) -> SegmentFiles:
    return SegmentFiles(objects, str(cache), cache_bytes_max, LocalFileSystem())


def remote() -> RemoteObjectStore:
    return RemoteObjectStore(MemoryStore(), ManualClock())


def test_each_flipped_byte_is_detected(tmp_path: Path) -> None:
    store = LocalObjectStore(str(tmp_path / "store"), LocalFileSystem())
    numbers = itertools.count()
    [segment] = write_segments(
        [memtable_batch({("service", "str"): ["a", "b"]}, [START_US] * 2)],
        "default",
        StreamSettings("logs"),
        ShardId(0),
        new_name=lambda: str(next(numbers)),
        objects=store,
    )
    file = Path(store.local_path(segment.name))
    intact = file.read_bytes()
    for position in range(len(intact)):
        damaged = bytearray(intact)
        damaged[position] ^= 1 << (position % 8)
        file.write_bytes(damaged)
        with pytest.raises(Corrupt, match="published"):
            files_of(store, tmp_path / "cache").path(segment)
    for cut in (intact[:-1], intact + b"\0", b""):
        file.write_bytes(cut)
        with pytest.raises(Corrupt):
            files_of(store, tmp_path / "cache").path(segment)
    file.write_bytes(intact)
    assert files_of(store, tmp_path / "cache").path(segment) == str(file)


def test_a_local_segment_is_used_in_place(tmp_path: Path) -> None:
    store = LocalObjectStore(str(tmp_path / "store"), LocalFileSystem())
    [segment] = written(store)
    files = files_of(store, tmp_path / "cache")
    assert files.path(segment) == store.local_path(segment.name) == files.path(segment)
    assert files.downloads == 0 and not (tmp_path / "cache").exists()


def test_a_missing_segment_is_named(tmp_path: Path) -> None:
    local = LocalObjectStore(str(tmp_path / "store"), LocalFileSystem())
    for store in (local, remote()):
        [segment] = written(store)
        store.delete([segment.name])
        with pytest.raises(NotFound, match=segment.name):
            files_of(store, tmp_path / "cache").path(segment)


def test_downloads_are_cached_within_the_bound(tmp_path: Path) -> None:
    store = remote()
    segments = written(store, 4)
    room = sum(segment.bytes for segment in segments[:3])
    files = files_of(store, tmp_path, room)
    paths = [files.path(segment) for segment in segments[:3]]
    assert [pq.read_metadata(path).num_rows for path in paths] == [200] * 3
    files.path(segments[0])  # now the second is the least recently used
    files.path(segments[3])
    assert files.downloads == 4
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= room
    assert Path(paths[0]).exists() and not Path(paths[1]).exists()
    assert Path(files.path(segments[1])).exists() and files.downloads == 5


def test_a_segment_larger_than_the_cache_is_still_served(tmp_path: Path) -> None:
    store = remote()
    [segment] = written(store)
    assert Path(files_of(store, tmp_path, 1).path(segment)).stat().st_size == segment.bytes


def test_a_cache_of_an_earlier_process_is_verified_and_used(tmp_path: Path) -> None:
    store = remote()
    one, two = written(store, 2)
    first = files_of(store, tmp_path)
    damaged, kept = Path(first.path(one)), first.path(two)
    damaged.write_bytes(b"rot")
    (tmp_path / ".tmp-left").write_bytes(b"half a download")
    later = files_of(store, tmp_path)
    assert later.path(two) == kept and later.downloads == 0
    assert Path(later.path(one)).stat().st_size == one.bytes and later.downloads == 1
    assert not (tmp_path / ".tmp-left").exists()


def test_a_damaged_remote_object_is_not_cached(tmp_path: Path) -> None:
    store = remote()
    [segment] = written(store)
    with pytest.raises(Corrupt, match=segment.name):
        files_of(store, tmp_path).path(dataclasses.replace(segment, crc32c=segment.crc32c ^ 1))
    assert list(tmp_path.iterdir()) == []


def test_threads_share_one_download(tmp_path: Path) -> None:
    store = remote()
    [segment] = written(store)
    files = files_of(store, tmp_path)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(files.path(segment))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1
    assert files.downloads == 1


def test_a_process_has_one_cache_for_a_store(tmp_path: Path) -> None:
    config = ShardConfig(ShardId(0), 1, "memory://", None, str(tmp_path / "a"), "object")
    assert segment_files(config) is segment_files(config)
    assert segment_files(dataclasses.replace(config, cache_directory=str(tmp_path / "b"))) is not segment_files(config)
