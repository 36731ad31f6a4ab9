"""A copy of this repository as a fresh clone has it."""

from __future__ import annotations

import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def checkout(target: Path) -> Path:
    """Copy the repository to `target`, without what .gitignore names and without .git; returns `target`."""
    ignored = [line.rstrip("/") for line in (REPOSITORY / ".gitignore").read_text(encoding="utf-8").split()]
    shutil.copytree(REPOSITORY, target, ignore=shutil.ignore_patterns(".git", *ignored))
    return target
