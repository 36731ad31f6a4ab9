"""Owns reading a git repository's history as events: one per commit. Never changes a repository."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Fields and records are divided by characters that no name or subject holds.
_FIELD = "\x1f"
_RECORD = "\x1e"
_FORMAT = _RECORD + _FIELD.join(("%H", "%aI", "%an", "%ae", "%P", "%s")) + _FIELD


def commits(directory: Path, limit: int) -> list[dict[str, Any]]:
    """The newest `limit` commits of the repository that `directory` is in; [] when there is none or no git."""
    command = ["git", "-C", str(directory), "log", f"--max-count={limit}", f"--format={_FORMAT}", "--numstat"]
    try:
        answer = subprocess.run(command, capture_output=True, check=False, timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return []
    if answer.returncode != 0:
        return []
    return list(parse_log(answer.stdout.decode(errors="replace")))


def parse_log(text: str) -> Iterator[dict[str, Any]]:
    """The commits in the output of the command above, with the author's time, sizes and files."""
    for record in text.split(_RECORD)[1:]:
        commit, time, name, email, parents, subject, numbers = record.split(_FIELD)
        changes = [line.split("\t") for line in numbers.splitlines() if line.count("\t") == 2]
        yield {
            "timestamp": time,
            "commit": commit,
            "author": {"name": name, "email": email},
            "subject": subject,
            "merge": len(parents.split()) > 1,
            # A binary file has "-" in the place of numbers.
            "insertions": sum(int(added) for added, _, _ in changes if added.isdigit()),
            "deletions": sum(int(removed) for _, removed, _ in changes if removed.isdigit()),
            "files": {"changed": len(changes), "paths": [path for _, _, path in changes]},
        }
