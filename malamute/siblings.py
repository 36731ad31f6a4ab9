"""Owns the check that the generic root packages (core, storage, …) that Python finds are Malamute's own."""

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path

from core.errors import Unavailable

SIBLINGS = ("core", "storage", "ingest", "query", "actors", "cluster")


def check_siblings() -> None:
    """Raise Unavailable naming the distribution that shadows one of our packages, if any does. Imports nothing."""
    home = Path(__file__).resolve().parent.parent
    for name in SIBLINGS:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or origin.parent.parent != home:
            raise Unavailable(
                f"the package {name!r} that python finds is {origin or 'missing'}, not malamute's: it belongs to "
                f"{_owner(name, origin)}; uninstall that, or install malamute in an environment of its own"
            )


def _owner(name: str, origin: Path | None) -> str:
    owners = [owner for owner in metadata.packages_distributions().get(name, []) if owner != "malamute"]
    return f"the distribution {owners[0]!r}" if owners else f"the directory {origin.parent.parent if origin else '?'}"
