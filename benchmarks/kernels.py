"""How fast the parts of the compiled shredder are, each alone in a loop: a slower one is seen here before in a sum."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from numba import njit

from benchmarks.record import store, value
from benchmarks.shred import GENERATED, NOW_US, block_of
from ingest.compiled.columns import find_dictionary
from ingest.compiled.json_scan import LINES, scan_json
from ingest.compiled.json_text import scan_json_text
from ingest.compiled.numbers import scan_number
from ingest.compiled.paths import grown, hash_bytes, new_paths
from ingest.compiled.tape import DONE, ROOM, new_tape
from ingest.compiled.texts import scan_string
from ingest.compiled.times import time_of_text
from ingest.compiled.vectors import PADDING, address_of
from ingest.row_columns import DICTIONARY_PROBE
from ingest.shred import ShredSettings, shred_ndjson

COUNT = 200_000  # values of each kind
NESTED = '[{"key":"value of it","n":[1,2.5,true,null]},{"key":"other"}]'
RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 7

Texts = tuple[np.ndarray, np.ndarray, np.ndarray]


@njit(nogil=True)
def numbers(src: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> int:
    total = 0
    for start in starts:
        kind, bits, end = scan_number(address_of(src), start)
        total += kind + bits + end
    return total


@njit(nogil=True)
def strings(src: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> int:
    total, room = 0, len(src) - 2 * PADDING - lengths[0]
    for start in starts:
        text, length, end, _ = scan_string(address_of(src), start + 1, room)
        total += text + length + end
    return total


@njit(nogil=True)
def times(src: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> int:
    total = 0
    for index in range(len(starts)):
        found, time_us = time_of_text(address_of(src), starts[index], lengths[index])
        total += found + time_us
    return total


@njit(nogil=True)
def hashes(src: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> int:
    total = 0
    for index in range(len(starts)):
        total ^= hash_bytes(address_of(src), starts[index], lengths[index], 0, 1234567)
    return total


@njit(nogil=True)
def json_texts(src: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> int:
    total, room = 0, len(src) - 2 * PADDING - lengths[0]
    for start in starts:
        end, arena, plain = scan_json_text(address_of(src), start, 2, 32, room)
        total += end + arena + plain
    return total


def main() -> None:
    rng = Random(1)
    literals = {
        "whole numbers of 1 to 9 digits": (
            numbers,
            [str(rng.randrange(10 ** rng.randint(1, 9))) for _ in range(COUNT)],
        ),
        "whole numbers of 18 to 20 digits": (numbers, [str(rng.randrange(10**17, 2**64)) for _ in range(COUNT)]),
        "floats of 3 decimals": (numbers, [f"{rng.random() * 1000:.3f}" for _ in range(COUNT)]),
        "floats of 17 digits": (numbers, [repr(rng.random()) for _ in range(COUNT)]),
        "strings of 20 characters": (strings, [f'"{"x" * 20}"'] * COUNT),
        "strings of 200 characters": (strings, [f'"{"x" * 200}"'] * (COUNT // 5)),
        "strings of 100 with 3 escapes": (strings, [f'"{"x" * 40}\\n{"x" * 40}\\"\\u00e9{"x" * 17}"'] * (COUNT // 5)),
        "strings of 100 that are half non-ASCII": (strings, [f'"{"xé" * 50}"'] * (COUNT // 5)),
        "times as RFC 3339": (times, [f"2024-01-{rng.randint(10, 28)}T12:34:56.{rng.randrange(10**6):06}Z"] * COUNT),
        "times as epoch text": (times, [f"{rng.randrange(1_700_000_000_000)}" for _ in range(COUNT)]),
        "hashes of 8 bytes": (hashes, [f"{rng.randrange(10**8):08}" for _ in range(COUNT)]),
        "hashes of 100 bytes": (hashes, ["x" * 100] * COUNT),
        "JSON text of 62 characters": (
            json_texts,
            ['[{"key":"value of it","n":[1,2.5,true,null]},{"key":"other"}]'] * COUNT,
        ),
    }
    runs: dict[str, tuple[Callable[[], Any], int, int]] = {}
    for name, (run, texts) in literals.items():
        arrays = _laid_out(texts)
        runs[name] = (lambda run=run, arrays=arrays: run(*arrays), len(texts), sum(map(len, texts)))
    runs |= _columns(rng)
    values, details = [], {}
    for name, (call, count, size) in runs.items():
        call()
        details[name] = [_seconds(call) for _ in range(RUNS)]
        best = statistics.median(details[name])
        values.append(value(name, count / best / 1e6, "M/s"))
        values.append(value(f"{name}, bytes", size / best / 1e6, "MB/s"))
    store("kernels", values, details)


def _laid_out(texts: list[str]) -> Texts:
    """The texts one after the other as (src, starts, lengths), with room for one more behind them."""
    encoded = [text.encode() for text in texts]
    lengths = np.array([len(text) for text in encoded])
    starts = np.cumsum(lengths + 1) - lengths - 1
    room = PADDING + int(lengths.max()) + 2 * PADDING
    return np.frombuffer(b",".join(encoded) + bytes(room), np.uint8).copy(), starts, lengths


def _columns(rng: Random) -> dict[str, tuple[Callable[[], Any], int, int]]:
    """What is done with the tape of a scan."""
    texts = [f"value number {rng.randrange(300):05}" for _ in range(COUNT)]
    src, starts, lengths = _laid_out(texts)
    bits = starts << 32 | lengths
    size = int(lengths.sum())
    others, other_starts, other_lengths = _laid_out([f"value number {number:05}" for number in range(COUNT)])
    other_bits = other_starts << 32 | other_lengths
    places, seen = np.empty(COUNT, np.int32), np.empty(COUNT, np.int64)
    probed = int(other_lengths[:DICTIONARY_PROBE].sum())
    block, _ = block_of(GENERATED)
    events = block.count(b"\n")
    settings = ShredSettings()
    return {
        "dictionary of 300 texts": (lambda: find_dictionary(src, bits, 1, places, seen), COUNT, size),
        "dictionary that does not pay": (
            lambda: find_dictionary(others, other_bits, 1, places, seen),
            DICTIONARY_PROBE,  # it sees no more of them
            probed,
        ),
        "generated logs to a tape": (lambda: _scan(block), events, len(block)),
        "generated logs to a batch": (lambda: shred_ndjson(block, settings, ingest_time_us=NOW_US), events, len(block)),
    }


def _scan(block: bytes) -> None:
    tape, paths = new_tape(block, 5), new_paths()
    no_time = np.array([-1], np.int64)
    while (status := scan_json(tape, paths, len(block), LINES, no_time, NOW_US)) != DONE:
        if status != ROOM:
            raise RuntimeError("a generated event is hard")
        paths = grown(paths, 4096)


def _seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
