"""A process to be killed: appends numbered events to one shard and tells of every acknowledgement.

Before each append it writes `sent A B`, after the acknowledgement `acked A B` to its standard output, a pipe that
the parent reads; what the pipe holds at the kill is the oracle.
"""

from __future__ import annotations

import os
import random
import secrets
import sys
import threading
from collections.abc import Callable
from functools import partial

from core.append import LOCAL, OBJECT
from core.clock import SystemClock
from core.errors import MalamuteError
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.object_wal import ObjectWalOptions
from storage.recovery import open_shard
from storage.shard import Shard
from storage.stream_settings import StreamSettings
from tests.support.shards import OPTIONS, STREAM, TENANT, append, body, open_on_objects


def open_real(root: str, durability: str = LOCAL) -> tuple[Shard, LocalObjectStore]:
    fs = LocalFileSystem()
    objects = LocalObjectStore(root, fs)
    if durability == OBJECT:
        quick = ObjectWalOptions(interval_s=0.005)
        return open_on_objects(objects, clock=SystemClock(), wal_options=quick), objects
    shard = open_shard(
        OPTIONS,
        fs=fs,
        objects=objects,
        wal_directory=f"{root}/wal/0000",
        clock=SystemClock(),
        new_file_id=lambda: secrets.randbits(64),
        stream_settings=lambda tenant, stream: StreamSettings(stream),
    )
    return shard, objects


def main(root: str, first: int, seed: int, durability: str) -> None:
    rng = random.Random(seed)
    shard, _ = open_real(root, durability)
    body([0])  # what is loaded at the first batch is loaded before the clock of this life starts
    _say("open")
    threading.Thread(target=_flush_forever, args=(shard, rng.random() * 0.05 + 0.01), daemon=True).start()
    epoch = shard.open_producer(TENANT, STREAM, "child").epoch
    sequence = 0
    while True:
        numbers = range(first, first + rng.randrange(1, 200))
        _say(f"sent {numbers[0]} {numbers[-1]}")
        _or_fail(partial(append, shard, "child", epoch, sequence, numbers))
        _say(f"acked {numbers[0]} {numbers[-1]}")
        first, sequence = numbers[-1] + 1, sequence + 1


def _flush_forever(shard: Shard, interval_s: float) -> None:
    pause = threading.Event()
    while not pause.wait(interval_s):
        _or_fail(shard.flush)


def _or_fail(operation: Callable[[], object]) -> None:
    try:
        operation()
    except MalamuteError as error:
        _say(f"failed {error}")
        os._exit(3)


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
