"""Timeseries, top lists and tables of groups over shards, against the same worked out from the events themselves."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.errors import InvalidQuery
from query.aggregate_request import AggregateRequest, length_us
from query.aggregate_steps import aggregate
from query.fragment import PARTIAL_AGGREGATE
from tests.unit.test_query_shards import NOW_US, Shards, build_shards, event_time

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE_US = 60_000_000


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return build_shards(Path(tmp_path_factory.mktemp("aggregate")))


class Asked:
    """Answers queries over `shards` and keeps them."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        self.texts: list[str] = []

    def __call__(self, sql: str, parameters: Mapping[str, Any]) -> pa.Table:
        self.texts.append(sql)
        assert self.shards.plan(sql, parameters).kind == PARTIAL_AGGREGATE, sql
        return self.shards.query(sql, parameters)


def ask(shards: Shards, **request: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = aggregate(AggregateRequest("logs", **request), NOW_US, Asked(shards)).to_pylist()
    return rows


def held(shards: Shards, path: str) -> list[tuple[int, str | None]]:
    """Event time and the value of `path` as text, of every event."""
    events = shards.events["logs"]
    return [(event_time(row), str(event[path][1]) if path in event else None) for _, row, event in events]


def test_one_number(shards: Shards) -> None:
    assert ask(shards) == [{"count": 400}]
    assert ask(shards, search="service:none") == [{"count": 0}]
    (row,) = ask(
        shards,
        search="service:web",
        measures={
            "n": "count",
            "levels": ("cardinality", "level"),
            "with": ("count", "level"),
            "s": ("sum", "duration"),
            "a": ("avg", "id"),
            "low": ("min", "duration"),
            "high": ("max", "duration"),
            "since": ("min", "timestamp"),
            "p50": ("p50", "id"),
            "p999": ("p99.9", "id"),
        },
    )
    plain = shards.query(
        "SELECT count(*) AS n, count(DISTINCT level) AS levels, count(level) AS with, sum(duration) AS "
        "s, avg(id) AS a, "
        "min(duration + 0) AS low, max(duration + 0) AS high, min(timestamp) AS since FROM logs WHERE service = 'web'"
    ).to_pylist()[0]
    assert {name: row[name] for name in plain} == {**plain, "s": pytest.approx(plain["s"])}
    ids = sorted(event["id"][1] for _, _, event in shards.events["logs"] if event["service"][1] == "web")
    assert row["p50"] == pytest.approx(ids[len(ids) // 2], abs=8)
    assert row["p999"] == pytest.approx(ids[-1], abs=8)


def test_top_list_with_the_missing_ones(shards: Shards) -> None:
    counts = Counter(level for _, level in held(shards, "level"))
    expected = [{"level": level or "(missing)", "count": n} for level, n in counts.most_common()]
    asked = Asked(shards)
    assert aggregate(AggregateRequest("logs", group_by=("level",)), NOW_US, asked).to_pylist() == expected
    assert len(asked.texts) == 1
    assert ask(shards, group_by=("level",), top=2, missing="none") == [
        {**row, "level": row["level"].replace("(missing)", "none")} for row in expected[:2]
    ]


def test_order_by_another_measure(shards: Shards) -> None:
    rows = ask(shards, group_by=("service",), measures={"n": "count", "top": ("max", "id")}, order_by="top", top=3)
    assert [row["top"] for row in rows] == sorted((row["top"] for row in rows), reverse=True)
    assert len(rows) == 3


def test_table_of_groups_within_groups(shards: Shards) -> None:
    events = [{k: v[1] for k, v in event.items()} for _, _, event in shards.events["logs"]]
    counted: dict[Any, Counter[Any]] = defaultdict(Counter)
    for event in events:
        counted[event["service"]][str(event["http.status_code"]), event.get("level")] += 1
    services = sorted(counted, key=lambda s: (-counted[s].total(), s))[:3]
    expected = []
    for service in services:
        codes: Counter[str] = Counter()
        for (code, _), n in counted[service].items():
            codes[code] += n
        for code in sorted(codes, key=lambda c: (-codes[c], c))[:2]:
            levels = {level: n for (c, level), n in counted[service].items() if c == code}
            best = sorted(levels, key=lambda v: (-levels[v], v is None, v or ""))[:2]
            expected += [(service, code, level or "(missing)", levels[level]) for level in best]
    rows = ask(shards, group_by=("service", "http.status_code", "level"), top=(3, 2, 2))
    assert [tuple(row.values()) for row in rows] == expected


def test_groups_of_paths_of_any_kind(shards: Shards) -> None:
    for path in ("mixed", "ok", "size", "big", "amount", "seen", "rare.x/y~z", "nothing"):
        rows = ask(shards, group_by=(path, "service"), top=(1000, 10))
        assert sum(row["count"] for row in rows) == 400, path
        series = ask(shards, group_by=(path,), top=1000, interval="10m")
        assert sum(row["count"] for row in series) == 400, path


def test_series_show_every_interval(shards: Shards) -> None:
    start_us = event_time(0) + 3 * MINUTE_US
    end_us = start_us + 20 * MINUTE_US
    request: dict[str, Any] = {"start": START + timedelta(minutes=3), "end": "2026-01-01T00:23:00Z"}
    rows = ask(shards, interval="5m", search="level:error", **request)
    assert [row["time"] for row in rows] == [START + timedelta(minutes=m) for m in (0, 5, 10, 15, 20)]
    wanted = Counter(
        (time - event_time(0)) // (5 * MINUTE_US)
        for time, level in held(shards, "level")
        if level == "error" and start_us <= time < end_us
    )
    assert [row["count"] for row in rows] == [wanted[n] for n in range(5)]


def test_series_of_the_top_groups(shards: Shards) -> None:
    rows = ask(
        shards,
        group_by=("level",),
        interval="10m",
        top=2,
        measures={"n": "count", "users": ("cardinality", "id"), "p90": ("p90", "id")},
        search="service:web",
    )
    best = ask(shards, group_by=("level",), top=2, search="service:web")
    assert list(dict.fromkeys(row["level"] for row in rows)) == [row["level"] for row in best]
    for group in best:
        mine = [row for row in rows if row["level"] == group["level"]]
        assert sum(row["n"] for row in mine) == group["count"]
        assert [row["time"] for row in mine] == sorted(row["time"] for row in mine)
    assert {row["time"] for row in rows if row["level"] == best[0]["level"]} == {row["time"] for row in rows}
    empty = ask(shards, interval="1m", search="id:0", measures={"n": "count", "m": ("max", "id")}, last="1h")
    assert [row["n"] for row in empty] == [1] + [0] * 59
    assert [row["m"] for row in empty] == [0] + [None] * 59


def test_open_range_is_that_of_the_events(shards: Shards) -> None:
    rows = ask(shards, interval="auto")
    assert sum(row["count"] for row in rows) == 400
    assert rows[0]["time"] == START
    assert 60 <= len(rows) <= 120
    assert ask(shards, interval="auto", search="service:none") == []
    assert ask(shards, interval="auto", search="service:none", group_by=("level",)) == []


def test_last_ends_now(shards: Shards) -> None:
    rows = ask(shards, last="30m", interval="auto")
    assert len(rows) in (60, 61, 120, 121)
    assert sum(row["count"] for row in rows) == sum(event_time(row) >= NOW_US - 30 * MINUTE_US for row in range(400))


@pytest.mark.parametrize(
    "length", ["30s", "1m", "5m", "15m", "1h", "4h", "12h", "1d", "2d", "1w", "30d", "90d", "365d", "3650d"]
)
def test_automatic_interval_gives_about_sixty_to_one_hundred_and_twenty_points(length: str) -> None:
    span = length_us(length, "length")
    step = AggregateRequest("logs", interval="auto").interval_us(NOW_US - span, NOW_US)
    assert 120 >= span / step >= (30 if length == "30s" else 45)


def test_every_interval_is_the_engines_bucket(shards: Shards) -> None:
    for interval in ("1s", "15s", "7m", "3h", "1d", "2d", "1w", "4w", "26w"):
        rows = ask(shards, interval=interval, start=START + timedelta(seconds=10), end=START + timedelta(minutes=5))
        assert sum(row["count"] for row in rows) == len(range(14, 300, 7)), interval


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"group_by": tuple("abcde")}, "at most 4 paths"),
    ({"group_by": "service"}, "takes a list"),
    ({"measures": {}}, "1 to 20"),
    ({"measures": {"x": "sum"}}, "needs a path"),
    ({"measures": {"x": ("p100", "y")}}, "is not known: take count, cardinality"),
    ({"measures": {"x": ("median", "y")}}, "is not known"),
    ({"measures": {"x": 5}}, "measure 'x' is 5"),
    ({"measures": {"a": "count"}, "group_by": ("a",)}, "would name two columns"),
    ({"measures": {"time": "count"}, "interval": "auto"}, "would name two columns"),
    ({"order_by": "x"}, "is no measure"),
    ({"last": "1h", "start": START}, "leave start and end out"),
    ({"last": "soon"}, "last 'soon' is no length of time"),
    ({"interval": "fast"}, "interval 'fast' is no length of time"),
    ({"start": "yesterday"}, "start 'yesterday' is no time"),
    ({"start": 5}, "start 5 is no time"),
    ({"start": START, "end": START}, "is not before end"),
    ({"group_by": ("a", "b"), "top": (1,)}, "not one number for each path"),
    ({"group_by": ("a", "b"), "top": 1000}, "more than 10000 groups"),
    ({"group_by": ("a",), "top": 0}, "top 0"),
]


@pytest.mark.parametrize(("request_", "message"), WRONG)
def test_wrong_requests_say_why(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        AggregateRequest("logs", **request_)
    assert message in str(caught.value)


def test_too_many_points(shards: Shards) -> None:
    with pytest.raises(InvalidQuery, match="makes over 10000 points"):
        ask(shards, interval="1s", last="1d")
    with pytest.raises(InvalidQuery, match="are more than 200000 rows"):
        ask(shards, interval="1s", last="50m", group_by=("id",), top=100)


def test_hostile_names_are_names(shards: Shards) -> None:
    path = 'a"; DROP TABLE x; --{path}'
    rows = ask(shards, group_by=(path,), measures={"m": ("max", path), "n": "count"}, search='x:"\') OR 1"')
    assert rows == []
    assert ask(shards, group_by=(path,), measures={"n": "count"}) == [{path: "(missing)", "n": 400}]
