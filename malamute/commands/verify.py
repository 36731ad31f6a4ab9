"""Owns `malamute verify`: how the verification of a storage is asked for and shown. Decides nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from core.clock import SystemClock
from core.errors import NotFound
from malamute.commands.places import settings_at
from malamute.display import BAD, FAINT, GOOD, bytes_text, count_text, output, remarks, results, table
from storage.fs import LocalFileSystem
from storage.open_objects import open_object_store
from storage.verify import Progress as Progressed
from storage.verify import StoragePlace, verify_storage
from storage.verify_report import Finding, Report

WARNING = "yellow"


def place_of(storage: str | None, config: str | None, wal_directory: str | None) -> StoragePlace:
    """The storage that arguments, settings and environment mean. Raises InvalidSettings, NotFound."""
    settings = settings_at(storage, config, wal_directory)
    options: dict[str, str | bool] = {}
    if settings.storage_is_remote:
        from cluster.launch import storage_options  # imports ray

        options = storage_options(settings)
    elif not os.path.isdir(settings.storage):
        raise NotFound(f"there is no malamute in {settings.storage}: name the storage to look at")
    directory = settings.wal_path
    if directory is None and not settings.storage_is_remote:
        directory = f"{settings.storage}/wal"
    fs = LocalFileSystem()
    objects = open_object_store(settings.storage, fs, options)
    return StoragePlace(settings.storage, objects, fs, directory, SystemClock())


def run(place: StoragePlace, deep: bool, read_wal: bool, as_json: bool) -> int:
    """Verify, print what was found, and return the exit code: 0 sound, 1 findings, 2 not all could be read."""
    out, err = output(), remarks()
    with _progress(err) as progress:
        report = verify_storage(place, deep=deep, read_wal=read_wal, on_progress=_teller(progress))
    if as_json:
        json.dump(report.to_plain(), results(), indent=2)
        results().write("\n")
    else:
        show(report, out)
    return report.exit_code


def _progress(err: Console) -> Progress:
    columns = (
        TextColumn("{task.description}", style=FAINT),
        BarColumn(),
        TextColumn("{task.fields[shown]}", style=FAINT),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=err, disable=not err.is_terminal, transient=True)


def _teller(progress: Progress) -> Callable[[Progressed], None]:
    task = progress.add_task("verifying", total=None, shown="")

    def tell(so_far: Progressed) -> None:
        shown = f"{count_text(so_far.segments)} of {count_text(so_far.segments_all)} segments"
        what = f"verifying shard {so_far.shard}"
        progress.update(task, description=what, total=so_far.bytes_all or None, completed=so_far.bytes, shown=shown)

    return tell


def show(report: Report, out: Console) -> None:
    """Print the findings, a line for each shard, and the total."""
    for finding in sorted(report.findings, key=lambda item: item.is_warning):
        out.print(_finding(finding), soft_wrap=True)
    if report.not_shown:
        out.print(f"and {count_text(report.not_shown)} more findings", style=BAD)
    if report.findings:
        out.print()
    for shard in report.shards:
        if shard.live:
            text = f"shard {shard.shard} is being served right now: what changed meanwhile was read again"
            out.print(text, style=FAINT, soft_wrap=True)
    numbers = ("shard", "epoch", "segments", "objects", "bytes", "events", "in the WAL", "findings", "warnings")
    shown = table(*numbers, right=numbers)
    for shard in report.shards:
        counts = (shard.epoch, shard.segments, shard.objects)
        events = (count_text(shard.events), count_text(shard.wal_events))
        found = Text(count_text(shard.findings), style=BAD if shard.findings else "")
        cells = (*map(count_text, counts), bytes_text(shard.bytes), *events)
        shown.add_row(str(shard.shard), *cells, found, count_text(shard.warnings))
    out.print(shown)
    out.print()
    out.print(_total(report), soft_wrap=True)


def _finding(finding: Finding) -> Text:
    text = Text(f"{finding.kind} ", style=WARNING if finding.is_warning else BAD)
    text.append(f"{finding.where}: {finding.message}").append(f"\n    {finding.advice}", FAINT)
    return text


def _total(report: Report) -> Text:
    plain = report.to_plain()
    text = Text(f"{report.storage}: {count_text(plain['objects'])} objects, {bytes_text(plain['bytes'])}, ")
    text.append(f"{count_text(plain['events'])} events: ")
    warnings = len(report.findings) - len(report.errors)
    verdicts = {0: ("sound", GOOD), 1: ("NOT SOUND", BAD), 2: ("could not be verified whole", BAD)}
    text.append(*verdicts[report.exit_code])
    errors = len(report.errors) + report.not_shown
    if errors or warnings:
        text.append(f", {count_text(errors)} findings, {count_text(warnings)} warnings")
    return text if report.deep else text.append(" (--deep compares every value)", FAINT)
