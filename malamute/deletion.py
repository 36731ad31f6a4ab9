"""Owns what a caller sees of a delete: how far it is, and the proof when it is done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from query.written_times import as_datetime
from storage.deletes import DONE, HELD, DeleteStatus


@dataclass(frozen=True, slots=True)
class Deletion:
    """A delete of the `matched` events of `stream` that met `where` when it began; times are in UTC.

    `state` is "running" (segments are looked through: `segments_done` of `segments_total`), "held" (all are rewritten,
    but named snapshots, `held_by`, keep files with such events) or "done". From "held" on the proof is there:
    `segments_rewritten`, `rows_removed`, and `remaining`, how many a query found afterwards. The files that were
    replaced are deleted by `files_gone_at`. `failure` says why the last step came to nothing; it is tried again.
    """

    id: int
    stream: str
    where: str
    state: str
    created_at: datetime
    matched: int
    segments_done: int
    segments_total: int
    segments_rewritten: int
    rows_removed: int
    remaining: int | None
    held_by: tuple[str, ...]
    rewritten_at: datetime | None
    done_at: datetime | None
    files_gone_at: datetime | None
    failure: str | None

    @property
    def reason(self) -> str:
        """Why it is not done yet, for people."""
        if self.failure is not None:
            return self.failure
        if self.state == HELD:
            names = ", ".join(self.held_by) or "a named snapshot"
            return f"{names} keeps files with such events: drop it with 'malamute snapshot drop'"
        return (
            "it is done" if self.state == DONE else f"{self.segments_done} of {self.segments_total} segments are done"
        )


def deletion_of(status: DeleteStatus) -> Deletion:
    """What to show of a delete."""
    delete = status.delete
    return Deletion(
        id=delete.id,
        stream=delete.stream,
        where=delete.where,
        state=delete.state,
        created_at=as_datetime(delete.created_at_us),
        matched=delete.matched,
        segments_done=status.segments_done,
        segments_total=status.segments_total,
        segments_rewritten=delete.segments_rewritten,
        rows_removed=delete.rows_removed,
        remaining=delete.remaining,
        held_by=status.held_by if delete.state == HELD else (),
        rewritten_at=None if delete.rewritten_at_us is None else as_datetime(delete.rewritten_at_us),
        done_at=None if delete.done_at_us is None else as_datetime(delete.done_at_us),
        files_gone_at=None if status.files_gone_us is None else as_datetime(status.files_gone_us),
        failure=status.failure,
    )
