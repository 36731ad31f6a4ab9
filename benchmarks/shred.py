"""How fast JSON and msgpack become typed columns on one core, beside other readers of JSON.

Each set is a block of about 16 MiB, as producers send it; a smaller set is repeated until it is as long (which is kind
to all that learn from what they have seen). The contenders take turns, on one thread each.
"""

from __future__ import annotations

import hashlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["POLARS_MAX_THREADS"] = "1"  # read when polars is imported

import duckdb
import msgpack
import orjson
import polars
import pyarrow as pa
import pyarrow.json

from benchmarks.record import REPOSITORY, store, value
from core.limits import BATCH_BYTES_TARGET, MIB
from ingest import reference
from ingest.compiled.warm_up import warm_up
from ingest.generate import generator
from ingest.input_files import open_events
from ingest.shred import ShredSettings, shred_dicts, shred_msgpack, shred_ndjson

DATA = REPOSITORY.parent / "shared" / "data"
NOW_US = 1_700_000_000_000_000
SETTINGS = ShredSettings()
RUNS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 5
GENERATED = "generated logs"
MALAMUTE = "malamute"
PLAIN = "orjson and plain Python"
BLOCKS = 8  # for the measurement with threads: a stream has many
THREAD_RUNS = 25  # a thread alone runs at one of two speeds here, a third apart, for seconds at a time
REFERENCE_BYTES = MIB  # of a block: plain Python
FAILS = (pa.ArrowException, duckdb.Error, polars.exceptions.PolarsError)

Run = Callable[[], Any]


def main() -> None:
    values: list[dict[str, Any]] = []
    details: dict[str, Any] = {"versions": {name: version(name) for name in ("polars", "orjson", "msgpack", "numba")}}
    for name in sets():
        block, once = block_of(name)
        print(f"-- {name}: {len(block)} bytes, {block.count(10)} events", flush=True)
        details[name] = {"bytes": len(block), "events": block.count(b"\n"), "bytes_before_repeating": once}
        rates = rates_of(block, contest(block), details[name])
        others = {other: rate for other, rate in rates.items() if other != MALAMUTE}
        best = max(others, key=lambda other: others[other])
        target = "≥ 350" if name == GENERATED else "≥ 250"
        values.append(value(f"{name}: NDJSON", rates[MALAMUTE], "MB/s", target))
        values.append(value(f"{name}: beside the fastest other ({best})", rates[MALAMUTE] / others[best], "x"))
        values += packed(name, block, details[name])
        if name == GENERATED:
            values += threads(block, details[name])
        values += memory(name, block, details[name])
    store("shred", values, details)


def rates_of(block: bytes, results: dict[str, list[float] | str], details: dict[str, Any]) -> dict[str, float]:
    """MB/s of each contender that reads the block."""
    details |= results
    sizes = {PLAIN: min(len(block), REFERENCE_BYTES)}
    return {
        contender: sizes.get(contender, len(block)) / statistics.median(seconds) / 1e6
        for contender, seconds in results.items()
        if not isinstance(seconds, str)
    }


def sets() -> list[str]:
    """Generated logs, and the real sets that are there."""
    return [GENERATED, *(path.name.partition(".")[0] for path in sorted(DATA.glob("*.ndjson.zst")))]


