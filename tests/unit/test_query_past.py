"""Queries of the past without Ray: at an instant, and of a named snapshot, against the same question over its rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import InvalidName, InvalidQuery, InvalidRequest, NotFound
from core.ids import ShardId
from query.coordinate import Queries
from query.executor import Executor
from query.options import QueryOptions
from query.past import at_of
from storage.catalog import Catalog
from storage.manifest_format import Manifest
from storage.memtable import stamp
from storage.named_snapshot_format import NamedSnapshot
from storage.snapshot import StreamSnapshot
from storage.stream_settings import StreamSettings
from tests.support.local_backend import FixedSnapshots, FixedStreams, LocalBackend, memory_states
from tests.support.shards import batch
from tests.unit.test_query_shards import NOW_US, to_segment

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

FIRST_US = 1_700_000_000_000_000
SECOND_US = 1_000_000
BATCHES = 12  # of five events
QUESTIONS = (
    "SELECT count(*) AS a, sum(n) AS b FROM logs",
    "SELECT service, count(*) AS c FROM logs GROUP BY service ORDER BY service",
    "SELECT n FROM logs ORDER BY n DESC LIMIT 3",
    "SELECT n FROM logs WHERE service = 's1' ORDER BY n",
    "SELECT median(n) AS m FROM logs",
    "SELECT count(*) AS c FROM logs a JOIN logs b ON a.n = b.n",
    "SELECT count(*) AS c FROM logs WHERE _ingested_at > '2023-11-14 22:13:30+00'",
    "WITH t AS (SELECT n FROM logs) SELECT max(n) AS m FROM t",
)


class Past:
    """Two shards that took batches of five in turn, one a second; the first half of them is in segments."""

    def __init__(self, directory: Path) -> None:
        self.executor = Executor(threads=1, data_directories=[str(directory)])
        self.snapshots = []
        manifests = []
        for shard in range(2):
            mine = range(shard, BATCHES, 2)
            batches = [
                stamp(batch(range(5 * number, 5 * number + 5)), 5 * place, FIRST_US + number * SECOND_US)
                for place, number in enumerate(mine)
            ]
            half = len(batches) // 2
            segments = tuple(
                to_segment(one, "logs", directory / f"{shard}-{number}.parquet", shard)
                for number, one in enumerate(batches[:half])
            )
            held = StreamSnapshot(ShardId(shard), "default", "logs", 7, 5 * len(mine), segments, tuple(batches[half:]))
            self.snapshots.append({"logs": held})
            manifests.append(Manifest(shard, 7, 1, wal_floor=5 * half, segments=segments))
        catalog = Catalog(1, {"default": {"logs": StreamSettings("logs")}})
        self.named = NamedSnapshot("named", "default", NOW_US, None, catalog, tuple(manifests))

    def ask(self, text: str, at: str | int | None = None, shards: int = 2, readers: int = 0) -> list[dict[str, object]]:
        backend = LocalBackend(self.snapshots[:shards], self.executor, readers, memory_states())
        streams = FixedStreams([StreamSettings("logs"), StreamSettings("later")])
        queries = Queries(backend, self.executor, ManualClock(NOW_US), streams, FixedSnapshots(self.named))
        answers = [queries.answer(text, None, "default", QueryOptions(at=at)).table.to_pylist() for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]
        return answers[0]


@pytest.fixture(scope="module")
def past(tmp_path_factory) -> Past:
    return Past(tmp_path_factory.mktemp("past"))


@pytest.mark.parametrize("text", QUESTIONS)
def test_at_an_instant_only_what_was_stored_until_then_is_there(past: Past, text: str) -> None:
    for number in (-1, 0, 3, BATCHES // 2, BATCHES):
        at_us = FIRST_US + number * SECOND_US
        assert past.ask(text, at_us) == past.ask(among(text, 5 * number + 5)), number


def among(text: str, count: int) -> str:
    """`text` over the first `count` events."""
    some = f"(SELECT *, _ingested_at FROM logs WHERE n < {count})"
    return (
        text.replace("FROM logs", f"FROM {some} AS logs").replace("AS logs a", "a").replace("JOIN logs", f"JOIN {some}")
    )


@pytest.mark.parametrize("readers", [0, 2])
@pytest.mark.parametrize("text", QUESTIONS)
def test_of_a_named_snapshot_its_segments_are_read_and_no_shard_is_asked(past: Past, text: str, readers: int) -> None:
    expected = past.ask(among(text, 5 * BATCHES // 2))
    assert past.ask(text, "named", readers=readers) == expected
    # A shard of then is no more: others read its segments.
    assert past.ask(text, "named", shards=1, readers=readers) == expected


def test_streams_of_a_named_snapshot_are_those_of_then(past: Past) -> None:
    with pytest.raises(NotFound, match="later"):
        past.ask("SELECT * FROM later", "named")
    assert [row["name"] for row in past.ask("SHOW STREAMS", "named")] == ["logs"]
    assert {row["column_name"] for row in past.ask("DESCRIBE logs", "named")} >= {"n", "service"}
    for text in ("SHOW STREAMS", "DESCRIBE logs"):
        with pytest.raises(InvalidQuery, match="not of an instant"):
            past.ask(text, FIRST_US)


def test_what_at_may_be() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=2)))
    us = int(moment.timestamp() * 1e6)
    assert [at_of(at) for at in (moment, elsewhere, "2026-01-02T03:04:05Z")] == [us, us, us]
    assert [at_of(at) for at in (None, "nightly")] == [None, "nightly"]
    wrong = ((7, InvalidRequest), ("", InvalidName), ("Nightly", InvalidName), ("2026-13-01", InvalidQuery))
    for at, error in wrong:
        with pytest.raises(error):
            at_of(at)
