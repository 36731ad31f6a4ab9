"""Segments that a shard took over from others are merged with each other: what they hold stays whose it was."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import pytest

from core.append import OBJECT
from core.placement import Placement
from storage.catalog import CatalogStore
from storage.keys import index_key, origin_of, segments_prefix, writer_of
from storage.storage_format import open_storage
from tests.support.scaling import NAMES, PLAIN, STREAMS, Course, Deployment, run
from tests.support.shards import TENANT
from tests.unit.test_scaling import check_sound


def deployment_of(shards: int) -> tuple[Deployment, Course]:
    deployment = Deployment(11, shards=shards, level=OBJECT)
    open_storage(deployment.objects, shards)
    for stream in STREAMS.values():
        CatalogStore(deployment.objects, deployment.clock, shards).ensure_stream(TENANT, stream)
    return deployment, Course(deployment)


def write(deployment: Deployment, course: Course, flushes: int = 3) -> None:
    for _ in range(flushes):
        for name in NAMES:
            course.send(name)
        course.drain()
        for shard in deployment.opened.values():
            shard.flush()


def merge(deployment: Deployment, shards: Iterable[int]) -> None:
    for shard in shards:
        deployment.compactions[shard].run()


def test_every_heir_in_turn_merges_what_it_took_over() -> None:
    deployment, course = deployment_of(4)
    heirs = []
    for count in (2, 1):  # 3 to 1, then to 0
        write(deployment, course)
        before = {stream: sorted(deployment.rows(stream)) for stream in STREAMS}
        deployment.store.begin(count)
        deployment.finish()
        segments = sum(len(shard.manifest.segments) for shard in deployment.opened.values())
        merge(deployment, deployment.placements.current.shards)
        check_sound(deployment, course)
        deployment.retire()
        for shard in deployment.opened.values():
            shard.collect_garbage(0.0)
        check_sound(deployment, course)
        assert sum(len(shard.manifest.segments) for shard in deployment.opened.values()) < segments
        assert {stream: sorted(deployment.rows(stream)) for stream in STREAMS} == before
        heirs.append(deployment.placements.current.shards[-1])
        assert any(writer_of(segment.name) == heirs[-1] for segment in deployment.opened[heirs[-1]].manifest.segments)
    assert heirs == [1, 0]
    heir = deployment.opened[0].manifest.segments
    assert {origin_of(segment.name) for segment in heir} == {0, 1, 2, 3}
    assert max(segment.level for segment in heir if origin_of(segment.name)) > 1
    course.check()


def test_an_heir_that_merges_before_its_placement_is_in_force_is_verified_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who gave the segments away, itself an heir, still names what went into the merge."""
    deployment, course = deployment_of(4)
    write(deployment, course)
    deployment.store.begin(2)  # 3 to 1
    deployment.finish()
    deployment.retire()
    adopt, merged = deployment.adopt, 0

    def adopt_and_merge(shards: Sequence[int], before: Placement, after: Placement) -> None:
        nonlocal merged
        adopt(shards, before, after)
        check_sound(deployment, course)
        merged = deployment.compactions[0].run()
        check_sound(deployment, course)

    monkeypatch.setattr(deployment, "adopt", adopt_and_merge)
    deployment.store.begin(1)
    deployment.finish()
    assert merged and {origin_of(segment.name) for segment in deployment.opened[0].manifest.segments} == {0, 1, 2, 3}
    check_sound(deployment, course)


def test_what_a_merge_that_died_left_beside_adopted_segments_goes_when_the_shard_opens() -> None:
    deployment, course = deployment_of(2)
    write(deployment, course)
    deployment.store.begin(1)
    deployment.finish()
    compaction, heir = deployment.compactions[0], deployment.opened[0]
    jobs = itertools.takewhile(lambda job: job is not None, iter(lambda: compaction.jobs.take(heir), ...))
    merged = [compaction.merged(job) for job in jobs if job is not None]
    orphans = {key for done in merged for s in done.outputs for key in (s.name, index_key(s.name))}
    adopted = {key for key in orphans if origin_of(key) == 1}
    assert adopted
    deployment.kill(0)
    left = {info.key for info in deployment.objects.list(segments_prefix(1))}
    assert left and not left & adopted
    check_sound(deployment, course)
    assert deployment.rows(PLAIN)


@pytest.mark.parametrize("seed", range(4))
def test_merges_while_the_placement_changes_and_everybody_dies(seed: int) -> None:
    counts = run(seed, steps=80, merges=0.4)
    assert counts["merges"]
