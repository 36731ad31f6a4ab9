"""Owns `malamute files`: the list of a stream's Parquet files, one a line for programs to read."""

from __future__ import annotations

import json
from dataclasses import asdict

from malamute.commands.store import Choice, open_store
from malamute.display import FAINT, bytes_text, files_text, remarks, results, rows_text


def run(choice: Choice, stream: str, flush: bool, at: str | None, as_json: bool) -> None:
    """Print the paths or URLs; what they hold, and what they do not, goes to stderr."""
    results()
    err = remarks()
    with open_store(choice, err, create=False) as store:
        files = store.client.files(stream, flush=flush, at=at)
    if as_json:
        json.dump(asdict(files), results(), indent=2)
        results().write("\n")
        return
    for path in files.paths:
        results().write(f"{path}\n")
    err.print(f"{files_text(len(files.paths))} with {rows_text(files.rows)}, {bytes_text(files.bytes)}", style=FAINT)
    if files.rows_unflushed:
        err.print(f"{rows_text(files.rows_unflushed)} more in memory: --flush writes them into files", style="yellow")
