"""Blocks of so many paths that the tables are condensed: the same events as the reference, in bounded memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pyarrow as pa
import pytest

from ingest import reference
from ingest.compiled import events as compiled_events
from ingest.shred import Shredded, ShredSettings, shred_msgpack, shred_ndjson
from ingest.unshred import unshred
from tests.fuzz.targets import NOW

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = (ShredSettings(), ShredSettings(max_paths=0), ShredSettings(timestamp="a.b", max_paths=3))
VALUES: tuple[Any, ...] = (
    *(1, -7, 2**64 - 1, 2**70, 0.5, 1e300, 12345678901234567890.125, True, None, "text", 'q"\\\n', "é", ""),
    *([], [1, 2], ["x", None], [1, "x"], [{"a": 1.50}], {}, {"b": 2, "c": {"d": [True]}}),
)


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tables that are condensed after a few events; the list gets the number of rows each time."""
    monkeypatch.setattr(compiled_events, "_NODES_CROWDED", 0)
    monkeypatch.setattr(compiled_events, "_CONDENSED_PARTS_MAX", 1_000_000)
    condensed = []

    def condense(tape: Any, paths: Any, max_paths: int) -> Any:
        condensed.append(int(tape.state[compiled_events.ROWS]))
        return original(tape, paths, max_paths)

    original = compiled_events.condense
    monkeypatch.setattr(compiled_events, "condense", condense)
    return condensed


def hostile_events(seed: int) -> list[dict[str, Any]]:
    """Events some of whose keys never repeat and some do, with values of every kind."""
    rng = random.Random(seed)
    events = []
    for number in range(1200):
        keys = [*(f"k{number}-{place}" for place in range(rng.randrange(5))), *rng.sample("abcdefgh", 4)]
        event = {key: rng.choice(VALUES) for key in keys}
        if rng.random() < 0.3:
            event["a"] = {"b": rng.choice([1_700_000_000 + number, "2024-01-01T00:00:00Z", "no time"]), f"n{number}": 1}
        if rng.random() < 0.3:
            event["timestamp"] = rng.choice([1_700_000_000.25, "no time", [1]])
        events.append(event)
    return events


def check_same(found: Shredded, expected: Shredded) -> None:
    """All that callers see is the same; which paths are columns is not, and whose place in `_rest` comes first."""
    assert found.batch is not None and expected.batch is not None
    found.batch.validate(full=True)
    assert found.rejected == expected.rejected
    assert found.timestamps_missing == expected.timestamps_missing
    assert found.timestamps_unreadable == expected.timestamps_unreadable
    for name in ("timestamp", "_timestamp_inferred"):
        assert found.batch[name].equals(expected.batch[name])
    assert shown(found.batch) == shown(expected.batch)


def shown(batch: pa.RecordBatch) -> list[str]:
    """The events with sorted keys."""
    return [json.dumps(event, sort_keys=True, default=str) for event in unshred(batch)]


@pytest.mark.parametrize("seed", range(6))
def test_condensed_events_are_the_references(crowded: list[int], seed: int) -> None:
    events = hostile_events(seed)
    settings = SETTINGS[seed % len(SETTINGS)]
    lines = [*map(json.dumps, events)]
    for place in range(50, 1200, 50):
        lines[place] += ' {"broken'
        lines[place + 1] = f'{{"x":1,"x":2,"new{place}":1.5}}'
    data = "\n".join(lines).encode()
    found = shred_ndjson(data, settings, ingest_time_us=NOW)
    check_same(found, reference.shred_ndjson(data, settings, ingest_time_us=NOW))
    assert len(set(crowded)) >= 2
    packed = [event for event in events if 2**70 not in event.values()]
    crowded.clear()
    found = shred_msgpack(b"".join(map(msgpack.packb, packed)), settings, ingest_time_us=NOW)
    check_same(found, reference.shred_dicts(packed, settings, ingest_time_us=NOW))
    assert len(set(crowded)) >= 2


# What keys that never repeat take at their peak, in a fresh process; see benchmarks.shred.
PROBE = """
from pathlib import Path
from ingest.compiled.warm_up import warm_up
from ingest.shred import ShredSettings, shred_ndjson

flat = b"".join(b'{"k%d":1}\\n' % number for number in range(250_000))
wide = b"".join(b"{%s}\\n" % b",".join(b'"%d.%d":1' % (event, key) for key in range(5000)) for event in range(50))
warm_up()

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

for block in (wide, flat):
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    rows = shred_ndjson(block, ShredSettings(), ingest_time_us=1).batch.num_rows
    print(rows, (status("VmHWM") - before) / len(block))
"""


def test_keys_that_never_repeat_take_a_few_times_their_block() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (wide_rows, wide), (flat_rows, flat) = map(str.split, done.stdout.splitlines())
    assert (wide_rows, flat_rows) == ("50", "250000")
    assert max(float(wide), float(flat)) < 16  # measured: 12 and 9; without condensing 25 and 20
