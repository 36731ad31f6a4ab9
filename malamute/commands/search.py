"""Owns `malamute search`: the events that match, newest first, as lines for people or as JSON for programs."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from malamute.commands.store import Choice, open_store
from malamute.display import BAD, FAINT, output, remarks, results, rows_text, seconds_text
from malamute.result import Page

# What a line shows by itself; everything else follows as path=value.
_LEVELS = ("status", "level", "severity")
_ALARMING = ("error", "critical", "fatal", "emergency", "alert")


def run(
    choice: Choice, query: str, stream: str | None, last: str | None, limit: int, as_json: bool, at: str | None = None
) -> None:
    """Print up to `limit` events; how many, and warnings, go to stderr."""
    results()
    err = remarks()
    with open_store(choice, err, create=False) as store:
        page = store.client.search(query, stream=stream, last=last, limit=limit, at=at)
    for warning in page.warnings:
        err.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    if as_json:
        results().write(page.to_ndjson().decode())
    else:
        for event in page.to_pylist():
            output().print(line(event), soft_wrap=True)
    err.print(_closing(page), style=FAINT)


def line(event: dict[str, Any]) -> Text:
    """An event as one line: time, level, service, message, and what else it has."""
    known = {path: value for path, value in event.items() if value is not None}
    text = Text(known.pop("timestamp").isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z"), FAINT)
    level = next((str(known.pop(path)) for path in _LEVELS if path in known), "")
    alarming = level.lower().startswith(_ALARMING)
    for part, style in ((level, BAD if alarming else ""), (known.pop("service", ""), "bold")):
        if part:
            text.append(f" {part}", style)
    if "message" in known:
        text.append(f" {known.pop('message')}")
    for path, value in known.items():
        text.append(f" {path}=", FAINT).append(str(value))
    return text


def _closing(page: Page) -> str:
    more = ", there are more: --limit shows them" if page.cursor is not None else ""
    return f"{rows_text(len(page))} in {seconds_text(page.stats['seconds'])}{more}"
