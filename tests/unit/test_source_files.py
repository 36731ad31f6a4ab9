"""The source of files over a store in memory: each file exactly once, through kills, changes and damage."""

from __future__ import annotations

import gzip
import io
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.append import AppendRequest
from core.clock import ManualClock, SystemClock
from core.errors import Fenced, InvalidName, NotFound
from malamute.sources import files as files_source
from malamute.sources.directory import EventFile
from malamute.sources.files import FilesPlan, FilesSource
from malamute.sources.report import Report
from tests.support.memory_store import MemoryStore


class Killed(BaseException):
    """The process ends here."""


class Mortal(MemoryStore):
    """A store whose writer is killed at the n-th append, before or after it was stored."""

    def __init__(self, rng: random.Random | None = None) -> None:
        super().__init__()
        self.lives = 10**9
        self.rng = rng or random.Random(1)

    def result(self, pending: AppendRequest, timeout_s: float):
        self.lives -= 1
        if self.lives < 0:
            if self.rng.random() < 0.5:
                super().result(pending, timeout_s)
            raise Killed
        return super().result(pending, timeout_s)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch) -> None:
    monkeypatch.setattr(files_source, "SOURCE_BATCH_BYTES_TARGET", 200)


def source(directory: Path, store: MemoryStore, *, settle_s: float = 0.0, once: bool = True, stopping=None):
    report = Report(io.StringIO(), SystemClock())
    plan = FilesPlan("logs", directory, settle_s, once)
    return FilesSource(plan, store, report, SystemClock(), stopping or threading.Event()), report


def drain(directory: Path, store: MemoryStore, **options) -> Report:
    made, report = source(directory, store, **options)
    made.run()
    return report


def said(report: Report) -> str:
    return report.out.getvalue()  # type: ignore[attr-defined]


def lines(count: int, first: int = 0) -> bytes:
    return b"".join(b'{"n": %d}\n' % n for n in range(first, first + count))


def stored(store: MemoryStore) -> Counter[int]:
    return Counter(event["n"] for event in store.events["logs"])


def states(store: MemoryStore) -> list[tuple[str, str]]:
    return [(event["file.path"], event["state"]) for event in store.events["logs_files"]]


def test_every_form_is_read_once_and_written_down(tmp_path):
    (tmp_path / "a.ndjson").write_bytes(lines(50))
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b.jsonl.gz").write_bytes(gzip.compress(lines(50, 50)))
    (tmp_path / "c.json").write_bytes(b'[{"n": 100}, {"n": 101}]')
    pq.write_table(pa.table({"n": list(range(102, 150))}), tmp_path / "d.parquet")
    for name in ("e.ndjson.tmp", ".f.ndjson", "_g.ndjson", "h.txt", "i.parquet.gz"):
        (tmp_path / name).write_bytes(lines(1, 999))
    (tmp_path / "empty.ndjson").write_bytes(b"")
    store = Mortal()
    for _ in range(2):
        report = drain(tmp_path, store)
        assert stored(store) == Counter(range(150))
    assert report.counts.events == 0 and report.counts.whole
    done = [path for path, state in states(store) if state == "stored"]
    assert sorted(done) == ["a.ndjson", "below/b.jsonl.gz", "c.json", "d.parquet", "empty.ndjson"]
    (entry,) = (e for e in store.events["logs_files"] if e["file.path"] == "a.ndjson" and e["state"] == "stored")
    assert (entry["events"], entry["refused"], entry["directory"]) == (50, 0, str(tmp_path))


@pytest.mark.parametrize("seed", range(8))
def test_killed_at_any_append_it_goes_on_in_the_middle_of_a_file(tmp_path, seed):
    rng = random.Random(seed)
    total = refused = 0
    for number in range(4):
        data = bytearray()
        for _ in range(rng.randrange(1, 120)):
            if rng.random() < 0.1:
                data += b"not json\n"
                refused += 1
            else:
                data += b'{"n": %d}\n' % total
                total += 1
        name, body = (
            (f"{number}.ndjson", bytes(data)) if rng.random() < 0.5 else (f"{number}.json.gz", gzip.compress(data))
        )
        (tmp_path / name).write_bytes(body)
    pq.write_table(pa.table({"n": list(range(total, total + 200))}), tmp_path / "t.parquet", row_group_size=64)
    total += 200
    store = Mortal(rng)
    kills = 0
    while True:
        store.lives = rng.randrange(0, 12)
        try:
            drain(tmp_path, store)
            break
        except Killed:
            kills += 1
    assert kills > 0
    assert stored(store) == Counter(range(total))
    kept = Counter((event["file.path"], event["file.byte"]) for event in store.events["logs_refused"])
    assert len(kept) == refused and set(kept.values()) <= {1}
    entries = [event for event in store.events["logs_files"] if event["state"] == "stored"]
    assert len(entries) == 5
    assert (sum(e["events"] for e in entries), sum(e["refused"] for e in entries)) == (total, refused)


def test_refused_lines_are_kept_with_their_place(tmp_path):
    (tmp_path / "a.ndjson").write_bytes(b'{"n": 0}\nnot json\n{"n": 1}\n\xff\n')
    store = MemoryStore()
    report = drain(tmp_path, store)
    assert report.counts.refused == 2 and "2 refused records are in logs_refused" in said(report)
    first, second = store.events["logs_refused"]
    assert first["file.path"] == str(tmp_path / "a.ndjson")
    assert (first["file.line"], first["file.byte"], first["value"]) == (2, 9, "not json")
    assert second["value"] == b"\xff"


