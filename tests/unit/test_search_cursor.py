"""Pages of a search: together the whole result of the first page's snapshot; a cursor is right or refused."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgpack
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.clock import ManualClock
from core.errors import InvalidRequest
from core.limits import SEARCH_PAGE_ROWS_MAX
from malamute.result import Page
from malamute.search_cursor import NEWEST, OLDEST, SearchRequest, page_of
from query.coordinate import Queries
from query.executor import Executor
from query.options import QueryOptions
from query.parse import parse
from storage.snapshot import StreamSnapshot
from storage.stream_settings import StreamSettings
from tests.support.batches import START_US, memtable_batch
from tests.support.local_backend import FixedSnapshots, FixedStreams, LocalBackend
from tests.unit.test_query_shards import to_segment

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

NOW_US = START_US + 10_000_000
SHARDS = 3


def request(query: str = "*", limit: int = 10, order: str = NEWEST, **more: Any) -> SearchRequest:
    return SearchRequest(
        "logs", query, more.pop("last", None), more.pop("start", None), more.pop("end", None), limit, order
    )


@dataclass
class Log:
    """Stream `logs` on three shards: events come in as memtable batches, and may be flushed."""

    directory: Path
    executor: Executor
    rows: list[tuple[int, int, int, str]] = field(default_factory=list)  # time, shard, offset, message
    _held: list[StreamSnapshot] = field(
        default_factory=lambda: [StreamSnapshot(n, "default", "logs", 1, 0, (), ()) for n in range(SHARDS)]
    )

    def write(self, shard: int, events: list[tuple[int, str]], **columns: list[Any]) -> None:
        """Add (seconds, message) of events to a shard."""
        before = self._held[shard]
        first = before.visible_offset
        times = [START_US + seconds * 1_000_000 for seconds, _ in events]
        paths: dict[tuple[str, str], list[Any]] = {("message", "str"): [message for _, message in events]}
        paths |= {(path, "int"): values for path, values in columns.items()}
        batch = memtable_batch(paths, times, first)
        self.rows += [(time, shard, first + n, events[n][1]) for n, time in enumerate(times)]
        memtable = (*before.memtable, batch)
        self._held[shard] = StreamSnapshot(
            before.shard, "default", "logs", before.manifest_version, first + len(events), before.segments, memtable
        )

    def flush(self, shard: int) -> None:
        before = self._held[shard]
        path = self.directory / f"{shard}-{before.manifest_version}"
        files = [path.with_suffix(f".{n}.parquet") for n in range(len(before.memtable))]
        segments = [to_segment(b, "logs", file, shard) for b, file in zip(before.memtable, files, strict=True)]
        self._held[shard] = StreamSnapshot(
            before.shard,
            "default",
            "logs",
            before.manifest_version + 1,
            before.visible_offset,
            (*before.segments, *segments),
            (),
        )

    def page(self, asked: SearchRequest, cursor: str | None = None) -> Page:
        snapshots = [{"logs": held} for held in self._held]
        queries = Queries(
            LocalBackend(snapshots, self.executor),
            self.executor,
            ManualClock(NOW_US),
            FixedStreams([StreamSettings("logs")]),
            FixedSnapshots(),
        )
        text, parameters = asked.sql(cursor, NOW_US)
        return page_of(asked, cursor, parameters, queries.answer(text, parameters, "default", QueryOptions()))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    executor = Executor(threads=1, data_directories=[str(tmp_path)])
    yield Log(tmp_path, executor)
    executor.close()


def messages(page: Page) -> list[str]:
    found: list[str] = page.to_arrow().column("message").to_pylist()
    return found


def random_events(rng: random.Random, count: int, name: str) -> list[tuple[int, str]]:
    """Few different times, so that many are equal."""
    return [(rng.randrange(4), f"{name}-{n} {rng.choice(['red', 'blue'])}") for n in range(count)]


@pytest.mark.parametrize("order", [NEWEST, OLDEST])
@pytest.mark.parametrize("seed", range(4))
def test_pages_together_are_the_whole_result_while_events_come_in(log: Log, order: str, seed: int) -> None:
    rng = random.Random(seed)
    for turn in range(5):
        log.write(rng.randrange(SHARDS), random_events(rng, rng.randrange(1, 16), f"old{turn}"))
        if rng.random() < 0.4:
            log.flush(rng.randrange(SHARDS))
    query = rng.choice(["*", "red"])
    expected = [row[3] for row in sorted(log.rows, reverse=order == NEWEST) if query == "*" or query in row[3]]
    asked = request(query, rng.randrange(4, 12), order)
    seen: list[str] = []
    cursor = None
    for turn in range(len(expected) + 1):
        page = log.page(asked, cursor)
        assert len(page) <= asked.limit
        seen += messages(page)
        cursor = page.cursor
        if cursor is None:
            break
        log.write(rng.randrange(SHARDS), random_events(rng, 3, f"new{turn}"))
        if rng.random() < 0.3:
            log.flush(rng.randrange(SHARDS))
    assert cursor is None and seen == expected


def test_a_last_page_that_is_full_leads_to_an_empty_one(log: Log) -> None:
    log.write(0, [(n, f"m{n}") for n in range(6)])
    first = log.page(request(limit=3))
    second = log.page(request(limit=3), first.cursor)
    third = log.page(request(limit=3), second.cursor)
    assert [messages(page) for page in (first, second, third)] == [["m5", "m4", "m3"], ["m2", "m1", "m0"], []]
    assert third.cursor is None and log.page(request("nowhere")).cursor is None
    assert messages(log.page(request(limit=1), first.cursor)) == ["m2"]  # pages may change their size


def test_events_of_a_shard_that_had_none_at_first_do_not_appear(log: Log) -> None:
    log.write(0, [(5, "a"), (3, "b")])
    page = log.page(request(limit=1))
    log.write(1, [(4, "late")])
    assert messages(log.page(request(limit=10), page.cursor)) == ["b"]


def test_the_time_range_is_that_of_the_first_page(log: Log) -> None:
    log.write(0, [(n, f"m{n}") for n in range(11)])
    asked = request(last="8s", limit=2, order=OLDEST)
    page = log.page(asked)
    assert messages(page) == ["m2", "m3"]
    text, parameters = asked.sql(page.cursor, NOW_US + 3_600_000_000)  # an hour later
    assert parameters["start"] == datetime.fromtimestamp((NOW_US - 8_000_000) / 1e6, UTC) and "$after" in text
    ranged = request(
        start="2026-01-01T00:00:03", end=datetime(2026, 1, 1, 1, 0, 5, tzinfo=timezone(timedelta(hours=1)))
    )
    assert messages(log.page(ranged)) == ["m4", "m3"]


@pytest.mark.parametrize("name", ["_shard", "_offset", "_Shard", "timestamp"])
def test_attributes_named_like_the_places_of_events_are_shown_and_do_no_harm(log: Log, name: str) -> None:
    log.write(1, [(n, f"m{n}") for n in range(3)], **{name: [70, 71, 72]})
    page = log.page(request(limit=2))
    assert page.to_arrow().column(1 if name.startswith("_") else 2).to_pylist() == [72, 71]
    assert messages(log.page(request(limit=2), page.cursor)) == ["m0"]


def test_a_thousand_shards_are_not_too_many() -> None:
    cursor = packed(after=[START_US, 1_023, 2**62], bounds=[[shard, 2**62] for shard in range(1_024)])
    text, parameters = request().sql(cursor, NOW_US)
    assert parse(text, parameters).streams == {"logs"}


# --- what is refused --------------------------------------------------------------------------------------------------


def packed(**changed: Any) -> str:
    """A cursor of request(), with changes."""
    parts: dict[str, Any] = {
        "version": 1,
        "fingerprint": request().fingerprint,
        "start": 0,
        "end": 2**60,
        "after": [START_US, 0, 5],
        "bounds": [[0, 9]],
    }
    return encoded(list((parts | changed).values()))


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(msgpack.packb(value)).decode().rstrip("=")


def check(cursor: Any) -> None:
    """A cursor gives SQL that can be parsed, or InvalidRequest."""
    try:
        text, parameters = request().sql(cursor, NOW_US)
    except InvalidRequest:
        return
    parse(text, parameters)


PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=4), st.binary(max_size=4)
)
ANYTHING = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers(0, 9)), inner, max_size=3),
    ),
    max_leaves=12,
)


@given(st.one_of(st.text(), st.text("ABCdef012-_=%", max_size=40), st.binary(max_size=80).map(lambda b: encoded(b))))
@example("")
@example("=")
@example("%%%")
@example("é")
def test_any_text_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest):
        request().sql(cursor, NOW_US)


@given(st.binary(max_size=120))
@example(b"\x91" * 100_000)
@example(b"\x91" * 1_500)
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xc7\x0c\xff" + b"\xff" * 12)
@example(b"\x81\x90\x01")
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        request().sql(base64.urlsafe_b64encode(data).decode(), NOW_US)


@given(st.sampled_from(["version", "fingerprint", "start", "end", "after", "bounds"]), ANYTHING)
@settings(max_examples=400, deadline=None)
def test_a_cursor_with_something_else_inside_is_right_or_refused(part: str, value: Any) -> None:
    check(packed(**{part: value}))


INTEGERS = st.integers(-(2**63), 2**64 - 1)


@given(INTEGERS, INTEGERS, st.tuples(INTEGERS, INTEGERS, INTEGERS), st.lists(st.tuples(INTEGERS, INTEGERS), max_size=4))
@settings(deadline=None)
def test_whole_numbers_of_any_size_are_a_place(start: int, end: int, after: Any, bounds: Any) -> None:
    cursor = packed(start=start, end=end, after=list(after), bounds=[list(pair) for pair in bounds])
    text, parameters = request().sql(cursor, NOW_US)
    assert parse(text, parameters).streams == {"logs"}


@pytest.mark.parametrize("number", [-1, 0, 2**63, 2**64 - 1, -(2**63)])
def test_places_that_no_event_has_give_no_events_and_no_error(log: Log, number: int) -> None:
    log.write(0, [(1, "a")])
    for changed in (
        {"after": [number, number, number]},
        {"bounds": [[number, number]]},
        {"end": number, "start": number},
    ):
        page = log.page(request(), packed(**changed))
        assert len(page) <= 1 and isinstance(page.to_arrow(), pa.Table)


@pytest.mark.parametrize("cursor", [5, b"gA", ["a"], 1.5, True, {"a": 1}])
def test_what_is_no_text_is_refused(cursor: Any) -> None:
    with pytest.raises(InvalidRequest, match="damaged"):
        request().sql(cursor, NOW_US)


def test_a_cursor_too_long_or_of_another_search_or_version_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="damaged"):
        request().sql(packed(bounds=[[shard, 2**62] for shard in range(5_000)]), NOW_US)
    for other in (request("red"), request(order=OLDEST), SearchRequest("traces", "*", None, None, None, 10, NEWEST)):
        with pytest.raises(InvalidRequest, match="another search"):
            other.sql(packed(), NOW_US)
    with pytest.raises(InvalidRequest, match="version 2"):
        request().sql(packed(version=2), NOW_US)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"order": "up"}, "order"),
        ({"order": ["newest"]}, "order"),
        ({"limit": 0}, "limit"),
        ({"limit": SEARCH_PAGE_ROWS_MAX + 1}, "limit"),
        ({"limit": 2.5}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"limit": True}, "limit"),
        ({"last": "1h", "start": "2026-01-01"}, "together"),
        ({"last": "an hour"}, "no length of time"),
        ({"last": "9" * 400 + "d"}, "no length of time"),
        ({"last": 1e308}, "no length of time"),
        ({"start": "yesterday"}, "no time"),
        ({"start": 5}, "no time"),
        ({"end": "2026-13-01"}, "no time"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        request(**wrong).sql(None, NOW_US)


@pytest.mark.parametrize("stream", ['logs" --', "", None, "Logs", "a" * 64])
def test_a_stream_that_no_stream_can_be_is_refused(stream: Any) -> None:
    with pytest.raises(InvalidRequest):
        SearchRequest(stream, "*", None, None, None, 10, NEWEST)


@pytest.mark.parametrize(
    "moment", [datetime.min, datetime.max, datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))]
)
def test_the_ends_of_time_are_times(moment: datetime) -> None:
    for asked in (request(start=moment), request(end=moment), request(last="36500d")):
        text, parameters = asked.sql(None, NOW_US)
        assert parse(text, parameters).streams == {"logs"}
