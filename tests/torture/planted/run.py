"""Plants each bug in a copy of the repository and runs what must notice it. Never touches the repository itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.checkout import checkout
from tests.torture.campaigns import directory
from tests.torture.planted.bug import Bug
from tests.torture.planted.bugs import BUGS

CHECK_S_MAX = 300
TESTS_FAILED = 1  # pytest's exit code; of a file that cannot be imported it is another one
_ROUND = "round "


def all_caught(seed: int) -> dict[str, int]:
    """Plant every bug, one at a time; raises AssertionError naming those that nothing noticed.

    The seed changes nothing: what is run has its own.
    """
    with directory() as place:
        copy = checkout(place / "copy")
        _check_sound(copy)
        missed = [bug for bug in BUGS if not _caught(copy, bug)]
    names = "; ".join(f"{bug.name} ({bug.check})" for bug in missed)
    assert not missed, f"{len(BUGS)} planted, {len(missed)} not caught: {names}"
    return {"planted": len(BUGS), "caught": len(BUGS)}


def planted(source: str, bug: Bug) -> str:
    """`source` with the bug in it; raises LookupError when its text is not there exactly once."""
    found = source.count(bug.text)
    if found != 1:
        raise LookupError(f"bug {bug.name!r}: its text is {found} times in {bug.file}; write it anew")
    changed = source.replace(bug.text, bug.instead)
    compile(changed, bug.file, "exec")  # what cannot be compiled is no bug
    return changed


def _check_sound(copy: Path) -> None:
    """Everything passes before a bug is planted."""
    checks = list(dict.fromkeys(bug.check for bug in BUGS))
    tests = " ".join(check for check in checks if not check.startswith(_ROUND))
    for check in (tests, *(check for check in checks if check.startswith(_ROUND))):
        done = _run(copy, check)
        assert done.returncode == 0, f"fails without any bug: {check}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def _caught(copy: Path, bug: Bug) -> bool:
    path = copy / bug.file
    source = path.read_text(encoding="utf-8")
    path.write_text(planted(source, bug), encoding="utf-8")
    try:
        code = _run(copy, bug.check).returncode
    finally:
        path.write_text(source, encoding="utf-8")
    caught = code == TESTS_FAILED
    print(f"{'':11} {'caught' if caught else f'NOT CAUGHT ({code})'}: {bug.name}", flush=True)
    return caught


def _run(copy: Path, check: str) -> subprocess.CompletedProcess[str]:
    """Run node ids of pytest, or "round NAME:SEED" of a campaign."""
    if check.startswith(_ROUND):
        command = ["-m", "tests.torture.one_round", *check.removeprefix(_ROUND).rsplit(":", 1)]
    else:
        command = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *check.split()]
    # Bytecode is known by the second of its source: planted and mended in the same one, it would be stale.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(
        [sys.executable, *command],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=CHECK_S_MAX,
        check=False,
    )
