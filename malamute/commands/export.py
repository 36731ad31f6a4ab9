"""Owns `malamute export`: the Iceberg table over a stream's files, and what it cannot show."""

from __future__ import annotations

import json
from dataclasses import asdict

from core.errors import InvalidRequest
from malamute.commands.store import Choice, open_store
from malamute.display import FAINT, files_text, remarks, results, rows_text

_NAMES_SHOWN = 10


def run(
    choice: Choice, stream: str, iceberg: bool, location: str | None, flush: bool, at: str | None, as_json: bool
) -> None:
    """Export, and print the metadata file that readers open; remarks go to stderr."""
    if not iceberg:
        raise InvalidRequest("say what the export is to be: --iceberg is what there is")
    results()
    err = remarks()
    with open_store(choice, err, create=False) as store:
        exported = store.client.export_iceberg(stream, location, flush=flush, at=at)
    if as_json:
        json.dump(asdict(exported), results(), indent=2)
        results().write("\n")
        return
    results().write(f"{exported.metadata}\n")
    err.print(
        f"{rows_text(exported.rows)} in {files_text(exported.files)}: {exported.files_added} added, "
        f"{exported.files_removed} removed since the last export",
        style=FAINT,
    )
    if exported.left_out:
        names = ", ".join(exported.left_out[:_NAMES_SHOWN])
        more = len(exported.left_out) - _NAMES_SHOWN
        names += f" and {more} more" if more > 0 else ""
        err.print(
            f"left out, because iceberg knows one type for a name in all files and no unsigned numbers: {names}",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
