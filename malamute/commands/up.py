"""Owns `malamute up`: a deployment that goes on after the command, on a running Ray or on one of its own."""

from __future__ import annotations

from rich.console import Console

from cluster.launch import launch, settled
from cluster.ray_process import RayProcess, ray_of_this_machine, start_ray
from cluster.ray_session import attach_ray
from cluster.settings import Settings, describe
from core.errors import StorageInUse
from malamute.commands.store import Choice
from malamute.display import ACCENT, FAINT, output, remarks, settings_table, shards_table
from malamute.recorded import Recorded, user_records
from malamute.siblings import check_siblings
from malamute.status import Status


def run(choice: Choice, shards: int | None, durability: str | None) -> None:
    """Launch, print the settings and the status, return. StorageInUse when a deployment runs there already."""
    check_siblings()
    settings = choice.settings(shards=shards, durability=durability)
    out, err = output(), remarks()
    _check_not_running(settings)
    settings = settled(settings)
    out.print(settings_table(describe(settings)))
    with err.status(f"[{FAINT}]looking for ray …", spinner="dots") as spinner:
        address = settings.ray.address
        if address is None:
            address = ray_of_this_machine()
        own: RayProcess | None = None
        if address in (None, "local"):
            spinner.update(f"[{FAINT}]starting ray on this machine …")
            own = start_ray(settings)
            address = own.address
        assert address is not None
        spinner.update(f"[{FAINT}]launching {settings.shards} shards on ray at {address} …")
        try:
            status = _launch(settings, address, own)
        except BaseException:
            if own is not None:
                own.end()
            raise
    _report(out, settings, status, address, own)


def _check_not_running(settings: Settings) -> None:
    records = user_records()
    record = records.of_storage(settings.storage)
    if record is None or record.ray is None:
        return
    if record.alive:
        raise StorageInUse(
            f"{record.name!r} runs on {record.storage} already: look at it with 'malamute status', "
            f"end it with 'malamute down'"
        )
    records.remove(record)


def _launch(settings: Settings, address: str, own: RayProcess | None) -> Status:
    disconnect = own.attach() if own else attach_ray(address)
    try:
        transport = launch(settings)
        user_records().save(Recorded(settings.name, settings.storage, settings.shards, address, own))
        return Status(transport.ask("status"))
    finally:
        disconnect()


def _report(out: Console, settings: Settings, status: Status, address: str, own: RayProcess | None) -> None:
    out.print()
    out.print(shards_table(status.shards))
    out.print()
    kind = f"a ray of its own, process {own.pid}" if own else "the ray that runs there"
    out.print(f"[{ACCENT}]{settings.name}[/] is up on {address} ({kind}); data in {settings.storage}", soft_wrap=True)
    where = "" if settings.storage == Settings().storage else f" --storage {settings.storage}"
    out.print("next:")
    out.print(f"  malamute ingest{where} logs FILE.ndjson", soft_wrap=True)
    out.print(f'  malamute sql{where} "SELECT count(*) FROM logs"', soft_wrap=True)
    out.print(f"  malamute down{where}", soft_wrap=True)
