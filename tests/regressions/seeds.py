"""Owns the list of seeds that once failed. Never removes one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

PATH = Path(__file__).with_name("seeds.json")


@dataclass(frozen=True, slots=True)
class Seed:
    """A figure's name, the seed of one of its rounds, and what it found."""

    figure: str
    seed: int
    found: str


def kept(path: Path = PATH) -> list[Seed]:
    """All of them, oldest first."""
    return [Seed(**plain) for plain in json.loads(path.read_text(encoding="utf-8"))]


def keep(figure: str, seed: int, found: str, path: Path = PATH) -> None:
    """Add one, once; only the first line of `found`."""
    known = kept(path)
    if (figure, seed) not in {(one.figure, one.seed) for one in known}:
        known.append(Seed(figure, seed, found.strip().partition("\n")[0][:200]))
        path.write_text(json.dumps([asdict(one) for one in known], indent=1) + "\n", encoding="utf-8")
