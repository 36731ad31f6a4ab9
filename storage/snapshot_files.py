"""Owns the files that a snapshot of all tenants names, and copying them: each verified on its way. Knows no layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import google_crc32c

from core.errors import Corrupt
from core.limits import COPIES_AT_ONCE
from storage.dedup_run import CHECKED_FROM
from storage.keys import index_key
from storage.named_snapshot_format import NamedSnapshot
from storage.objects import AlreadyExists, ObjectStore


class SnapshotFile(NamedTuple):
    """An object that a manifest names: `crc32c` is that of its bytes from `checked_from` on."""

    name: str
    bytes: int
    crc32c: int
    checked_from: int = 0


@dataclass(slots=True)
class Copied:
    """How far a copy is: files and bytes in all, and those that were there already or are done; `new` were copied."""

    files: int
    bytes: int
    files_done: int = 0
    bytes_done: int = 0
    files_new: int = 0
    bytes_new: int = 0


OnCopied = Callable[[Copied], None]


def files_of(snapshot: NamedSnapshot) -> list[SnapshotFile]:
    """Segments, their indexes and runs of ids, by name."""
    found: dict[str, SnapshotFile] = {}
    for segment in snapshot.segments:
        found[segment.name] = SnapshotFile(segment.name, segment.bytes, segment.crc32c)
        if segment.index_bytes:
            name = index_key(segment.name)
            found[name] = SnapshotFile(name, segment.index_bytes, segment.index_crc32c)
    for manifest in snapshot.manifests:
        for stream in manifest.id_runs.values():
            for run in stream.runs:
                found[run.name] = SnapshotFile(run.name, run.bytes, run.crc32c, CHECKED_FROM)
    return [found[name] for name in sorted(found)]


def verified(file: SnapshotFile, data: bytes, where: str) -> bytes:
    """`data` when these are the bytes of `file`, else raise Corrupt; `where` says where they were read."""
    crc = google_crc32c.value(memoryview(data)[file.checked_from :].tobytes() if file.checked_from else data)
    if (len(data), crc) != (file.bytes, file.crc32c):
        raise Corrupt(
            f"{file.name} in {where} has {len(data)} bytes with crc32c {crc:08x}, published were {file.bytes} with "
            f"{file.crc32c:08x}"
        )
    return data


def create_once(target: ObjectStore, key: str, data: bytes) -> None:
    """Create `key` unless it is there with these bytes: an earlier or another copy made it. Raises Corrupt."""
    try:
        target.put_new(key, data)
    except AlreadyExists:
        if target.get(key) != data:
            raise Corrupt(f"{key} is there with other bytes: remove it and try again") from None


def copy_all(
    files: Iterable[SnapshotFile],
    is_there: Callable[[SnapshotFile], bool],
    copy: Callable[[SnapshotFile], object],
    on_copied: OnCopied | None = None,
) -> Copied:
    """`copy` every file that is not there, some at once; the first error ends it."""
    wanted = list(files)
    progress = Copied(len(wanted), sum(file.bytes for file in wanted))
    missing = []
    for file in wanted:
        if is_there(file):
            progress.files_done += 1
            progress.bytes_done += file.bytes
        else:
            missing.append(file)
    for file in _each(missing, copy):
        progress.files_done += 1
        progress.files_new += 1
        progress.bytes_done += file.bytes
        progress.bytes_new += file.bytes
        if on_copied is not None:
            on_copied(progress)
    return progress


def _each(files: Iterable[SnapshotFile], work: Callable[[SnapshotFile], object]) -> Iterator[SnapshotFile]:
    """`files` as `work` is done with them."""
    left = iter(files)
    with ThreadPoolExecutor(COPIES_AT_ONCE, "copy") as pool:
        running: dict[Future[object], SnapshotFile] = {}
        while True:
            for file in islice(left, COPIES_AT_ONCE - len(running)):
                running[pool.submit(work, file)] = file
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                file = running.pop(future)
                future.result()
                yield file
