"""Owns `malamute delete` and `malamute deletes`: deleting events by a condition, and how far deletes are."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime

import typer

from core.errors import InvalidRequest
from malamute.commands.snapshot import time_text
from malamute.commands.store import Choice, open_store
from malamute.deletion import Deletion
from malamute.display import ACCENT, FAINT, count_text, output, remarks, results, table

WAIT_S = 86_400.0  # of --wait, and of an embedded store, which ends with the command


def run(choice: Choice, stream: str, where: str, sure: bool, wait: bool) -> None:
    """Delete, after saying of how many events and asking, unless it is `sure`."""
    err = remarks()
    with open_store(choice, err, create=False) as store:
        if not sure:
            count = store.client.matching(stream, where=where)
            question = f"delete {count:,} events of {stream} for good?"
            if not sys.stdin.isatty():
                raise InvalidRequest(f"{question} there is nobody to ask: say --yes")
            if not typer.confirm(question):
                err.print("nothing was deleted", style=FAINT)
                return
        deletion = store.client.delete(stream, where=where, wait_s=WAIT_S if wait or store.settings else None)
    output().print(f"[{ACCENT}]delete {deletion.id}[/]: {_said(deletion)}", soft_wrap=True)
    if deletion.state == "running":
        err.print("how far it is: malamute deletes", style=FAINT)


def show(choice: Choice, as_json: bool) -> None:
    """Print the deletes under way and the last that are done."""
    results()
    with open_store(choice, remarks(), create=False) as store:
        found = store.client.deletes()
    if as_json:
        for deletion in found:
            results().write(json.dumps(asdict(deletion), default=datetime.isoformat) + "\n")
        return
    if not found:
        remarks().print("nothing was deleted: see 'malamute delete --help'", style=FAINT)
        return
    shown = table("delete", "stream", "where", "began", "state", "matched", "", right=("delete", "matched"))
    for deletion in found:
        began, matched = time_text(deletion.created_at), count_text(deletion.matched)
        shown.add_row(
            str(deletion.id), deletion.stream, deletion.where, began, deletion.state, matched, _said(deletion)
        )
    output().print(shown)


def _said(deletion: Deletion) -> str:
    if deletion.remaining is None:
        return f"{count_text(deletion.matched)} events are hidden from all queries; {deletion.reason}"
    proof = (
        f"{count_text(deletion.rows_removed)} events removed, {count_text(deletion.segments_rewritten)} segments "
        f"rewritten, a query found {deletion.remaining} of them"
    )
    if deletion.files_gone_at is None:
        return f"{proof}; {deletion.reason}"
    return f"{proof}; the old files are gone by {time_text(deletion.files_gone_at)}"
