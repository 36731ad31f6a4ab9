"""Owns `malamute backup`, `backups`, `restore` and `clone`: how they are asked for and shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cluster.transport import Transport
from core.errors import InvalidRequest, NotFound
from core.limits import BACKUP_LEASE_S
from malamute.commands.places import open_place
from malamute.commands.snapshot import time_text
from malamute.commands.store import Choice, Store, open_store
from malamute.display import ACCENT, FAINT, bytes_text, count_text, files_text, output, remarks, results, table
from malamute.snapshot import snapshot_of
from storage.backup import back_up, backups, check_backup, load_backup
from storage.keys import snapshot_key
from storage.named_snapshot_format import NamedSnapshot, decode_snapshot, summary_of
from storage.objects import ObjectStore
from storage.restore import clone, restore
from storage.snapshot_files import Copied


def run(choice: Choice, url: str) -> None:
    """Back a deployment up to `url`, and print the name of the backup."""
    err = remarks()
    target = open_place(url, choice.config)
    with (
        open_store(choice, err, create=False) as store,
        _held(store, choice, "backup") as (snapshot, source),
        _progress(err, "backing up") as tell,
    ):
        name, done = back_up(snapshot, source, target, tell)
    results().write(f"{name}\n")
    err.print(f"{_holds(snapshot)}; {_copied(done)}", style=FAINT, soft_wrap=True)


def show(url: str, config: str | None, as_json: bool, check: bool) -> None:
    """Print the backups at `url`, oldest first; `check` reads all of their files first."""
    out, err = output(), remarks()
    store = open_place(url, config)
    found = backups(store)
    if check:
        for summary in found:
            with _progress(err, f"reading {summary.name}") as tell:
                check_backup(store, load_backup(store, summary.name), tell)
    if as_json:
        for summary in found:
            results().write(json.dumps(asdict(snapshot_of(summary)), default=datetime.isoformat) + "\n")
        return
    if not found:
        err.print(f"there are no backups in {url}: make one with 'malamute backup {url}'", style=FAINT, soft_wrap=True)
        return
    shown = table("backup", "of", "events", "bytes", right=("events", "bytes"))
    for summary in found:
        taken = snapshot_of(summary)
        shown.add_row(taken.name, time_text(taken.created_at), count_text(taken.events), bytes_text(taken.bytes))
    out.print(shown)
    if check:
        err.print("every file of them is there and undamaged", style=FAINT)


def bring_back(url: str, storage: str, name: str | None, config: str | None) -> None:
    """Make a storage of a backup, the newest unless `name` says which."""
    err = remarks()
    store, target = open_place(url, config), open_place(storage, config)
    backup = load_backup(store, name)
    with _progress(err, f"restoring {backup.name}") as tell:
        restore(backup, store, target, tell)
    _made(backup, storage)


def copy(source: str, storage: str, config: str | None) -> None:
    """Make a storage with what another has now."""
    err = remarks()
    choice = Choice(storage=source, config=config)
    target = open_place(storage, config)
    with (
        open_store(choice, err, create=False) as store,
        _held(store, choice, "clone") as (snapshot, objects),
        _progress(err, "cloning") as tell,
    ):
        clone(snapshot, objects, target, tell)
    _made(snapshot, storage)


@contextmanager
def _held(store: Store, choice: Choice, purpose: str) -> Iterator[tuple[NamedSnapshot, ObjectStore]]:
    """A snapshot of all tenants that is there meanwhile, and the storage that has its files."""
    transport = Transport(store.deployment)
    url = str(transport.info["storage"])
    if url.partition("://")[0] == "memory":
        raise InvalidRequest(f"{url} is the memory of the deployment's processes: nobody else can copy it")
    objects = open_place(url, choice.config)
    name = f"{purpose}-{datetime.now(UTC):%Y%m%dt%H%M%S%f}"
    transport.ask("take_snapshot", None, name, BACKUP_LEASE_S, timeout_s=600.0)
    try:
        yield _read(objects, name, url), objects
    finally:
        transport.ask("drop_snapshot", None, name)


def _read(objects: ObjectStore, name: str, url: str) -> NamedSnapshot:
    try:
        return decode_snapshot(objects.get(snapshot_key(None, name)), f"snapshot {name!r}")
    except NotFound as error:
        raise NotFound(f"the storage {url} is not here: run the command where it can be read") from error


@contextmanager
def _progress(err: Console, what: str) -> Iterator[Callable[[Copied], None]]:
    columns = (
        TextColumn("{task.description}", style=FAINT),
        BarColumn(),
        TextColumn("{task.fields[shown]}", style=FAINT),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=None, shown="")

        def tell(so_far: Copied) -> None:
            shown = f"{count_text(so_far.files_done)} of {files_text(so_far.files)}"
            progress.update(task, total=so_far.bytes or None, completed=so_far.bytes_done, shown=shown)

        yield tell


def _made(snapshot: NamedSnapshot, storage: str) -> None:
    output().print(f"[{ACCENT}]{storage}[/] has {_holds(snapshot)}", soft_wrap=True)
    remarks().print(f"begin with: malamute up --storage {storage}", style=FAINT, markup=False, soft_wrap=True)


def _holds(snapshot: NamedSnapshot) -> str:
    summary = summary_of(snapshot)
    return f"{count_text(summary.events)} events in {bytes_text(summary.bytes)}"


def _copied(done: Copied) -> str:
    return f"{count_text(done.files_new)} of {files_text(done.files)} were copied, {bytes_text(done.bytes_new)}"
