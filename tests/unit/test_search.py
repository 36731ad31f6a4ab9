"""What a search finds: values, words, ranges, networks and their negations, over kinds that conflict and rare paths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from query.search.compile import compile_search
from tests.support.search_events import Event, SearchEvents


def text(value: str) -> tuple[str, Any]:
    return ("str", value)


EVENTS: list[Event] = [
    {"service": text("web-store"), "http.status_code": ("int", 200), "message": text("GET /api/v1 took 12 ms")},
    {"service": text("web-store"), "http.status_code": ("int", 503), "message": text("Connection reset by peer")},
    {"service": text("db"), "usr.email": text("ann@example.com"), "message": text("connection  reset, twice")},
    {"service": text("DB"), "usr.email": text("bob@example.org"), "message": text("reconnection resets 10.0.0.1:53")},
    {"tags": ("str[]", ["a", "b"]), "ok": ("bool", True), "duration": ("float", 1.5), "ip": text("10.1.2.3")},
    {"tags": ("str[]", []), "ok": ("bool", False), "duration": ("int", 7), "ip": text("::ffff:10.9.8.7")},
    {"duration": text("12.5"), "ip": text("2001:DB8::1"), "codes": ("int[]", [1, 500]), "note": text("50%_\\x")},
    {"duration": text("slow"), "ip": text("11.0.0.1"), "seen": ("time", 1_767_225_600_000_000), "note": text("50ab")},
    {"error.kind": text("Timeout"), "message": text("über_größe overflow; see K8s-node_7"), "n": ("int", 12)},
    {"mixed": ("str[]", ["x", "7"]), "message": text("web-store: 10.0.0.12 a.b"), "data": ("json", '["p",{"q":1}]')},
    {"mixed": ("int", 7), "error.kind": text(""), "message": text('say "hi" (now) -> done')},
    {"mixed": text("7.0"), "big": ("uint", 2**63 + 1), "message": text("line one\nline two")},
]
ALL = list(range(len(EVENTS)))

CASES: list[tuple[str, list[int]]] = [
    ("", ALL),
    ("*", ALL),
    ("*:*", ALL),
    ("service:web-store", [0, 1]),
    ("@service:web-store", [0, 1]),
    ("Service:web-store", [0, 1]),
    ("service:db", [2]),
    ("service:(db OR DB)", [2, 3]),
    ("service:(db OR DB OR nothing) -@usr.email:*.org", [2]),
    ("-service:web-store", [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ("NOT service:web-store !tags:*", [2, 3, 6, 7, 8, 9, 10, 11]),
    ("--service:db", [2]),
    ("service:* -service:web-store", [2, 3]),
    ("@http.status_code:>=500", [1]),
    ("@http.status_code:> 200", [1]),
    ("@http.status_code:<500", [0]),
    ("@http.status_code:200", [0]),
    ("@http.status_code:200.0", [0]),
    ("@http.status_code:2*", [0]),
    ("@http.status_code:(200 OR 503)", [0, 1]),
    ("@http.status_code:(>=200 <503)", [0]),
    ("@http.status_code:abc", []),
    ("-@http.status_code:abc", ALL),
    ("http:*", [0, 1]),
    ("usr.email:*@example.com", [2]),
    ("usr.email:?nn@example.*", [2]),
    ("usr.email:ANN@example.com", []),
    ("note:50%*", [6]),
    ("note:*\\\\x", [6]),
    ("note:50*", [6, 7]),
    ("note:50\\*", []),
    ('note:"50%_\\\\x"', [6]),
    ("connection", [1, 2]),
    ("CONNECTION reset", [1, 2]),
    ('"connection reset"', [1]),
    ('"connection  reset"', [2]),
    ("connection OR overflow", [1, 2, 8]),
    ("connection reset -peer", [2]),
    ("10.0.0.1", [3]),
    ("10.0.0.1*", [3, 9]),
    ("web-store", [9]),
    ("/api/v1", [0]),
    ("/api", [0]),
    ("/ap", []),
    ("reset*", [1, 2, 3]),
    ("*connection", [1, 2, 3]),
    ("re?et", [1, 2]),
    ("*set?", [3]),
    ("größe", []),
    ("ÜBER_GRÖSSE", []),
    ("über_größe", [8]),
    ("ÜBER_größe", [8]),
    ("k8s", [8]),
    ("k8s-node_7", [8]),
    ("k8s-node", []),
    ("a.b", [9]),
    ('"->"', [10]),
    ('"\\"hi\\" (now)"', [10]),
    ("one", [11]),
    ('"one\nline"', [11]),
    ("tags:a", [4]),
    ("tags:(a b)", [4]),
    ("tags:(a c)", []),
    ("tags:A", []),
    ("tags:?", [4]),
    ("tags:*", [4, 5]),
    ("codes:500", [6]),
    ("codes:>400", [6]),
    ("codes:[2 TO 499]", []),
    ("codes:5*", [6]),
    ("ok:true", [4]),
    ("ok:False", [5]),
    ("-ok:true", [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]),
    ("ok:>0", []),
    ("ok:t*", [4]),
    ("duration:7", [5]),
    ("duration:12.50", [6]),
    ("duration:1.5", [4]),
    ("duration:slow", [7]),
    ("duration:[1.5 TO 12.5}", [4, 5]),
    ("duration:{1.5 TO 12.5]", [5, 6]),
    ("duration:[* TO 7]", [4, 5]),
    ("duration:{7 TO *]", [6]),
    ("duration:[* TO *]", [4, 5, 6, 7]),
    ("duration:>=a", [7]),
    ("mixed:7", [9, 10, 11]),
    ("mixed:x", [9]),
    ("mixed:>6", [9, 10, 11]),
    ("data:p", [9]),
    ("data:*q*", [9]),
    ("big:>9223372036854775808", [11]),
    ("error.kind:*", [8, 10]),
    ('error.kind:""', [10]),
    ("-@error.kind:*", [0, 1, 2, 3, 4, 5, 6, 7, 9, 11]),
    ("error:*", [8, 10]),
    ("CIDR(ip, 10.0.0.0/8)", [4, 5]),
    ("cidr(@ip,10.1.2.0/23)", [4]),
    ("CIDR(ip, 11.0.0.1)", [7]),
    ("CIDR(ip, 2001:db8::/32)", [6]),
    ("CIDR(ip, 2001:db8::/32, 11.0.0.0/30)", [6, 7]),
    ("CIDR(ip, ::ffff:10.0.0.0/104)", [5]),
    ("-CIDR(ip, 10.0.0.0/8) ip:*", [6, 7]),
    ("*:timeout", [8]),
    ("*:example", [2, 3]),
    ("*:a", [4, 9]),
    ("*:(example OR timeout)", [2, 3, 8]),
    ("*:q", [9]),
    ("timestamp:[2026-01-01T00:02 TO 2026-01-01T00:04}", [2, 3]),
    ("timestamp:>=2026-01-01T01:09+01:00", [9, 10, 11]),
    ("timestamp:2026-01-01", ALL),
    ("timestamp:>2026-01-01", []),
    ("timestamp:<=2026-01-01", ALL),
    ("timestamp:<2026-01-01", []),
    ("timestamp:2026-01-01T00:05", [5]),
    ('timestamp:"2026-01-01 00:05:00Z"', [5]),
    ("timestamp:>now-55m", [6, 7, 8, 9, 10, 11]),
    ("timestamp:>now", []),
    ("seen:2026-01-01", [7]),
    ("seen:never", []),
    ("missing:1", []),
    ("-missing:1", ALL),
    ("(service:web-store OR tags:a) (@http.status_code:503 OR ok:true)", [1, 4]),
    ("service:web-store AND NOT (@http.status_code:503 OR peer)", [0]),
    ("n:12 OR n:13", [8]),
    ("n:0012", [8]),
    ("n:1e1", []),
    ("n:1.2e1", [8]),
    ("or service:db", []),
]


@pytest.fixture(scope="module")
def events() -> Iterator[SearchEvents]:
    with SearchEvents(EVENTS) as events:
        yield events


@pytest.mark.parametrize(("search", "rows"), CASES)
def test_finds(events: SearchEvents, search: str, rows: list[int]) -> None:
    assert events.rows(search) == rows
    assert events.rows(search, "logs") == rows
    assert events.where("SELECT 1 FROM logs WHERE NOT matches($1)", [search]) == [row for row in ALL if row not in rows]


def test_rare_paths_are_searched_like_others() -> None:
    events = SearchEvents(
        [
            {"n": ("int", 5), "rest:rare": ("str", "x y")},
            {"rest:n": ("str", "many words"), "rest:rare": ("int", 7)},
            {"rest:list": ("json", ["a", 5, "b c"]), "rest:rare": ("str", "7.0")},
            {"rest:quoted": ("str", 'a "quote" \n\nnew'), "rest:rare": ("bool", True)},
            {"n": ("float", 2.5)},
        ]
    )
    assert events.rows('rare:"x y"') == [0]
    assert events.rows("rare:7") == [1, 2]
    assert events.rows("rare:>6") == [1, 2]
    assert events.rows("rare:true") == [3]
    assert events.rows("rare:*") == [0, 1, 2, 3]
    assert events.rows("-rare:*") == [4]
    assert events.rows("n:*") == [0, 1, 4]
    assert events.rows("n:many*") == [1]
    assert events.rows('n:"many words"') == [1]
    assert events.rows("n:5") == [0]
    assert events.rows("list:a") == [2]
    assert events.rows("list:5") == [2]
    assert events.rows("list:>4") == [2]
    assert events.rows('list:"b c"') == [2]
    assert events.rows("list:b*") == [2]
    assert events.rows("*:words") == [1]
    assert events.rows("*:new") == [3]
    assert events.rows('*:"\\"quote\\""') == [3]
    assert events.rows("*:rare") == []


def test_unknown_paths_warn_with_the_nearest_name(events: SearchEvents) -> None:
    events.rows("servce:db")
    assert events.warnings == ("stream 'logs' has no path 'servce', it reads as null: did you mean 'service'?",)


def test_nothing_to_ask_is_no_condition() -> None:
    assert compile_search("") is None
    assert compile_search("  \n ") is None
    assert compile_search("*") is None


def test_many_terms_make_a_tree_of_little_depth(events: SearchEvents) -> None:
    assert events.rows(" OR ".join(f"word{n}" for n in range(900)) + " OR peer") == [1]
    assert events.rows(" ".join(f"-word{n}" for n in range(900))) == ALL
    assert events.rows("(" * 50 + "peer" + ")" * 50) == [1]
