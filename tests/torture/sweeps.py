"""T7 and T8: files cut and flipped at each byte. A seed is one of SLICES slices of all positions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache

from core.append import LOCAL
from core.errors import Corrupt, MalamuteError
from storage.segment_index import SegmentIndexes
from storage.segment_reader import SegmentFiles
from storage.shard import Shard
from storage.wal_format import FILE_HEADER_BYTES
from tests.support.shards import ROOT, STREAM, TENANT, append, objects_on, open_on, random_id, stored_rows
from tests.support.simfs import SimFileSystem
from tests.support.wal_scenario import DIRECTORY, batch, open_wal, replayed
from tests.support.wal_scenario import append as append_record

SLICES = 64
LAST_BYTES = 65_536
MASKS = (0x01, 0x80, 0xFF)


def cuts(seed: int) -> dict[str, int]:
    """Cut a WAL at positions of its last 65,536 bytes: exactly the whole records before the cut are replayed."""
    name, data, ends = _long_wal()
    positions = range(len(data) - LAST_BYTES + seed % SLICES, len(data), SLICES)
    for cut in positions:
        found = replayed(_one_file(name, data[:cut]))
        assert len(found.records) == sum(end <= cut for end in ends), cut
        assert [record.first_offset for record in found.batches] == list(range(len(found.records))), cut  # type: ignore[union-attr]
    return {"cuts": len(positions)}


@cache
def _long_wal() -> tuple[str, bytes, list[int]]:
    """(name, bytes, end of each record)."""
    rng = random.Random(7)
    fs = SimFileSystem()
    wal = open_wal(fs)
    (name,) = fs.list(DIRECTORY)
    ends: list[int] = []
    while wal.bytes < FILE_HEADER_BYTES + LAST_BYTES:
        append_record(wal, batch(len(ends), body=rng.randbytes(rng.choice((40, 700, 3000)))), sync=False)
        ends.append(fs.size(f"{DIRECTORY}/{name}"))
    return name, fs.read(f"{DIRECTORY}/{name}"), ends


def _one_file(name: str, data: bytes) -> SimFileSystem:
    fs = SimFileSystem()
    fs.make_directories(DIRECTORY)
    fs.create(f"{DIRECTORY}/{name}").write(data)
    return fs


def flips(seed: int) -> dict[str, int]:
    """Flip bytes of every file of a shard: refused with an error, or answered with exactly what was acknowledged."""
    rng = random.Random(seed)
    files, rows, tail = _small_shard()
    outcomes = {"flips": 0, "reported": 0, "harmless": 0, "cut an unsynced tail": 0}
    for name, at in _positions(files, seed % SLICES):
        damaged = bytearray(files[name])
        damaged[at] ^= rng.choice(MASKS)
        outcomes["flips"] += 1
        try:
            found = _read(_store({**files, name: bytes(damaged)}))
        except MalamuteError as error:
            assert isinstance(error, Corrupt), f"byte {at} of {name}: {error!r}"
            outcomes["reported"] += 1
            continue
        if found == rows:
            outcomes["harmless"] += 1
            continue
        assert "/wal/" in name and found == rows[: len(found)] and len(found) >= len(rows) - tail, (name, at)
        outcomes["cut an unsynced tail"] += 1
    return outcomes


def _positions(files: dict[str, bytes], first: int) -> Iterator[tuple[str, int]]:
    for name, data in files.items():
        yield from ((name, at) for at in range(first, len(data), SLICES))


@cache
def _small_shard() -> tuple[dict[str, bytes], list[tuple[int, int]], int]:
    """(files, rows, how many of them were never synced) of a shard with a segment and a WAL."""
    fs = SimFileSystem()
    shard = open_on(fs)
    epoch = shard.open_producer(TENANT, STREAM, "p").epoch
    for sequence in range(3):
        append(shard, "p", epoch, sequence, range(10 * sequence, 10 * sequence + 10), LOCAL)
        if sequence == 1:
            shard.flush()
    append(shard, "p", epoch, 3, [30, 31], "memory")
    shard.abandon()
    files = {path: fs.read(path) for path in _paths(fs, ROOT) if not path.endswith(("LOCK", "SHARD"))}
    rows = [(n, n) for n in range(32)]
    assert _read(_store(files)) == rows
    return files, rows, 2


def _paths(fs: SimFileSystem, directory: str) -> Iterator[str]:
    for name in fs.list(directory):
        path = f"{directory}/{name}"
        yield from _paths(fs, path) if fs.status(path).is_directory else [path]


def _store(files: dict[str, bytes]) -> SimFileSystem:
    fs = SimFileSystem()
    for path, data in {**files, f"{ROOT}/wal/0000/SHARD": b""}.items():
        fs.make_directories(path.rpartition("/")[0])
        fs.create(path).write(data)
    return fs


def _read(fs: SimFileSystem) -> list[tuple[int, int]]:
    """Recover, verify what queries verify before they read it, and read."""
    shard = open_on(fs, file_ids=random_id)
    objects = objects_on(fs)
    _verify(shard, fs)
    return stored_rows(shard, objects)


def _verify(shard: Shard, fs: SimFileSystem) -> None:
    objects = objects_on(fs)
    segments, indexes = SegmentFiles(objects, f"{ROOT}/cache", 2**20, fs), SegmentIndexes(objects, 2**20)
    for segment in shard.snapshot(TENANT, STREAM).segments:
        segments.path(segment)
        indexes.get(segment)
