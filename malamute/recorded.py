"""Owns the memory of `malamute up`: which deployment runs for which storage, and where its Ray is.

One small JSON file per storage in the user's state directory ($XDG_STATE_HOME/malamute). A hint for later commands,
never the truth about a deployment: a record may be of a Ray that is gone.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cluster.ray_process import RayProcess
from cluster.ray_session import attach_ray
from core.errors import InvalidRequest

VERSION = 1


@dataclass(frozen=True, slots=True)
class Recorded:
    """A deployment that `up` launched; `ray` is None when it joined a Ray that ran already at `address`."""

    name: str
    storage: str
    shards: int
    address: str
    ray: RayProcess | None

    def attach(self) -> Callable[[], None]:
        """Connect this process to its Ray; returns how to disconnect. NotFound, Unavailable."""
        return self.ray.attach() if self.ray else attach_ray(self.address)

    @property
    def alive(self) -> bool:
        """False when its Ray was started by `up` and has ended since."""
        return self.ray is None or self.ray.alive


class Records:
    """The records of one user on one machine."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def of_storage(self, storage: str) -> Recorded | None:
        """The deployment on `storage` (absolute path or URL), or None."""
        path = self._path(storage)
        return _read(path) if path.exists() else None

    def named(self, name: str) -> Recorded | None:
        """The deployment called `name`; InvalidRequest when several are."""
        found = [record for record in self.all() if record.name == name]
        if len(found) > 1:
            places = ", ".join(record.storage for record in found)
            raise InvalidRequest(f"several deployments are named {name!r}, on {places}: say --storage as well")
        return found[0] if found else None

    def all(self) -> Iterator[Recorded]:
        """Every record."""
        for path in sorted(self._directory.glob("*.json")):
            yield _read(path)

    def save(self, record: Recorded) -> None:
        """Keep `record` in the place of an older one of its storage."""
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._path(record.storage)
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps({"version": VERSION, **asdict(record)}, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(path)

    def remove(self, record: Recorded) -> None:
        """Forget `record`, and end what is left of its own Ray."""
        if record.ray is not None:
            record.ray.end()
        self._path(record.storage).unlink(missing_ok=True)

    def _path(self, storage: str) -> Path:
        return self._directory / f"{zlib.crc32(storage.encode()):08x}.json"


def user_records(environ: Mapping[str, str] = os.environ) -> Records:
    """The records of the user who runs this process."""
    state = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Records(Path(state) / "malamute")


def _read(path: Path) -> Recorded:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if values.pop("version") != VERSION:
        raise InvalidRequest(f"{path} was written by another version of malamute: stop with that one, or delete it")
    ray = values.pop("ray")
    return Recorded(ray=RayProcess(**ray) if ray else None, **values)
