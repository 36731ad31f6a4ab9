"""The scrubber over a small store: what counts and what does not, at what rate, beside what changes the store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.clock import ManualClock
from core.errors import NotFound, Unavailable
from core.ids import ShardId
from core.limits import SCRUB_AGREE_S
from malamute.display_scrub import scrub_lines
from storage.catalog import CatalogStore
from storage.fs import LocalFileSystem
from storage.keys import index_key
from storage.local_objects import LocalObjectStore
from storage.manifest import ManifestEdit, ManifestStore
from storage.named_snapshots import NamedSnapshots
from storage.objects import ObjectStore
from storage.read_rate import ReadRate
from storage.scrub import Scrubber, ScrubOptions
from storage.snapshot import Segment
from storage.verify import StoragePlace
from storage.verify_report import CORRUPT
from tests.support.shards import open_on
from tests.support.verify_store import START_US, SmallStore, fill

FAST = 1 << 40


@pytest.fixture
def store(tmp_path: Path) -> SmallStore:
    return SmallStore(tmp_path / "data").make()


def scrubber_of(store: SmallStore, objects: ObjectStore | None = None, bytes_per_s: int = FAST) -> Scrubber:
    clock = ManualClock(START_US)
    place = StoragePlace("s", objects or store.objects, LocalFileSystem(), str(store.root / "wal"), clock)
    return Scrubber(place, ScrubOptions(3600.0, bytes_per_s), clock, clock.advance)


def found(scrubber: Scrubber, after_s: float = SCRUB_AGREE_S) -> list[tuple[str, str]]:
    """(kind, where) of what counts after one more round, `after_s` later."""
    scrubber._clock.advance(after_s)  # type: ignore[attr-defined]
    return [(one.kind, one.where) for one in scrubber.round().findings]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def copied(store: SmallStore, segment: Segment) -> Segment:
    """The same events under another name."""
    name = segment.name.replace("-00000001-0000", "-00000001-0098")
    for key, copy in ((segment.name, name), (index_key(segment.name), index_key(name))):
        (store.root / copy).write_bytes((store.root / key).read_bytes())
    return replace(segment, name=name)


def put_in_place_of(store: SmallStore, copy: Segment, segment: Segment) -> None:
    """Publish a manifest that names one segment instead of another, as after a merge."""
    manifests = ManifestStore(store.objects, ShardId(0), ManualClock(START_US))
    manifests.take_epoch()
    manifests.publish(ManifestEdit(add=(copy,), remove=(segment.name,)))


class Disturbed(LocalObjectStore):
    """Objects of which one read meets something else that happens just then."""

    def __init__(self, store: SmallStore, at: str, happens: Callable[[], None]) -> None:
        super().__init__(str(store.root), LocalFileSystem())
        self._at, self._happens = at, happens

    def get(self, key: str) -> bytes:
        if key.endswith(self._at) and self._at:
            self._at = ""
            self._happens()
        return super().get(key)


def test_a_sound_store_is_sound_and_not_changed(store: SmallStore) -> None:
    before = store.files()
    scrubber = scrubber_of(store)
    assert found(scrubber) == found(scrubber) == []
    assert store.files() == before
    last = scrubber.status()["last_round"]
    assert last["objects"] > len(store.manifest().segments) and last["errors"] == last["warnings"] == 0
    assert last["bytes"] > sum(len(data) for name, data in before.items() if name.endswith(".parquet"))


def test_damage_of_a_segment_counts_at_once_and_is_gone_when_it_is_mended(store: SmallStore) -> None:
    path = store.one("shards/0000/segments/**/*.parquet")
    sound = path.read_bytes()
    scrubber = scrubber_of(store)
    flip(path)
    assert found(scrubber) == [("corrupt", str(path.relative_to(store.root)))]
    path.write_bytes(sound)
    assert found(scrubber) == []


def test_a_log_that_is_damaged_counts_when_all_rounds_of_a_while_agree(store: SmallStore) -> None:
    scrubber = scrubber_of(store)
    path = store.one("wal/0000/*.wal")
    flip(path)
    assert found(scrubber) == []
    assert found(scrubber, after_s=SCRUB_AGREE_S / 2) == []
    ((kind, where),) = found(scrubber)
    assert (kind, where) == ("corrupt", str(path))


def test_what_nothing_names_counts_when_all_rounds_of_a_while_agree(store: SmallStore) -> None:
    segment = store.one("shards/0000/segments/**/*.parquet")
    scrubber = scrubber_of(store)
    orphan = segment.with_name(segment.name.replace("-00000001-0000", "-00000001-0099"))
    orphan.write_bytes(segment.read_bytes())
    assert found(scrubber) == []
    assert found(scrubber) == [("orphan", str(orphan.relative_to(store.root)))]
    assert scrubber.status()["last_round"]["warnings"] == 1


def test_what_is_published_while_a_round_is_under_way_does_not_count(
    store: SmallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = store.one("shards/0000/segments/**/*.parquet")
    flushed = segment.with_name(segment.name.replace("-00000001-0000", "-00000001-0099"))
    flushed.write_bytes(segment.read_bytes())
    scrubber = scrubber_of(store)
    monkeypatch.setattr("storage.scrub.named_objects", lambda *_: {str(flushed.relative_to(store.root))})
    assert found(scrubber) == found(scrubber) == []


@pytest.mark.parametrize("at", [0, -1])
def test_a_segment_that_is_replaced_before_or_after_it_is_looked_at_does_not_count(store: SmallStore, at: int) -> None:
    segments = store.manifest().segments
    copy = copied(store, segments[0])
    flip(store.root / segments[0].name)
    disturbed = Disturbed(store, segments[at].name, lambda: put_in_place_of(store, copy, segments[0]))
    assert found(scrubber_of(store, disturbed)) == []


def test_damage_of_what_only_a_named_snapshot_holds_counts(store: SmallStore) -> None:
    clock = ManualClock(START_US)
    snapshots = NamedSnapshots(store.objects, clock, CatalogStore(store.objects, clock, 1))
    snapshots.take("default", "held", None, [ShardId(0)], lambda: None)
    damaged = store.manifest().segments[0]
    put_in_place_of(store, copied(store, damaged), damaged)
    flip(store.root / damaged.name)
    assert (CORRUPT, damaged.name) in found(scrubber_of(store))


def test_a_shard_that_writes_and_flushes_meanwhile_is_sound(tmp_path: Path) -> None:
    store = SmallStore(tmp_path / "data").make()
    clock = ManualClock(START_US)
    shard = open_on(LocalFileSystem(), clock=clock, objects=store.objects, wal_directory=str(store.wal))
    rounds: list[list[tuple[str, str]]] = []
    for segment in store.manifest().segments:
        scrubber = scrubber_of(store, Disturbed(store, segment.name, lambda: fill(shard)))
        rounds += [found(scrubber), found(scrubber)]
    shard.close()
    assert rounds == [[]] * len(rounds) and rounds


def test_logs_on_disks_of_other_nodes_are_unread_and_no_finding(store: SmallStore) -> None:
    store.wal.rename(store.root / "elsewhere")
    scrubber = scrubber_of(store)
    assert found(scrubber) == found(scrubber) == []
    assert scrubber.status()["last_round"]["unread"] == 1


def test_reading_keeps_to_the_rate() -> None:
    clock = ManualClock(0)
    rate = ReadRate(1000, clock, clock.advance)
    for _ in range(10):
        rate.took(500)
    assert clock.steady_s() == pytest.approx(5.0)
    clock.advance(60.0)  # work between reads takes longer than they may: no read waits
    rate.took(500)
    assert clock.steady_s() == pytest.approx(65.0)
    assert rate.bytes == 5500


def test_a_round_takes_as_long_as_its_bytes(store: SmallStore) -> None:
    last = scrubber_of(store, bytes_per_s=10_000).round()
    assert last.seconds == pytest.approx(last.bytes / 10_000, rel=0.01)


def test_a_round_that_is_cut_off_is_said_and_tried_again(store: SmallStore) -> None:
    def away() -> None:
        raise Unavailable("the store is away")

    scrubber = scrubber_of(store, Disturbed(store, "format.json", away))
    with pytest.raises(Unavailable):
        scrubber.round()
    stopping = _Waits(3)
    scrubber = scrubber_of(store, Disturbed(store, "format.json", away))
    scrubber.run(stopping)
    assert scrubber.status()["rounds"] == 1 and scrubber.status()["failure"] is None
    assert stopping.pauses == [0.0, 60.0, 3600.0]


def test_a_storage_that_is_gone_is_said(tmp_path: Path) -> None:
    scrubber = scrubber_of(SmallStore(tmp_path))
    with pytest.raises(NotFound):
        scrubber.round()
    scrubber.run(_Waits(2))
    status = scrubber.status()
    assert "there is no malamute" in status["failure"] and status["last_round"] is None
    assert status["state"] == "waiting"


def test_what_the_status_says(store: SmallStore) -> None:
    def said(numbers: dict[str, Any]) -> list[str]:
        return [line.plain for line in scrub_lines(numbers, START_US + 90_000_000)]

    scrubber = scrubber_of(store)
    assert said({"state": "off"}) == []
    assert said(scrubber.status()) == ["scrub: no round is complete yet"]
    scrubber.round()
    (line,) = said(scrubber.status())
    assert line.startswith("scrub: nothing is wrong; the last round ended 1.5 min ago: ")
    segment = store.manifest().segments[0].name
    (store.root / segment).unlink()
    scrubber.round()
    assert said(scrubber.status())[1].startswith(f"  missing {segment}: the manifest names it")
    assert said({"state": "unavailable", "reason": "away"}) == ["scrub: the scrubber does not answer: away"]


class _Waits(threading.Event):
    """Set after so many waits, which take no time and are noted."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self._waits = waits

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.pauses.append(timeout)
        return len(self.pauses) >= self._waits
