"""Owns `malamute down`: flush, stop the actors, and end the Ray that `up` started, and no other."""

from __future__ import annotations

from cluster.launch import is_running, stop
from cluster.ray_process import ray_of_this_machine
from cluster.ray_session import attach_ray
from cluster.transport import Transport
from core.errors import NotFound, Unavailable
from malamute.commands.store import Choice
from malamute.display import FAINT, output, remarks
from malamute.recorded import Recorded, user_records


def run(choice: Choice) -> None:
    """Stop the deployment that `choice` means; NotFound when none runs, Unavailable when a shard did not flush."""
    record = choice.recorded() or _unrecorded(choice)
    out, err = output(), remarks()
    if not record.alive:
        user_records().remove(record)
        out.print(
            f"{record.name} had ended already: its ray at {record.address} is gone; its data are complete on disk"
        )
        return
    with err.status(f"[{FAINT}]flushing and stopping {record.name} …", spinner="dots") as spinner:
        problems = _stop(record)
        if record.ray is not None:
            spinner.update(f"[{FAINT}]ending ray at {record.address} …")
        user_records().remove(record)
    if problems:
        raise Unavailable(
            f"{record.name} is stopped, but not everything was flushed ({'; '.join(problems)}): nothing acknowledged "
            f"is lost, the next start replays it from the wal"
        )
    ended = ", and so is the ray that 'up' started" if record.ray else ""
    out.print(f"{record.name} is flushed and stopped{ended}; data in {record.storage}", soft_wrap=True)


def _stop(record: Recorded) -> list[str]:
    disconnect = record.attach()
    try:
        return stop(record.name)
    finally:
        disconnect()


def _unrecorded(choice: Choice) -> Recorded:
    """The running deployment of that name on the Ray that the settings or this machine name."""
    settings = choice.settings()
    address = choice.address or settings.ray.address or ray_of_this_machine()
    if address in (None, "local"):
        raise NotFound(f"no deployment was launched on {settings.storage}: name it with --storage, --name or -c")
    assert address is not None
    disconnect = attach_ray(address)
    try:
        if not is_running(settings.name):
            raise NotFound(f"no malamute named {settings.name!r} runs on the ray at {address}: name it with --name")
        return Recorded(settings.name, settings.storage, len(Transport(settings.name).placement.shards), address, None)
    finally:
        disconnect()
