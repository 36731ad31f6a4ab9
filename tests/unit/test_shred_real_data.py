"""Every event of the real data sets (thinned evenly where they are large) comes back equal from its batch."""

import datetime
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.batch import check_batch, decode_batch, encode_batch
from ingest.input_files import JsonUnit, open_events
from ingest.shred import ShredSettings, fitting, shred_ndjson
from ingest.unshred import nest, unshred
from tests.support.json_events import flat, typed

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
FILES = sorted(DATA.glob("*.ndjson.zst"))
EVENTS_MAX = int(os.environ.get("MALAMUTE_TEST_EVENTS_MAX", "1000"))
NOW = 1_700_000_000_000_000

pytestmark = pytest.mark.skipif(not FILES, reason="the real data sets are not there")


def lines_of(path: Path) -> Iterator[bytes]:
    for unit in open_events(path):
        assert isinstance(unit, JsonUnit)
        yield from unit.block.data.splitlines()


def expected(line: bytes) -> dict[str, Any]:
    """The event as Python reads it, with its time as a datetime and without nulls."""
    event = flat(json.loads(line))
    event["@timestamp"] = datetime.datetime.fromisoformat(event["@timestamp"])
    return nest(event)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.partition(".")[0])
@pytest.mark.parametrize("max_paths", [1000, 20])
def test_every_event_comes_back_equal(path: Path, max_paths: int) -> None:
    step = max(1, sum(1 for _ in lines_of(path)) // EVENTS_MAX)
    picked = itertools.islice(lines_of(path), None, None, step)
    while lines := list(itertools.islice(picked, EVENTS_MAX)):
        shredded = shred_ndjson(b"\n".join(lines), ShredSettings(max_paths=max_paths), ingest_time_us=NOW)
        assert (shredded.rejected, shredded.timestamps_missing, shredded.timestamps_unreadable) == ((), 0, 0)
        back = []
        for batch in fitting(shredded.batch):
            sent = decode_batch(encode_batch(check_batch(batch)))
            back += unshred(sent, nested=True, timestamp="@timestamp")
        assert len(back) == len(lines)
        for line, event in zip(lines, back, strict=True):
            assert typed(event) == typed(expected(line))
