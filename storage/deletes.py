"""Owns what a delete by predicate is: which events it means, how far it has come, its proof, its plain form. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from storage.keys import origin_of
from storage.snapshot import Segment

RUNNING: Final = "running"  # segments are looked through and rewritten
HELD: Final = "held"  # no query sees the events, but named snapshots hold files with them
DONE: Final = "done"


@dataclass(frozen=True, slots=True)
class Delete:
    """A delete of the events of `tenant`'s `stream` that meet `where`, a condition in SQL, and were there as it began.

    Those are the events below `bounds` (origin shard → offset), `matched` in all; what was written later stays. `paths`
    are the paths that the condition names, with their kinds as it began, and `has_rest` whether some were rare: so it
    means the same until its end. Times are UTC microseconds. `rewritten_at_us` is when the last segment was rewritten:
    from then on the numbers of segments and rows are final and `remaining` is how many events a query found afterwards.
    `done_at_us` is when no named snapshot held any either.
    """

    id: int
    tenant: str
    stream: str
    where: str
    bounds: Mapping[int, int]
    created_at_us: int
    matched: int = 0
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_rest: bool = False
    segments_rewritten: int = 0
    rows_removed: int = 0
    remaining: int | None = None
    rewritten_at_us: int | None = None
    done_at_us: int | None = None

    @property
    def state(self) -> str:
        """RUNNING, HELD or DONE."""
        if self.done_at_us is not None:
            return DONE
        return RUNNING if self.rewritten_at_us is None else HELD

    def reached(self, segments: Iterable[Segment]) -> list[Segment]:
        """Those of `segments` that may hold events from before it began, looked through or not."""
        stream = (self.tenant, self.stream)
        return [
            segment
            for segment in segments
            if (segment.tenant, segment.stream) == stream
            and segment.first_offset < self.bounds.get(origin_of(segment.name) or 0, 0)
        ]

    def concerned(self, segments: Iterable[Segment]) -> list[Segment]:
        """Those of `segments` that are still to be looked through."""
        return [segment for segment in self.reached(segments) if segment.deleted_through < self.id]


@dataclass(frozen=True, slots=True)
class DeleteStatus:
    """A delete as people see it: how many of its segments are looked through, which named snapshots hold events of it.

    `files_gone_us` is when the last replaced file is deleted, `failure` why the last step came to nothing.
    """

    delete: Delete
    segments_done: int = 0
    segments_total: int = 0
    held_by: tuple[str, ...] = ()
    files_gone_us: int | None = None
    failure: str | None = None


def pending(deletes: Iterable[Delete]) -> tuple[Delete, ...]:
    """Those that are not done, in the order in which they began."""
    return tuple(sorted((one for one in deletes if one.done_at_us is None), key=lambda one: one.id))


def due(deletes: Iterable[Delete]) -> tuple[Delete, ...]:
    """Those of pending() that may go on: of a stream one runs after the other, as Segment.deleted_through says."""
    found: list[Delete] = []
    running: set[tuple[str, str]] = set()
    for delete in pending(deletes):
        stream = (delete.tenant, delete.stream)
        if delete.state == HELD or stream not in running:
            found.append(delete)
        if delete.state == RUNNING:
            running.add(stream)
    return tuple(found)


def delete_to_plain(delete: Delete) -> dict[str, Any]:
    """The delete as what JSON and msgpack can hold."""
    plain = {name: getattr(delete, name) for name in Delete.__dataclass_fields__}
    plain["bounds"] = sorted(delete.bounds.items())
    plain["paths"] = sorted(delete.paths.items())
    return plain


def delete_from_plain(plain: Mapping[str, Any]) -> Delete:
    """The inverse of delete_to_plain; raises TypeError, KeyError or ValueError on anything else."""
    paths = {path: tuple(kinds) for path, kinds in plain["paths"]}
    return Delete(**{**plain, "bounds": dict(plain["bounds"]), "paths": paths})
