"""Processes of a test's own that are killed, or stopped for a while."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STOP_S_MAX = 10.0
ANSWER_S_MAX = 60.0


def pids(actors: Callable[[], list[dict[str, Any]]]) -> list[int]:
    """The processes of shards or readers as the status lists them, as soon as each of them has answered it."""
    deadline_s = time.monotonic() + ANSWER_S_MAX
    while True:
        listed = actors()
        if all("pid" in actor for actor in listed):
            return [actor["pid"] for actor in listed]
        assert time.monotonic() < deadline_s, listed


def pause(pid: int) -> None:
    """Stop a process, and return when it has stopped: on a busy machine its other threads run on for a moment."""
    os.kill(pid, signal.SIGSTOP)
    deadline_s = time.monotonic() + STOP_S_MAX
    while not all(_stopped(stat) for stat in Path(f"/proc/{pid}/task").glob("*/stat")):
        assert time.monotonic() < deadline_s, f"process {pid} does not stop"
        time.sleep(0.001)


def _stopped(stat: Path) -> bool:
    try:
        return stat.read_text().rpartition(")")[2].split()[0] in ("T", "t")
    except (FileNotFoundError, ProcessLookupError):
        return True  # a thread that has ended
