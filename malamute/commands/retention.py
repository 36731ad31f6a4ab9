"""Owns `malamute retention`: for how long events are kept."""

from __future__ import annotations

from datetime import timedelta

from core.errors import InvalidRequest
from malamute.commands.store import Choice, open_store
from malamute.display import FAINT, bytes_text, output, remarks, table
from storage.retention import Retention


def run(choice: Choice, stream: str | None, age: str | None, size: str | None, for_all: bool, keep: bool) -> None:
    """Set the retention of a stream, or of all that have none of their own; without a value show what is set."""
    if (age or size) and keep:
        raise InvalidRequest("--keep means without a bound: leave out --age and --bytes")
    if (age or size or keep) and (stream is None) != for_all:
        raise InvalidRequest("name a stream, or say --default for all streams without a retention of their own")
    with open_store(choice, remarks(), create=False) as store:
        if age or size or keep:
            store.client.set_retention(stream, age=age, bytes_max=size)
        found = store.client.retention()
    if not found:
        remarks().print("everything is kept: malamute retention STREAM --age 30d", style=FAINT)
        return
    shown = table("stream", "kept for", "kept at most")
    for name in sorted(found, key=lambda name: name or ""):
        if stream in (None, name):
            shown.add_row(name or "all others", *_cells(found[name]))
    output().print(shown)


def _cells(retention: Retention) -> tuple[str, str]:
    age_us, size = retention.age_us, retention.bytes_max
    age = "for ever" if age_us is None else str(timedelta(microseconds=age_us)).removesuffix(", 0:00:00")
    return age, "any size" if size is None else bytes_text(size)
