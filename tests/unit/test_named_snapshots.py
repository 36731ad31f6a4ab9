"""Named snapshots: what they hold and lease, names and times; a crash leaves each whole or not at all."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from core.clock import ManualClock
from core.errors import Corrupt, InvalidName, NotFound, SnapshotExists, SnapshotExpired, Unavailable
from core.ids import ShardId
from core.limits import QUERY_SECONDS_MAX, SNAPSHOT_TAKE_S_MAX
from storage.catalog import Catalog, CatalogStore
from storage.keys import snapshot_key
from storage.local_objects import LocalObjectStore
from storage.manifest_format import Manifest
from storage.named_snapshot_format import (
    NamedSnapshot,
    decode_snapshot,
    decode_summary,
    encode_snapshot,
    names_of,
    summary_of,
)
from storage.named_snapshots import NamedSnapshots, leased_names
from storage.shard import Shard
from storage.storage_format import open_storage
from storage.stream_settings import StreamSettings
from tests.support.shards import STREAM, TENANT, append, objects_on, open_on, read_segment
from tests.support.simfs import SimFileSystem

SHARDS = (ShardId(0),)
DAY_S = 86_400.0
PAGE = Path(__file__).resolve().parents[2] / "docs" / "formats" / "snapshot.md"


class Rig:
    """One shard with a catalog on a simulated file system."""

    def __init__(self, fs: SimFileSystem | None = None) -> None:
        self.clock = ManualClock()
        self.fs = fs or SimFileSystem()
        self.objects = objects_on(self.fs)
        self.shard: Shard = open_on(self.fs, clock=self.clock, objects=self.objects)
        open_storage(self.objects, 1)
        catalog = CatalogStore(self.objects, self.clock, 1)
        catalog.ensure_stream(TENANT, StreamSettings(STREAM))
        self.snapshots = NamedSnapshots(self.objects, self.clock, catalog)
        self.written = 0
        self.epoch = self.shard.open_producer(TENANT, STREAM, "p").epoch

    def write(self, count: int = 3) -> None:
        numbers = list(range(self.written * 10, self.written * 10 + count))
        append(self.shard, "p", self.epoch, self.written, numbers)
        self.written += 1

    def take(self, name: str, tenant: str | None = TENANT, ttl_s: float | None = None, flush: Any = None) -> Any:
        return self.snapshots.take(tenant, name, ttl_s, SHARDS, flush or self.shard.flush)


def numbers_in(snapshot: NamedSnapshot, objects: LocalObjectStore) -> list[int]:
    return sorted(n for s in snapshot.segments for n in read_segment(objects, s.name).column("n").to_pylist())


def test_a_snapshot_holds_what_was_acknowledged_before_it_and_nothing_later():
    rig = Rig()
    rig.write()
    taken = rig.take("before")
    rig.write()
    rig.shard.flush()
    assert numbers_in(rig.snapshots.get(TENANT, "before"), rig.objects) == [0, 1, 2]
    assert (taken.events, taken.expires_at_us) == (3, None)
    assert rig.snapshots.all(TENANT) == [taken]


def test_a_tenants_snapshot_has_only_its_own_events_and_no_other_tenant_sees_it():
    rig = Rig()
    rig.write()
    rig.take("mine", "acme")
    assert list(rig.snapshots.get("acme", "mine").segments) == []
    assert rig.snapshots.get("acme", "mine").catalog.tenants == {"acme": {}}
    assert leased_names(rig.objects, rig.clock.now_us()) == set()
    with pytest.raises(NotFound, match="there are none"):
        rig.snapshots.get(TENANT, "mine")


def test_a_snapshot_of_all_tenants_keeps_what_a_new_store_needs():
    rig = Rig()
    rig.write()
    rig.take("whole", None)
    (manifest,) = rig.snapshots.get(None, "whole").manifests
    assert manifest.producers[(TENANT, STREAM, "p")].last_sequence == 0
    assert rig.snapshots.get(None, "whole").catalog.stream(TENANT, STREAM) is not None


def test_names_are_checked_and_taken_once():
    rig = Rig()
    rig.take("deploy-1")
    with pytest.raises(SnapshotExists, match="deploy-1"):
        rig.take("deploy-1")
    with pytest.raises(NotFound, match="did you mean 'deploy-1'"):
        rig.snapshots.get(TENANT, "deploy-l")
    with pytest.raises(NotFound, match="there are: deploy-1"):
        rig.snapshots.drop(TENANT, "other")
    for name in ("", "2026-01-01", "a/b", "_all", "x" * 64):
        with pytest.raises(InvalidName):
            rig.take(name)


def test_dropping_lets_go_of_the_files_and_frees_the_name():
    rig = Rig()
    rig.write()
    rig.take("a")
    assert len(leased_names(rig.objects, rig.clock.now_us())) == 2
    rig.snapshots.drop(TENANT, "a")
    assert leased_names(rig.objects, rig.clock.now_us()) == set()
    assert rig.take("a").events == 3


def test_an_expired_snapshot_answers_no_more_but_leases_its_files_while_queries_may_run():
    rig = Rig()
    rig.write()
    rig.take("a", ttl_s=DAY_S)
    rig.clock.advance(DAY_S - 1)
    assert rig.snapshots.get(TENANT, "a").name == "a"
    rig.clock.advance(1)
    with pytest.raises(SnapshotExpired, match="expired"):
        rig.snapshots.get(TENANT, "a")
    assert rig.snapshots.all(TENANT) == []
    assert len(leased_names(rig.objects, rig.clock.now_us())) == 2
    rig.snapshots.drop_expired()
    assert rig.objects.list("snapshots/")
    rig.clock.advance(QUERY_SECONDS_MAX)
    assert leased_names(rig.objects, rig.clock.now_us()) == set()
    rig.snapshots.drop_expired()
    assert rig.objects.list("snapshots/") == []


def test_the_name_of_an_expired_snapshot_is_free():
    rig = Rig()
    rig.take("nightly", ttl_s=DAY_S)
    rig.write()
    rig.clock.advance(DAY_S)
    assert rig.take("nightly", ttl_s=DAY_S).events == 3


def test_a_snapshot_whose_files_went_away_meanwhile_is_taken_anew():
    rig = Rig()
    rig.write()
    rig.shard.flush()
    (segment,) = rig.shard.snapshot(TENANT, STREAM).segments
    data = rig.objects.get(segment.name)
    rig.objects.delete([segment.name])

    def flush() -> None:
        if flushed:
            rig.objects.put_new(segment.name, data)
        flushed.append(True)

    flushed: list[bool] = []
    assert rig.take("a", flush=flush).events == 3
    assert len(flushed) == 2


def test_a_snapshot_that_took_longer_than_replaced_files_live_is_none():
    rig = Rig()
    rig.write()
    rig.fs.after_operation = lambda operation, path: (
        rig.clock.advance(SNAPSHOT_TAKE_S_MAX) if "snapshots" in path else None
    )
    with pytest.raises(Unavailable, match="not taken"):
        rig.take("a")
    rig.fs.after_operation = None
    assert rig.objects.list("snapshots/") == []


def test_a_damaged_snapshot_lets_nothing_be_removed_and_can_be_dropped():
    rig = Rig()
    rig.write()
    rig.take("good")
    data = bytearray(rig.objects.get(snapshot_key(TENANT, "good")))
    data[-1] ^= 1
    rig.objects.put_new(snapshot_key(TENANT, "bad"), bytes(data))
    for read in (lambda: rig.snapshots.get(TENANT, "bad"), lambda: leased_names(rig.objects, 0)):
        with pytest.raises(Corrupt):
            read()
    rig.snapshots.drop(TENANT, "bad")
    assert len(leased_names(rig.objects, 0)) == 2


def test_every_flipped_byte_of_a_snapshot_is_noticed():
    rig = Rig()
    rig.write()
    rig.take("a", None)
    data = rig.objects.get(snapshot_key(None, "a"))
    snapshot = decode_snapshot(data)
    assert encode_snapshot(snapshot) == data
    assert decode_summary(data) == (summary_of(snapshot), sorted(names_of(snapshot)))
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(Corrupt):
            decode_snapshot(bytes(damaged))


def test_the_worked_example_of_the_page():
    created_at_us = 1_767_323_045_000_000
    manifest = Manifest(0, 2, 1, created_at_us=created_at_us, writer=7)
    snapshot = NamedSnapshot("nightly", "default", created_at_us, None, Catalog(1, {"default": {}}), (manifest,))
    (block,) = re.findall(r"```hex\n(.*?)```", PAGE.read_text(), re.S)
    shown = bytes.fromhex("".join(line.split("  ", 1)[1].split("  ")[0] for line in block.splitlines()))
    assert encode_snapshot(snapshot) == shown
    assert decode_snapshot(shown) == snapshot


@pytest.mark.parametrize("seed", range(4))
def test_a_crash_at_any_step_leaves_the_snapshot_whole_or_not_at_all(seed):
    assert crashes_while_taking(seed) > 10


def crashes_while_taking(seed: int) -> int:
    """Check what power cuts and kills leave after every change that a snapshot makes; how many."""
    rng = random.Random(seed)
    rig = Rig()
    for _ in range(rng.randrange(1, 3)):
        rig.write(rng.randrange(1, 5))
    checked = 0

    def observe(operation: str, path: str) -> None:
        nonlocal checked
        for state in (rig.fs.killed(), *rig.fs.crash_states(rng, 3)):
            check_state(state, rig, must_be_there=False)
            checked += 1

    rig.fs.after_operation = observe
    taken = rig.take("a", rng.choice([TENANT, None]))
    rig.fs.after_operation = None
    for state in (rig.fs.killed(), *rig.fs.crash_states(rng, 8)):
        check_state(state, rig, must_be_there=True)
    assert taken.events > 0
    return checked


def check_state(state: SimFileSystem, rig: Rig, *, must_be_there: bool) -> None:
    objects = objects_on(state)
    found = objects.list("snapshots/")
    assert found or not must_be_there
    for info in found:
        snapshot = decode_snapshot(objects.get(info.key))
        names = names_of(snapshot)
        assert names <= {other.key for other in objects.list("shards/")}
        assert leased_names(objects, 0) == names
        # What recovery removes as orphans is none of it.
        open_on(state, clock=rig.clock).abandon()
        assert names <= {other.key for other in objects.list("shards/")}
