"""Lives of tests.kill.ingest_child: what it sent and what was acknowledged until its end came."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from core.append import LOCAL

REPOSITORY = Path(__file__).resolve().parents[2]
OPEN_S_MAX = 60.0


def start(root: Path, first: int, seed: int, durability: str = LOCAL) -> subprocess.Popen[bytes]:
    """A child that ingests from number `first` on."""
    command = [sys.executable, "-m", "tests.kill.ingest_child", str(root), str(first), str(seed), durability]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY)


def live(root: Path, first: int, seed: int, after_s: float, end: Callable[[], None], durability: str = LOCAL) -> bytes:
    """What the child said. `after_s` seconds after it opened the shard, `end` is called and the child is killed."""
    child = start(root, first, seed, durability)
    output = listen(child, after_s)
    end()
    child.send_signal(signal.SIGKILL)
    return output + rest(child)


def listen(child: subprocess.Popen[bytes], after_s: float) -> bytes:
    """What the child says until `after_s` seconds after it opened the shard."""
    assert child.stdout is not None
    output = b""
    deadline_s = None
    while deadline_s is None or time.monotonic() < deadline_s:
        wait_s = OPEN_S_MAX if deadline_s is None else max(0.0, deadline_s - time.monotonic())
        if not select.select([child.stdout], [], [], wait_s)[0]:
            break
        chunk = os.read(child.stdout.fileno(), 65536)
        assert chunk, f"the child ended by itself with {child.wait()}: {output[-500:]!r}"
        output += chunk
        if deadline_s is None and b"open\n" in output:
            deadline_s = time.monotonic() + after_s
    return output


def rest(child: subprocess.Popen[bytes]) -> bytes:
    """What the child says until its end."""
    assert child.stdout is not None
    output = child.stdout.read()
    child.stdout.close()
    child.wait()
    return output


def numbers(output: bytes, word: bytes) -> set[int]:
    """The numbers of all lines that begin with `word`: b"sent" or b"acked"."""
    found: set[int] = set()
    for line in output.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[0] == word:
            found |= set(range(int(fields[1]), int(fields[2]) + 1))
    return found
