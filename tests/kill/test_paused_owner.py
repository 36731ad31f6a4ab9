"""T28: an owner is stopped at a random moment and replaced; woken again it acknowledges and publishes nothing more."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from core.append import OBJECT
from tests.kill.ingest_child import open_real
from tests.kill.lives import listen, numbers, rest, start
from tests.support.shards import STREAM, TENANT, append, check_exactly_once, stored_rows

PAUSES = int(os.environ.get("MALAMUTE_PAUSES", "5"))
PAUSE_S_MAX = float(os.environ.get("MALAMUTE_PAUSE_S_MAX", "0.3"))
MINE = 1_000_000_000  # numbers of the successor, apart from the child's


def test_a_stopped_and_replaced_owner_acknowledges_and_publishes_nothing(tmp_path):
    assert pauses(tmp_path, int(os.environ.get("MALAMUTE_SEED", "28"))) > 0


def pauses(root: Path, seed: int) -> int:
    """Stop, replace and wake PAUSES owners of one store; how many of them learned of it from a fence."""
    rng = random.Random(seed)
    sent: set[int] = set()
    acknowledged: set[int] = set()
    fenced = 0
    for cycle in range(PAUSES):
        first = max((n for n in sent if n < MINE), default=-1) + 1
        child = start(root, first, rng.randrange(2**31), OBJECT)
        output = listen(child, rng.uniform(0.02, 0.4))
        child.send_signal(signal.SIGSTOP)
        try:
            shard, objects = open_real(str(root), OBJECT)
            epoch = shard.open_producer(TENANT, STREAM, "successor").epoch
            mine = [MINE + cycle * 1000 + number for number in range(10)]
            for sequence, n in enumerate(mine):
                append(shard, "successor", epoch, sequence, [n])
                if sequence == 5:
                    shard.flush()
            before = {n for _, n in stored_rows(shard, objects)}
            time.sleep(rng.uniform(0.0, PAUSE_S_MAX))
        finally:
            child.send_signal(signal.SIGCONT)
        output += rest(child)  # it ends by itself when it finds out
        # It learns of its fence, or before that of the file that it was writing and that its successor cleaned away.
        assert child.returncode == 3 and b"failed " in output, output[-300:]
        fenced += b"was fenced by" in output
        sent |= numbers(output, b"sent") | set(mine)
        acknowledged |= numbers(output, b"acked") | set(mine)
        # What it was told to be stored, it was told of events that the successor had found: nothing came later.
        assert numbers(output, b"acked") <= before
        assert {n for _, n in stored_rows(shard, objects)} == before
        shard.abandon()
        shard, objects = open_real(str(root), OBJECT)
        rows = stored_rows(shard, objects)
        shard.abandon()
        check_exactly_once(rows, acknowledged, sent)
        acknowledged = {n for _, n in rows}
    return fenced
