"""Owns `malamute snapshot`: taking, listing and dropping named snapshots."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime

from malamute.commands.store import Choice, open_store
from malamute.display import ACCENT, FAINT, bytes_text, count_text, output, remarks, results, table
from malamute.snapshot import Snapshot


def create(choice: Choice, name: str, ttl: str | None) -> None:
    """Take a snapshot and say what it holds and how it is read."""
    out = output()
    with open_store(choice, remarks(), create=False) as store:
        taken = store.client.snapshot(name, ttl=ttl)
    until = "until it is dropped" if taken.expires_at is None else f"until {time_text(taken.expires_at)}"
    out.print(f"[{ACCENT}]{name}[/] holds {count_text(taken.events)} events {until}", soft_wrap=True)
    remarks().print(f'read it with: malamute sql "SELECT …" --at {name}', style=FAINT, markup=False, soft_wrap=True)


def show(choice: Choice, as_json: bool) -> None:
    """Print the snapshots that have not expired."""
    results()
    with open_store(choice, remarks(), create=False) as store:
        found = store.client.snapshots()
    if as_json:
        for snapshot in found:
            results().write(json.dumps(asdict(snapshot), default=datetime.isoformat) + "\n")
        return
    if not found:
        remarks().print("there are no snapshots: take one with 'malamute snapshot create NAME'", style=FAINT)
        return
    shown = table("name", "created", "expires", "events", "bytes", right=("events", "bytes"))
    for snapshot in found:
        shown.add_row(*_cells(snapshot))
    output().print(shown)


def drop(choice: Choice, name: str) -> None:
    """Drop a snapshot."""
    with open_store(choice, remarks(), create=False) as store:
        store.client.drop_snapshot(name)
    output().print(f"{name} is dropped")


def _cells(snapshot: Snapshot) -> tuple[str, ...]:
    expires = "never" if snapshot.expires_at is None else time_text(snapshot.expires_at)
    counts = (count_text(snapshot.events), bytes_text(snapshot.bytes))
    return (snapshot.name, time_text(snapshot.created_at), expires, *counts)


def time_text(moment: datetime) -> str:
    """A UTC time, to the second."""
    return moment.isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
