"""Owns what a delete by predicate is: which events it means, how far it has come, its proof, its plain form. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from storage.keys import origin_of
from storage.snapshot import Segment

RUNNING: Final = "running"  # segments are looked through and rewritten
HELD: Final = "held"  # no query sees the events, but named snapshots hold files with them
DONE: Final = "done"


@dataclass(frozen=True, slots=True)
class Delete:
    """A delete of the events of `tenant`'s `stream` that meet `where`, a condition in SQL, and were there when it began.

    Those are the events below `bounds` (origin shard → offset); what was written later stays. Times are UTC
    microseconds. `rewritten_at_us` is when the last segment was rewritten, `done_at_us` when no file held an event any
    more but those that queries of then may still read; the other numbers are final then: how many segments and rows
    were looked through, rewritten, removed, and how many a query found afterwards (`remaining`).
    """

    id: int
    tenant: str
    stream: str
    where: str
    bounds: Mapping[int, int]
    created_at_us: int
    segments_checked: int = 0
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

    def concerns(self, segment: Segment) -> bool:
        """Whether `segment` may hold events of it: it has offsets below the bound and was not looked through."""
        if (segment.tenant, segment.stream) != (self.tenant, self.stream) or segment.deleted_through >= self.id:
            return False
        return segment.first_offset < self.bounds.get(origin_of(segment.name) or 0, 0)


@dataclass(frozen=True, slots=True)
class DeleteStatus:
    """A delete as people see it: with the files that are still to be looked through, and who holds some."""

    delete: Delete
    segments_left: int = 0
    held_by: tuple[str, ...] = ()
    failure: str | None = None


def pending(deletes: Iterable[Delete]) -> tuple[Delete, ...]:
    """Those that are not done, in the order in which they began."""
    return tuple(sorted((one for one in deletes if one.done_at_us is None), key=lambda one: one.id))


def delete_to_plain(delete: Delete) -> dict[str, Any]:
    """The delete as what JSON and msgpack can hold."""
    plain = {name: getattr(delete, name) for name in Delete.__dataclass_fields__}
    plain["bounds"] = sorted(delete.bounds.items())
    return plain


def delete_from_plain(plain: Mapping[str, Any]) -> Delete:
    """The inverse of delete_to_plain; raises TypeError, KeyError or ValueError on anything else."""
    return Delete(**{**plain, "bounds": dict(plain["bounds"])})