def block_of(name: str) -> tuple[bytes, int]:
    """(whole lines of about BATCH_BYTES_TARGET bytes, how many of them there are before they repeat)."""
    pieces: list[bytes] = []
    if name == GENERATED:
        events = generator("logs", 1, 0)
        while sum(map(len, pieces)) < BATCH_BYTES_TARGET:
            pieces.append(events.ndjson(8192, NOW_US))
    else:
        for unit in open_events(DATA / f"{name}.ndjson.zst"):
            pieces.append(unit.block.data if unit.block.data.endswith(b"\n") else unit.block.data + b"\n")
            if sum(map(len, pieces)) >= BATCH_BYTES_TARGET:
                break
    data = b"".join(pieces)
    once = min(len(data), BATCH_BYTES_TARGET)
    data *= -(-BATCH_BYTES_TARGET // len(data))
    return data[: data.rfind(b"\n", 0, BATCH_BYTES_TARGET) + 1], once


def contest(block: bytes) -> dict[str, list[float] | str]:
    """Seconds of each run of each contender, or why it cannot read the block."""
    with tempfile.TemporaryDirectory(prefix="malamute-bench-", dir=_memory_directory()) as directory:
        path = Path(directory) / "block.ndjson"
        path.write_bytes(block)
        database = duckdb.connect(config={"threads": 1})
        part = block[: block.rfind(b"\n", 0, REFERENCE_BYTES) + 1]
        options = pa.json.ReadOptions(use_threads=False, block_size=len(block))
        query = f"SELECT * FROM read_json('{path}', format = 'newline_delimited', sample_size = {{size}})"
        contenders: dict[str, Run] = {
            MALAMUTE: lambda: shred_ndjson(block, SETTINGS, ingest_time_us=NOW_US),
            "DuckDB, complete sampling": lambda: database.sql(query.format(size=-1)).to_arrow_table(),
            "DuckDB, sample of 20,480": lambda: database.sql(query.format(size=20_480)).to_arrow_table(),
            "pyarrow": lambda: pa.json.read_json(io.BytesIO(block), read_options=options),
            "polars": lambda: polars.read_ndjson(io.BytesIO(block), infer_schema_length=None),
            PLAIN: lambda: reference.shred_ndjson(part, SETTINGS, ingest_time_us=NOW_US),
        }
        seconds: dict[str, list[float] | str] = {}
        for name, run in list(contenders.items()):
            try:
                run()
            except FAILS as error:
                seconds[name] = f"fails: {str(error).splitlines()[0][:200]}"
                del contenders[name]
        return {**_timed(contenders), **seconds}


def packed(name: str, block: bytes, details: dict[str, Any]) -> list[dict[str, Any]]:
    """The same events packed, and as Python dicts."""
    events = [orjson.loads(line) for line in block.splitlines()]
    stream = b"".join(map(msgpack.packb, events))
    seconds = _timed(
        {
            "msgpack": lambda: shred_msgpack(stream, SETTINGS, ingest_time_us=NOW_US),
            "dicts": lambda: shred_dicts(events, SETTINGS, ingest_time_us=NOW_US),
        }
    )
    details |= seconds | {"msgpack_bytes": len(stream)}
    medians = {what: statistics.median(found) for what, found in seconds.items()}
    return [
        value(f"{name}: msgpack", len(stream) / medians["msgpack"] / 1e6, "MB/s", "≥ 500" if name == GENERATED else ""),
        value(f"{name}: Python dicts", len(events) / medians["dicts"] / 1e6, "M events/s"),
    ]


def threads(block: bytes, details: dict[str, Any]) -> list[dict[str, Any]]:
    """What a second thread adds, and what it adds to work that shares nothing: the most that this machine can give."""

    def shred(data: bytes) -> Any:
        return shred_ndjson(data, SETTINGS, ingest_time_us=NOW_US)

    blocks = [block] * BLOCKS
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(2) as two:
        seconds = _timed(
            {
                "one thread": lambda: list(one.map(shred, blocks)),
                "two threads": lambda: list(two.map(shred, blocks)),
                "one hash": lambda: list(one.map(_hash, blocks)),
                "two hashes": lambda: list(two.map(_hash, blocks)),
            },
            runs=THREAD_RUNS,
        )
    details |= seconds
    medians = {what: statistics.median(found) for what, found in seconds.items()}
    return [
        value(f"{GENERATED}: two threads", medians["one thread"] / medians["two threads"], "x", "≥ 1.8"),
        value("two threads that only hash with SHA-256", medians["one hash"] / medians["two hashes"], "x"),
    ]


def _hash(block: bytes) -> bytes:
    return hashlib.sha256(block).digest()


def memory(name: str, block: bytes, details: dict[str, Any]) -> list[dict[str, Any]]:
    """What a shred takes at its peak."""
    code = [sys.executable, "-m", "benchmarks.shred", "--memory", name]
    peak = int(subprocess.run(code, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout)
    details["peak_bytes"] = peak
    return [value(f"{name}: peak memory beyond the input, batch included", peak / len(block), "x", "≤ 4")]


def print_peak(name: str) -> None:
    """In a fresh process: how far the resident memory rises above where it was before a shred, in bytes.

    The kernel keeps the high-water mark (VmHWM), so that nothing between two looks is missed; the code that stays is
    loaded before, as in every process that shreds.
    """
    block, _ = block_of(name)
    warm_up()
    Path("/proc/self/clear_refs").write_text("5")  # the mark begins anew
    before = _status_bytes("VmRSS")
    shredded = shred_ndjson(block, SETTINGS, ingest_time_us=NOW_US)
    peak = _status_bytes("VmHWM") - before
    if shredded.rejected:
        raise RuntimeError(f"{len(shredded.rejected)} events of {name} were rejected")
    print(peak)


def _status_bytes(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{name}:"))


def _timed(contenders: dict[str, Run], runs: int = RUNS) -> dict[str, list[float]]:
    """Seconds of so many runs of each, taking turns, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(runs + 1):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def _memory_directory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        print_peak(sys.argv[2])
    else:
        main()
