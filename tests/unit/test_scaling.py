"""Changes of the number of shards, without Ray: every sender goes on, everybody dies, nothing is lost or doubled."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from core.append import LOCAL, OBJECT, AppendRequest
from core.batch import OFFSET
from core.errors import InvalidRequest, Moved
from core.ids import ShardId
from core.placement import first_placement, following
from storage.catalog import CatalogStore
from storage.erasure import Eraser
from storage.keys import origin_of
from storage.named_snapshots import NamedSnapshots
from storage.placements import STEADY, decode_placements, encode_placements
from storage.snapshot import Segment
from storage.storage_format import open_storage
from storage.verify import StoragePlace, verify_storage
from storage.verify_report import MISSING, Report
from tests.support.compacted import GRACE_S
from tests.support.scaling import NAMES, PLAIN, STREAMS, Course, Deployment, run
from tests.support.shards import TENANT, body, read_segment
from tests.support.simfs import SimFileSystem


def test_a_shard_number_is_never_used_again() -> None:
    deployment = Deployment(1, shards=4)
    seen = []
    for count in (2, 4, 3, 5):
        deployment.store.begin(count)
        deployment.finish()
        seen.append(deployment.placements.current.shards)
    assert seen == [(0, 1), (0, 1, 4, 5), (0, 1, 4), (0, 1, 4, 6, 7)]
    assert deployment.placements.retired == {2, 3, 5}
    assert [placement.version for placement in deployment.placements.history] == [1, 2, 3, 4, 5]


def test_the_segments_of_retired_shards_are_shared_out() -> None:
    after = following(first_placement(5), 2, 5, 7)
    assert after.shards == (0, 1) and after.heirs == {2: 0, 3: 1, 4: 0} and after.from_us == 7


@pytest.mark.parametrize("seed", range(20))
def test_heirs_have_lower_numbers(seed: int) -> None:
    """Queries rely on it: of the shards that have the same events, the lowest took them over last."""
    rng, placement, fresh = random.Random(seed), first_placement(1), 1
    for _ in range(30):
        placement = following(placement, rng.randint(1, 12), fresh, 0)
        fresh = max(fresh, placement.shards[-1] + 1)
        assert all(heir < shard for shard, heir in placement.heirs.items())


def test_placements_read_back_as_they_were() -> None:
    deployment = Deployment(1, shards=4)
    placements = deployment.store.begin(2)
    assert decode_placements(encode_placements(placements)) == placements == deployment.store.load()


def test_a_change_that_has_only_begun_can_be_called_off_and_one_that_moves_cannot() -> None:
    deployment = Deployment(1, shards=2)
    deployment.store.begin(3)
    assert deployment.store.begin(2).state == STEADY
    assert deployment.store.begin(3).coming == following(first_placement(2), 3, 3, deployment.clock.now_us())
    deployment.dies_at = 5  # when moving was written, before anything is sealed
    deployment.work()
    assert deployment.store.load().moving and deployment.deaths["coordinator"] == 1
    with pytest.raises(InvalidRequest, match="under way"):
        deployment.store.begin(2)
    deployment.finish()
    assert deployment.placements.current.shards == (0, 1, 3)


@pytest.mark.parametrize(("before", "after"), [(1, 3), (2, 4), (3, 1), (4, 2)])
def test_wherever_the_coordinator_dies_the_next_one_goes_on(before: int, after: int) -> None:
    dies_at = 1
    while True:
        deployment = Deployment(dies_at, shards=before)
        course = Course(deployment)
        for name in NAMES:
            course.send(name)
        course.drain()
        for name in NAMES[:: 1 + dies_at % 2]:  # in flight when shards are sealed
            course.send(name)
        deployment.store.begin(after)
        deployment.dies_at = dies_at
        deployment.work()
        course.check_reads()
        died = deployment.deaths["coordinator"]
        for name in NAMES:
            course.send(name)
        course.check_reads()
        deployment.finish()
        for name in NAMES:
            course.send(name)
        course.check()
        if not died:
            break
        dies_at += 1
    assert dies_at > 8


@pytest.mark.parametrize("level", [LOCAL, OBJECT])
def test_a_batch_that_was_stored_before_the_change_is_a_duplicate_after_it(level: str) -> None:
    deployment = Deployment(3, shards=2, level=level)
    requests = []
    for number in range(12):
        producer = f"p{number}"
        shard = deployment.placement.shard_of(TENANT, PLAIN, producer)
        epoch = deployment.open_producer(shard, TENANT, PLAIN, producer, 1).epoch
        request = AppendRequest(TENANT, PLAIN, producer, epoch, 0, body([number]), level, b"%d" % number)
        requests.append((shard, request, deployment.result((shard, request), 1.0)))
    for count in (4, 1, 3):
        deployment.store.begin(count)
        deployment.finish()
    placement, moved = deployment.placements.current, Counter[str]()
    for old, request, first in requests:
        shard = placement.shard_of(TENANT, PLAIN, request.producer)
        again = AppendRequest(*[getattr(request, name) for name in request.__slots__[:-1]], placement.version)
        answer = deployment.opened[shard].append(again)
        assert answer.duplicate and (answer.shard, answer.first_offset) == (first.shard, first.first_offset)
        moved["moved"] += shard != old
        with pytest.raises(Moved):
            deployment.opened[old].append(AppendRequest(TENANT, PLAIN, request.producer, 1, 1, body([1]), level))
    assert sorted(n for _, _, n in deployment.rows(PLAIN)) == list(range(12)) and moved["moved"]


def test_a_retired_shard_names_the_shard_that_stored_a_batch_before_it() -> None:
    deployment = Deployment(9, shards=1)
    epoch = deployment.open_producer(0, TENANT, PLAIN, "p3", 1).epoch
    request = AppendRequest(TENANT, PLAIN, "p3", epoch, 0, body([1, 2]))
    first = deployment.result((0, request), 1.0)
    deployment.store.begin(2)
    deployment.finish()
    assert deployment.placements.current.shard_of(TENANT, PLAIN, "p3") == 1
    deployment.store.begin(1)
    deployment.finish()
    deployment.retire()
    answer = deployment.result((1, replace(request, placement=2)), 1.0)
    assert answer.duplicate and (answer.shard, answer.first_offset, answer.last_offset) == (0, 0, 1)
    assert (first.shard, first.first_offset, first.last_offset) == (0, 0, 1)


def test_what_comes_in_right_before_a_seal_is_in_the_segments_of_the_shard() -> None:
    deployment = Deployment(6, shards=1)
    shard = deployment.opened[0]
    epoch = shard.open_producer(TENANT, PLAIN, "p").epoch
    flush, sequences = shard.flush, iter(range(2))

    def flush_and_append() -> int:
        rows = flush()
        for sequence in sequences:
            shard.append(AppendRequest(TENANT, PLAIN, "p", epoch, sequence, body([sequence])))
        return rows

    shard.flush = flush_and_append  # type: ignore[method-assign]
    shard.seal(2)
    assert shard.manifest.wal_floor == 2 and shard.manifest.producers[TENANT, PLAIN, "p"].last_sequence == 1
    with pytest.raises(Moved):
        shard.append(AppendRequest(TENANT, PLAIN, "p", epoch, 2, body([2])))


def test_positions_of_shards_that_go_are_known_to_those_that_stay() -> None:
    deployment = Deployment(7, shards=4)
    course = Course(deployment)
    for number in range(8):
        course.send(f"p{number}k")
    course.drain()
    deployment.store.begin(1)
    deployment.finish()
    course.check()


def test_an_older_incarnation_of_a_producer_stays_fenced_after_the_change() -> None:
    deployment = Deployment(4, shards=2)
    older, newer = Course(deployment), Course(deployment)
    for name in ("p1", "p1k"):
        older.send(name)
        older.drain()
        newer.send(name)
        newer.drain()
    deployment.store.begin(4)
    deployment.finish()
    for name in ("p1", "p1k"):
        older.send(name)
        with pytest.raises(Exception, match="was fenced by epoch"):
            older.sender(name).drain()
        newer.send(name)
        newer.sender(name).drain()


def test_verify_finds_each_event_once_at_the_shard_that_wrote_it() -> None:
    deployment = Deployment(5, shards=3, level=OBJECT)
    course = Course(deployment)
    open_storage(deployment.objects, 3)
    for stream in STREAMS.values():
        CatalogStore(deployment.objects, deployment.clock, 3).ensure_stream(TENANT, stream)
    for count in (4, 2, 3):
        for name in NAMES:
            course.send(name)
        course.drain()
        deployment.store.begin(count)
        deployment.dies_at = deployment.steps + 7
        deployment.work()
        check_sound(deployment, course)
        deployment.finish()
        check_sound(deployment, course)
    retired = sorted(deployment.placements.retired)
    moved = [
        segment.name
        for segment in deployment.opened[deployment.placements.history[-2].heirs[retired[0]]].manifest.segments
        if origin_of(segment.name) == retired[0]
    ]
    deployment.objects.delete(moved[:1])
    found = verified(deployment)
    assert {(item.kind, item.shard) for item in found.errors} == {(MISSING, retired[0])}


def erased_by_the_heir(deployment: Deployment) -> int:
    """Two shards become one, which erases the first event of each segment that it took over; how many are left."""
    course = Course(deployment)
    open_storage(deployment.objects, 2)
    CatalogStore(deployment.objects, deployment.clock, 2).ensure_stream(TENANT, STREAMS[PLAIN])
    while deployment.opened[1].snapshot(TENANT, PLAIN).visible_offset < 2:
        course.send(f"p{len(course.senders)}")
        course.drain()
    deployment.store.begin(1)
    deployment.finish()
    heir = deployment.opened[0]
    moved = [segment for segment in heir.manifest.segments if origin_of(segment.name) == 1]
    assert moved

    def first(segment: Segment) -> np.ndarray:
        return np.array(read_segment(deployment.objects, segment.name).column(OFFSET).to_pylist()[:1], np.int64)

    def content(segment: Segment) -> pa.Buffer:
        return pa.py_buffer(deployment.objects.get(segment.name))

    Eraser(heir, deployment.objects, content, deployment.clock, lambda: None).erase(moved, 1, first, 60.0)
    assert any("-by0000-" in segment.name for segment in heir.manifest.segments)
    return course.acknowledged[PLAIN] - len(moved)


def test_a_retired_shard_that_opens_again_leaves_what_its_heir_made_of_its_segments() -> None:
    deployment = Deployment(1, shards=2)
    for _ in range(3):
        deployment.kill(1)  # its epochs are newer than those of its heir
    left = erased_by_the_heir(deployment)
    deployment.kill(1)
    assert len(deployment.rows(PLAIN)) == left


def test_a_snapshot_of_all_tenants_holds_once_what_the_heirs_have() -> None:
    deployment = Deployment(1, shards=2)
    left = erased_by_the_heir(deployment)
    deployment.clock.advance(GRACE_S)
    assert deployment.opened[0].collect_garbage(GRACE_S) > 0
    catalog = CatalogStore(deployment.objects, deployment.clock, 2)
    snapshots = NamedSnapshots(deployment.objects, deployment.clock, catalog)
    taken = snapshots.take(None, "whole", None, [ShardId(0)], deployment.opened[0].flush)
    assert taken.events == left
    retired = snapshots.get(None, "whole").manifests[1]
    assert retired.shard == 1 and retired.producers  # what it answers to a batch that is sent again


@pytest.mark.parametrize("tenant", [TENANT, None])
def test_a_snapshot_is_of_the_shards_that_there_are_after_its_flush(tenant: str | None) -> None:
    deployment = Deployment(1, shards=2)
    course = Course(deployment)
    open_storage(deployment.objects, 2)
    catalog = CatalogStore(deployment.objects, deployment.clock, 2)
    catalog.ensure_stream(TENANT, STREAMS[PLAIN])
    for name in ("p1", "p2", "p3", "w1"):
        course.send(name)
    course.drain()

    def flush() -> None:
        for shard in deployment.opened.values():
            shard.flush()
        deployment.store.begin(1)
        deployment.finish()

    snapshots = NamedSnapshots(deployment.objects, deployment.clock, catalog)
    taken = snapshots.take(tenant, "whole", None, [ShardId(0), ShardId(1)], flush)
    assert taken.events == course.acknowledged[PLAIN]


def verified(deployment: Deployment) -> Report:
    place = StoragePlace("memory", deployment.objects, SimFileSystem(), None, deployment.clock)
    return verify_storage(place, deep=True)


def check_sound(deployment: Deployment, course: Course) -> None:
    report = verified(deployment)
    assert not report.findings, report.findings[:3]
    assert sum(shard.events for shard in report.shards) == sum(course.acknowledged.values())


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_lost_or_doubled_while_the_placement_changes_and_everybody_dies(seed: int) -> None:
    counts = run(seed)
    assert counts["events"] > 20