def test_a_file_that_grows_is_left_until_it_rests(tmp_path):
    file = tmp_path / "a.ndjson"
    file.write_bytes(lines(3))
    store = MemoryStore()
    report = drain(tmp_path, store, settle_s=100)
    assert stored(store) == Counter() and "left for the next run" in said(report)
    os.utime(file, (time.time() - 200,) * 2)
    drain(tmp_path, store, settle_s=100)
    assert stored(store) == Counter(range(3))


def test_a_file_that_changes_later_is_reported_and_not_read_again(tmp_path):
    file = tmp_path / "a.ndjson"
    file.write_bytes(lines(3))
    store = MemoryStore()
    drain(tmp_path, store)
    with file.open("ab") as more:
        more.write(lines(3, 3))
    report = drain(tmp_path, store)
    assert stored(store) == Counter(range(3))
    assert "CHANGED: a.ndjson" in said(report) and not report.counts.whole


def test_a_renamed_file_is_known(tmp_path):
    (tmp_path / "a.ndjson").write_bytes(lines(3))
    store = MemoryStore()
    drain(tmp_path, store)
    (tmp_path / "a.ndjson").rename(tmp_path / "a-1.ndjson")
    report = drain(tmp_path, store)
    assert stored(store) == Counter(range(3))
    assert "stored already" in said(report) and report.counts.whole


def test_a_damaged_file_fails_by_name_and_the_next_is_read(tmp_path):
    whole = gzip.compress(os.urandom(100) + lines(500))
    (tmp_path / "a.ndjson.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.ndjson").write_bytes(lines(3))
    (tmp_path / "c.parquet").write_bytes(b"PAR1 nonsense")
    store = MemoryStore()
    report = drain(tmp_path, store)
    assert sorted(path for path, state in states(store) if state == "failed") == ["a.ndjson.gz", "c.parquet"]
    assert report.counts.files_failed == 2 and "FAILED: c.parquet" in said(report)
    before = stored(store)
    drain(tmp_path, store)
    assert stored(store) == before and before[2] >= 1


def test_a_file_that_changed_between_two_runs_in_its_middle_fails_by_name(tmp_path):
    file = tmp_path / "a.ndjson"
    file.write_bytes(lines(200))
    store = Mortal()
    store.lives = 4
    with pytest.raises(Killed):
        drain(tmp_path, store)
    store.lives = 10**9
    file.write_bytes(lines(10))
    report = drain(tmp_path, store)
    assert "changed or removed while it was read" in said(report)
    assert max(stored(store).values()) == 1 and len(stored(store)) < 200


def test_positions_that_the_store_has_forgotten_are_not_guessed(tmp_path, monkeypatch):
    (tmp_path / "a.ndjson").write_bytes(lines(200))
    store = Mortal()
    store.lives = 4
    with pytest.raises(Killed):
        drain(tmp_path, store)
    before, store.lives = stored(store), 10**9
    store.producers.clear()
    later = ManualClock(time.time_ns() // 1000 + 8 * 86_400 * 10**6)
    report = Report(io.StringIO(), later)
    FilesSource(FilesPlan("logs", tmp_path, 0.0, True), store, report, later, threading.Event()).run()
    assert "forgotten" in said(report) and stored(store) == before


def test_a_watched_directory_is_read_as_files_come_and_ends_when_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(files_source, "POLL_S", 0.02)
    store, stopping = MemoryStore(), threading.Event()
    watching, report = source(tmp_path, store, once=False, stopping=stopping)
    thread = threading.Thread(target=watching.run)
    thread.start()
    for number in range(3):
        (tmp_path / ".part").write_bytes(lines(10, 10 * number))
        (tmp_path / ".part").rename(tmp_path / f"{number}.ndjson")
        deadline_s = time.monotonic() + 30
        while len(stored(store)) < 10 * (number + 1):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    stopping.set()
    thread.join(30)
    assert not thread.is_alive() and stored(store) == Counter(range(30)) and report.counts.files == 3


def test_a_second_source_of_a_directory_takes_over(tmp_path, monkeypatch):
    monkeypatch.setattr(files_source, "POLL_S", 0.02)
    store = MemoryStore()
    first, _ = source(tmp_path, store, once=False)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            first.run()
        except Fenced as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not store.producers:
        time.sleep(0.01)
    time.sleep(0.1)
    drain(tmp_path, store)
    (tmp_path / "a.ndjson").write_bytes(lines(3))
    thread.join(30)
    assert "has taken over" in str(failures[0])
    drain(tmp_path, store)
    assert stored(store) == Counter(range(3))


def test_mistakes_are_named(tmp_path):
    with pytest.raises(NotFound, match="no directory"):
        drain(tmp_path / "nowhere", MemoryStore())
    with pytest.raises(InvalidName, match="producer id"):
        source(tmp_path / ("x" * 300), MemoryStore())


def test_a_time_in_the_future_is_another_clocks():
    file = EventFile(10**18, "a", 1, 1, 1)
    assert not file.is_settled(10**18 - 10**9, settle_s=2)
    assert file.is_settled(10**18 - 3 * 10**9, settle_s=2)
    assert file.is_settled(10**18 + 3 * 10**9, settle_s=2)
