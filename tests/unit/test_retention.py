"""Retention: what is too old or too much, what the shard removes of it, and what is hidden meanwhile."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from core.clock import ManualClock
from core.errors import InvalidQuery, InvalidSettings, NotFound
from malamute.retention import retention_as_given
from storage.catalog import CatalogStore, StreamSettings, decode_catalog, encode_catalog
from storage.erasure import Eraser
from storage.local_objects import LocalObjectStore
from storage.manifest_format import Erased
from storage.retention import Expired, Retention, check_retention, expired, retention_of
from storage.snapshot import Segment
from tests.support.shards import TENANT, objects_on, stored_rows
from tests.support.simfs import SimFileSystem
from tests.unit.test_erasure import Life

DAY_US = 86_400_000_000
NOW_US = 20_000 * DAY_US + 12_345_678


def segment(name: str, first_us: int, last_us: int, size: int = 1_000) -> Segment:
    window = (first_us // DAY_US * DAY_US, (last_us // DAY_US + 1) * DAY_US)
    return Segment(name, TENANT, "logs", *window, 10, size, 0, first_us, last_us, 0, 9, False, (), ())


def test_the_cut_moves_in_steps_of_a_hundredth_and_never_before_its_age() -> None:
    retention = Retention(age_us=30 * DAY_US)
    cuts = [retention.cut_us(NOW_US + minute * 60_000_000) for minute in range(24 * 60)]
    assert all(cut is not None and cut <= NOW_US + at * 60_000_000 - 30 * DAY_US for at, cut in enumerate(cuts))
    assert len(set(cuts)) in (24, 25)  # at most one an hour
    assert Retention(bytes_max=1 << 30).cut_us(NOW_US) is None


@pytest.mark.parametrize("beyond_us", [-1, 0, 1])
def test_a_segment_goes_when_its_newest_event_is_before_the_cut(beyond_us: int) -> None:
    retention = Retention(age_us=30 * DAY_US)
    cut_us = retention.cut_us(NOW_US)
    assert cut_us is not None
    found = expired(retention, [segment("one", cut_us - DAY_US, cut_us + beyond_us)], NOW_US)
    assert found == Expired(frozenset({"one"} if beyond_us < 0 else ()))


def test_only_what_reaches_far_beyond_the_cut_is_split() -> None:
    retention = Retention(age_us=30 * DAY_US)
    cut_us = retention.cut_us(NOW_US)
    assert cut_us is not None
    soon, late = segment("soon", cut_us - DAY_US, cut_us + DAY_US), segment("late", cut_us - 1, cut_us + 20 * DAY_US)
    assert expired(retention, [soon, late], NOW_US) == Expired(split=frozenset({"late"}))


def test_by_size_the_oldest_windows_go_until_the_rest_fits() -> None:
    segments = [segment(f"{day}", day * DAY_US, day * DAY_US + 5) for day in range(10)]
    random.Random(1).shuffle(segments)
    assert expired(Retention(bytes_max=10_000), segments, NOW_US).whole == frozenset()
    assert expired(Retention(bytes_max=9_999), segments, NOW_US).whole == {"0"}
    assert expired(Retention(bytes_max=2_500), segments, NOW_US).whole == {str(day) for day in range(8)}
    both = Retention(age_us=NOW_US - 5 * DAY_US, bytes_max=4_000)
    assert expired(both, segments, NOW_US).whole == {str(day) for day in range(6)}


def test_a_backward_step_of_the_clock_removes_nothing_more() -> None:
    retention = Retention(age_us=30 * DAY_US)
    held = [segment(f"{day}", NOW_US - day * DAY_US, NOW_US - day * DAY_US) for day in range(60)]
    now = expired(retention, held, NOW_US).whole
    assert expired(retention, held, NOW_US - 5 * DAY_US).whole < now


def test_the_shard_removes_whole_segments_by_one_edit_and_counts_them() -> None:
    life = Life()
    life.flush(4)
    version = life.shard.manifest.version
    names = [segment.name for segment in life.shard.manifest.segments]
    eraser = Eraser(life.shard, life.objects, life.bytes_of, life.clock, lambda: None)
    eraser.expire(Expired(frozenset({*names[:2], "gone long ago"})), None, 60.0)
    manifest = life.shard.manifest
    assert (manifest.version, manifest.erased) == (version + 1, {(0, 0): Erased(6, 2)})
    assert [n for _, n in stored_rows(life.shard, life.objects)] == list(range(6, 12))
    eraser.expire(Expired(frozenset(names[:2])), None, 60.0)
    assert life.shard.manifest == manifest


def test_a_split_segment_is_rewritten_when_most_of_it_is_expired() -> None:
    life = Life()
    life.flush(2)
    few, most = life.shard.manifest.segments
    eraser = Eraser(life.shard, life.objects, life.bytes_of, life.clock, lambda: None)
    found = {few.name: np.array([0]), most.name: np.array([3, 4])}
    eraser.expire(Expired(split=frozenset(found)), lambda segment: found[segment.name], 60.0)
    assert [n for _, n in stored_rows(life.shard, life.objects)] == [0, 1, 2, 5]
    assert life.shard.manifest.erased == {(0, 0): Erased(2, 1)}


def test_a_stream_has_its_own_retention_or_that_of_its_tenant() -> None:
    own = {"": Retention(age_us=DAY_US), "audit": Retention()}
    assert retention_of(own, "logs") == Retention(age_us=DAY_US)
    assert retention_of(own, "audit") == Retention()
    assert retention_of({}, "logs") is None


def test_the_catalog_keeps_retentions_beside_streams_and_deletes() -> None:
    objects: LocalObjectStore = objects_on(SimFileSystem())
    catalog = CatalogStore(objects, ManualClock(), 1)
    with pytest.raises(NotFound, match="logs"):
        catalog.set_retention(TENANT, "logs", Retention(age_us=DAY_US))
    catalog.ensure_stream(TENANT, StreamSettings("logs"))
    catalog.set_retention(TENANT, "logs", Retention(age_us=DAY_US))
    catalog.set_retention(TENANT, "", Retention(bytes_max=1 << 30))
    catalog.ensure_stream(TENANT, StreamSettings("later"))
    other = CatalogStore(objects, ManualClock(), 1)
    assert other.retentions(TENANT) == {"logs": Retention(age_us=DAY_US), "": Retention(bytes_max=1 << 30)}
    assert other.retentions("nobody") == {}
    loaded = other.load()
    assert decode_catalog(encode_catalog(loaded)) == loaded
    assert replace(loaded, retentions={}) != loaded


def test_what_a_caller_says_is_a_length_and_a_size() -> None:
    assert retention_as_given("30d", "100GB") == Retention(30 * DAY_US, 100 * 10**9)
    with pytest.raises(InvalidQuery, match="age '30x'"):
        retention_as_given("30x", None)
    with pytest.raises(InvalidSettings, match="bytes '100QB'"):
        retention_as_given(None, "100QB")
    with pytest.raises(InvalidSettings, match="1 minute"):
        check_retention(Retention(age_us=5))
    with pytest.raises(InvalidSettings, match="1048576"):
        check_retention(Retention(bytes_max=5))
