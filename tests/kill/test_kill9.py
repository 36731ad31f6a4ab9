"""T4: a child ingests numbered events and is killed at random times; nothing acknowledged is lost or doubled."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.kill.ingest_child import open_real
from tests.support.shards import check_exactly_once, stored_rows

CYCLES = int(os.environ.get("MALAMUTE_KILL_CYCLES", "6"))
REPOSITORY = Path(__file__).resolve().parents[2]


def run_until_killed(root: Path, first: int, seed: int, after_s: float) -> tuple[set[int], set[int]]:
    """(sent, acknowledged) of one life; the child is killed `after_s` seconds after it opened the shard."""
    command = [sys.executable, "-m", "tests.kill.ingest_child", str(root), str(first), str(seed)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY)
    output = b""
    deadline = None
    assert child.stdout is not None
    while deadline is None or time.monotonic() < deadline:
        wait_s = 60.0 if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([child.stdout], [], [], wait_s)[0]:
            break
        chunk = os.read(child.stdout.fileno(), 65536)
        assert chunk, f"the child ended by itself with {child.wait()}: {output[-500:]!r}"
        output += chunk
        if deadline is None and b"open\n" in output:
            deadline = time.monotonic() + after_s
    child.send_signal(signal.SIGKILL)
    output += child.stdout.read()
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    assert b"failed" not in output, output[-500:]
    return numbers(output, b"sent"), numbers(output, b"acked")


def numbers(output: bytes, word: bytes) -> set[int]:
    found: set[int] = set()
    for line in output.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[0] == word:
            found |= set(range(int(fields[1]), int(fields[2]) + 1))
    return found


def test_kill_9_at_random_times_loses_and_doubles_nothing(tmp_path):
    seed = int(os.environ.get("MALAMUTE_SEED", "4"))
    rng = random.Random(seed)
    sent: set[int] = set()
    acknowledged: set[int] = set()
    for _ in range(CYCLES):
        first = max(sent, default=-1) + 1
        more_sent, more_acknowledged = run_until_killed(tmp_path, first, rng.randrange(2**31), rng.uniform(0.05, 0.6))
        assert more_acknowledged <= more_sent
        sent |= more_sent
        acknowledged |= more_acknowledged
        shard, objects = open_real(str(tmp_path))
        rows = stored_rows(shard, objects)
        shard.abandon()
        check_exactly_once(rows, acknowledged, sent)
        # What was never answered may be there or not, but from now on it stays as it is.
        acknowledged = {n for _, n in rows}
    assert len(acknowledged) > 1000
