"""Owns which deployment a command works on: the one at --address, the one that `up` launched, or an embedded one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cluster.settings import Settings, describe, load_settings
from core.errors import InvalidRequest, NotFound
from malamute.client import Client
from malamute.connection import DEPLOYMENT_DEFAULT, connect, embedded_name
from malamute.display import FAINT
from malamute.recorded import Recorded, user_records


@dataclass(frozen=True, slots=True)
class Choice:
    """What --address, --storage, --name and --config said."""

    address: str | None = None
    storage: str | None = None
    name: str | None = None
    config: str | None = None

    def settings(self, **overrides: object) -> Settings:
        """The settings that these choices and `overrides` make of file, environment and defaults."""
        return load_settings(self.config, {"storage": self.storage, "name": self.name, **overrides}, os.environ)

    def recorded(self) -> Recorded | None:
        """The deployment that `up` launched and these choices mean, or None."""
        records = user_records()
        if self.name is not None and self.storage is None and self.config is None:
            return records.named(self.name)
        return records.of_storage(self.settings().storage)


@dataclass(frozen=True, slots=True)
class Store:
    """An open deployment: its client, its name on Ray, and how a person would call it."""

    client: Client
    deployment: str
    where: str
    durability: str  # the default level of writes
    settings: list[tuple[str, str, str]]  # empty when it was launched elsewhere


@contextmanager
def open_store(choice: Choice, console: Console, *, create: bool) -> Iterator[Store]:
    """The store that `choice` means, closed afterwards.

    `create` says whether an embedded one may begin on a directory that is not there. NotFound when nothing is meant.
    """
    with console.status(f"[{FAINT}]connecting …", spinner="dots"):
        store, close = _open(choice, create)
    try:
        yield store
    finally:
        with console.status(f"[{FAINT}]closing …", spinner="dots"):
            close()


def _open(choice: Choice, create: bool) -> tuple[Store, Callable[[], None]]:
    if choice.address is not None:
        name = choice.name or DEPLOYMENT_DEFAULT
        client = connect(choice.address, name=name)
        return _store(client, name, f"{name} at {choice.address}"), client.close
    record = choice.recorded()
    if record is not None and record.alive:
        return _attached(record)
    if record is not None:
        user_records().remove(record)
    return _embedded(choice, create)


def _attached(record: Recorded) -> tuple[Store, Callable[[], None]]:
    disconnect = record.attach()
    try:
        client = connect("auto", name=record.name)
    except BaseException:
        disconnect()
        raise

    def close() -> None:
        client.close()
        disconnect()

    return _store(client, record.name, f"{record.name} on {record.storage}"), close


def _embedded(choice: Choice, create: bool) -> tuple[Store, Callable[[], None]]:
    settings = choice.settings()
    if choice.name is not None and choice.storage is None:
        raise NotFound(f"no deployment named {choice.name!r} was launched from here: give --address or --storage")
    if settings.storage_is_remote:
        raise InvalidRequest(f"no deployment runs on {settings.storage}: launch it with 'malamute up -c FILE'")
    if not create and not Path(settings.storage).is_dir():
        raise NotFound(
            f"there is no malamute in {settings.storage}: begin one with 'malamute up' or 'malamute ingest', "
            f"or name another with --storage"
        )
    name = embedded_name(settings.storage)
    client = connect(storage=settings.storage, name=name, config=choice.config)
    where = f"embedded on {settings.storage}"
    return Store(client, name, where, settings.durability, describe(settings)), client.close


def _store(client: Client, name: str, where: str) -> Store:
    return Store(client, name, where, client.status().to_dict()["coordinator"]["durability"], [])
