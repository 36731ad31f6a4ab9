"""A shard that takes over what others had, when it is not certain at first whether its manifest was published."""

from __future__ import annotations

import pytest

from core.errors import UnknownOutcome
from storage.replacement import Erasure
from tests.support.scaling import NAMES, Course, Deployment


def lost_answer(operation: str, key: str) -> str | None:
    return "after" if operation == "put_new" and "/manifest/" in key else None


def test_an_adoption_in_doubt_is_taken_over_when_a_change_of_segments_settles_it() -> None:
    deployment = Deployment(8, shards=3)
    course = Course(deployment)
    for name in NAMES:
        course.send(name)
    course.drain()
    for name in NAMES:  # stored, and the answer comes after the change
        course.send(name)
    placements = deployment.store.begin(1)
    before, after = placements.current, placements.coming
    assert after is not None
    deployment.placements = deployment.store.move(placements)
    deployment.seal(before.shards, after.version)
    heir = deployment.opened[0]
    deployment.objects.hook = lost_answer
    with pytest.raises(UnknownOutcome):
        heir.adopt(before, after)
    deployment.objects.hook = None
    assert heir.replace(Erasure(epoch=0, delete=1)) is not None  # refused: another epoch's
    assert heir.manifest.served == after.version
    deployment.finish()
    for name in NAMES:
        course.send(name)
    heir.flush()
    course.check()
