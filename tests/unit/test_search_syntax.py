"""The grammar of searches: what is read, what is refused and where, and that no text makes it fail otherwise."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidQuery
from core.limits import SEARCH_BYTES_MAX, SEARCH_DEPTH_MAX, SEARCH_TERMS_MAX
from query.dialect import render, words
from query.parse import parse
from query.search.compile import compile_search
from query.search.parser import parse_search
from query.search.syntax import (
    All,
    AnyOf,
    Between,
    Bound,
    Equals,
    Exists,
    InNetworks,
    Like,
    Node,
    Not,
    Wild,
    Words,
)
from tests.support.search_events import Event, SearchEvents

READ: list[tuple[str, Node]] = [
    ("timeout", Words(("timeout",), 0)),
    ('"a \\"b\\" \\\\ \\n"', Words(('a "b" \\ \\n',), 0)),
    ("a*b?", Words(("a", Wild.ANY, "b", Wild.ONE), 0)),
    ("a\\*\\?\\:\\ \\\\", Words(("a*?: \\",), 0)),
    ("@a.b:c:d", Equals("a.b", ("c:d",), 5)),
    ("a\\:b:c", Equals("a:b", ("c",), 5)),
    ("a:-5", Equals("a", ("-5",), 2)),
    ("a:x OR a:y", Equals("a", ("x", "y"), 2)),
    ("a:(x OR -5)", Equals("a", ("x", "-5"), 3)),
    ("a:(-x)", Not(Equals("a", ("x",), 4))),
    ("a:x*", Like("a", ("x", Wild.ANY), 2)),
    ("a:**", Exists("a", 2)),
    ("a:[1 TO 2}", Between("a", Bound("1", True, 3), Bound("2", False, 8), 2)),
    ("a:{* TO -2]", Between("a", None, Bound("-2", True, 8), 2)),
    ('a:["1 2" TO *]', Between("a", Bound("1 2", True, 3), None, 2)),
    ("a:>= 5", Between("a", Bound("5", True, 5), None, 2)),
    ("a:<-5", Between("a", None, Bound("-5", False, 3), 2)),
    ("CIDR(a, 10.1.2.3/8, 2001:DB8::/32)", InNetworks("a", ("10.0.0.0/8", "2001:db8::/32"), 0)),
    ("*:x", Words(("x",), 2, True)),
    ("a -b !c NOT d", All((Words(("a",), 0), Not(Words(("b",), 3)), Not(Words(("c",), 6)), Not(Words(("d",), 12))))),
    ("a b OR c", AnyOf((All((Words(("a",), 0), Words(("b",), 2))), Words(("c",), 7)))),
    ("a AND (b OR c)", All((Words(("a",), 0), AnyOf((Words(("b",), 7), Words(("c",), 12)))))),
    ("and or not", All((Words(("and",), 0), Words(("or",), 4), Words(("not",), 7)))),
    ("ANDROID", Words(("ANDROID",), 0)),
    ("a-b", Words(("a-b",), 0)),
    ("[x] {y}", All((Words(("[x]",), 0), Words(("{y}",), 4)))),
]


@pytest.mark.parametrize(("text", "node"), READ)
def test_reads(text: str, node: Node) -> None:
    assert parse_search(text) == node


def test_every_test_knows_its_place() -> None:
    node = parse_search('a  b:c  -"d"  (e:>5)')
    assert isinstance(node, All)
    a, b, c, d = node.terms
    assert isinstance(c, Not)
    assert [getattr(term, "at", None) for term in (a, b, c.term, d)] == [0, 5, 9, 17]


REFUSED = [
    ('service:web "oops', 13, "this quote is not closed: write another one"),
    ('a:"oops', 3, "this quote is not closed"),
    ("a:[1 5]", 6, "expected TO here: a range is [low TO high]"),
    ("a:[1 TO 5", 10, "expected ']' or '}' here"),
    ("a:[1 TO ]", 9, "expected a value as the upper end"),
    ("a:[ TO 5]", 5, "expected a value as the lower end of the range, or '*'"),
    ("a:[", 4, "expected a value as the lower end"),
    ("a:[5* TO 6]", 4, "expected a value as the lower end of the range, without wildcards"),
    ("a:[*5 TO 6]", 4, "a single '*' for an open end"),
    ("cird(ip, 10.0.0.0/8)", 1, "'cird' is no function: there is CIDR"),
    ("CIDR(ip)", 8, "expected a network behind the path"),
    ("CIDR(ip, 10.0.0.0/33)", 10, "'10.0.0.0/33' is no network"),
    ("CIDR(ip, 10.0.0.0/8", 5, "this '(' is not closed"),
    ("CIDR(ip 10.0.0.0/8)", 9, "expected ',' or ')' here"),
    ("CIDR(, 10.0.0.0/8)", 6, "expected a value as the path"),
    ("a OR", 5, "expected a term after OR, not the end"),
    ("a AND OR b", 7, "expected a term after AND, not the operator OR"),
    ("OR a", 1, "expected a term before OR"),
    ("a NOT", 6, "expected a term after NOT"),
    ("a -", 3, "expected a term right behind this '-'"),
    ("! a", 1, "expected a term right behind this '!'"),
    ("(a OR b", 1, "this '(' is not closed"),
    ("a:(x", 3, "this '(' is not closed"),
    ("a OR b)", 7, "this ')' closes nothing"),
    ("a ()", 4, "expected a term, not ')'"),
    ("a: b", 3, "expected a value right behind 'a:'"),
    ("a:", 3, "expected a value right behind 'a:'"),
    (":b", 1, "expected a path before this ':'"),
    ("@:b", 1, "expected a path behind this '@'"),
    ("a*:b", 1, "a path has no wildcards"),
    ("*:>5", 3, "a comparison needs a path"),
    ("a:>=", 5, "expected a value behind '>='"),
    ("a:>5*", 4, "expected a value behind '>', without wildcards"),
    ('a ""', 3, "expected words between these quotes"),
    ("a\\", 3, "expected a character after the backslash"),
    ("a \0", 3, "this character cannot be part of a text"),
    ("__malamute_0:x", 1, "is reserved"),
    ("a:b(c)", 4, "expected a space before '('"),
]


@pytest.mark.parametrize(("text", "column", "message"), REFUSED)
def test_refuses_at_the_character(text: str, column: int, message: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        compile_search(text)
    assert (caught.value.line, caught.value.column) == (1, column), str(caught.value)
    assert message in str(caught.value)
    assert f"character {column}:" in str(caught.value)


def test_places_count_lines() -> None:
    with pytest.raises(InvalidQuery) as caught:
        compile_search('a\nb "c')
    assert (caught.value.line, caught.value.column) == (2, 3)


def test_places_in_sql_are_those_of_the_statement() -> None:
    with pytest.raises(InvalidQuery) as caught:
        parse("SELECT *\nFROM logs WHERE x = 'y' AND matches('a:''b'' c:[1 5]')")
    assert (caught.value.line, caught.value.column) == (2, 51)
    assert parse("SELECT *\nFROM logs WHERE x = 'y' AND matches('a:''b'' c:[1 5]')".replace("1 5", "1 TO 5"))
    with pytest.raises(InvalidQuery) as caught:
        parse("SELECT 1 FROM logs WHERE matches($1)", ["a:[1 5]"])
    assert (caught.value.line, caught.value.column) == (1, 26)
    assert "character 6: expected TO" in str(caught.value)


def test_limits() -> None:
    with pytest.raises(InvalidQuery, match="too long"):
        compile_search("a" * (SEARCH_BYTES_MAX + 1))
    with pytest.raises(InvalidQuery, match="too many terms"):
        compile_search("a " * (SEARCH_TERMS_MAX + 1))
    with pytest.raises(InvalidQuery, match="nest too deep"):
        compile_search("(" * (SEARCH_DEPTH_MAX + 1) + "a" + ")" * (SEARCH_DEPTH_MAX + 1))
    with pytest.raises(InvalidQuery, match="nest too deep"):
        compile_search("a:" + "(" * 10_000)
    assert compile_search("-" * 10_000 + "a") is not None


PIECES = [
    *sorted(
        words("a service: @http.status_code: n: tags: timestamp: *: ( ) [ ] { } TO 1 -5 1.5 > >= < <= * ? - ! NOT")
    ),
    *sorted(words("AND OR CIDR( 10.0.0.0/8 ::1/64 , : @ 2026-01-01 now-15m true ' é 😀 % _ $1 __malamute")),
    *('"', "\\", " ", "\t", "\n"),
]
EVENTS: list[Event] = [
    {"service": ("str", "a"), "n": ("int", 1), "message": ("str", "a 1 é"), "rest:rare": ("str", "a")},
    {"tags": ("str[]", ["a"]), "http.status_code": ("float", 1.5), "a": ("bool", True), "n": ("str", "-5")},
]


@pytest.fixture(scope="module")
def stream() -> Iterator[SearchEvents]:
    with SearchEvents(EVENTS) as events:
        yield events


def check_any(stream: SearchEvents, text: str) -> None:
    """`text` is a search that runs, or an InvalidQuery with a place."""
    try:
        condition = compile_search(text)
    except InvalidQuery as error:
        assert error.line >= 1
        assert error.column >= 1
        assert str(error)
        return
    if condition is None:
        return
    try:
        stream.rows(text)
    except InvalidQuery as error:
        assert "is no time" in str(error)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_pieces_put_together_by_chance_run_or_are_refused(stream: SearchEvents, text: str) -> None:
    check_any(stream, text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_any_text_runs_or_is_refused(stream: SearchEvents, text: str) -> None:
    check_any(stream, text)


def test_mutations_of_good_searches_run_or_are_refused(stream: SearchEvents) -> None:
    rng = random.Random(11)
    good = [text for text, _ in READ] + [text for text, _, _ in REFUSED]
    for _ in range(1_500):
        text = rng.choice(good)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(text) + 1)
            match rng.randrange(4):
                case 0:
                    text = text[:at] + text[at + 1 :]
                case 1:
                    text = text[:at] + rng.choice(PIECES) + text[at:]
                case 2:
                    text = text[at:] + text[:at]
                case _:
                    text = text[:at] + rng.choice(good)[rng.randrange(3) :]
        check_any(stream, text)


def test_a_search_is_put_in_the_place_of_its_call() -> None:
    sql = "SELECT service, matches('a:1') AS m FROM logs WHERE matches('b:2') AND x = 1"
    tree = parse(sql).tree
    assert tree is not None
    assert tree.find(type(compile_search("a:1"))) is not None
    assert "matches" not in repr(tree).lower().replace("matches_", "")
    assert "coalesce" in repr(tree.expressions[1])
    assert "coalesce" not in repr(tree.args["where"])


@pytest.mark.parametrize(
    "call",
    ["matches()", "matches(service)", "matches('a', 'b')", "matches('a', b, c)", "matches(1)", "matches(lower('A'))"],
)
def test_matches_takes_a_text_and_an_alias(call: str) -> None:
    with pytest.raises(InvalidQuery, match="matches takes the text of a search") as caught:
        parse(f"SELECT 1 FROM logs WHERE {call}")
    assert caught.value.column == 26


def test_last_is_a_plain_comparison() -> None:
    tree = parse("SELECT 1 FROM logs l WHERE last('2w', l) AND NOT last('15m') AND last($1)", ["1h"]).tree
    assert tree is not None
    assert render(tree.args["where"]).strip() == (
        "WHERE (l.timestamp >= now() - INTERVAL '14' DAY) AND NOT (timestamp >= now() - INTERVAL '15' MINUTE) "
        "AND (timestamp >= now() - INTERVAL '1' HOUR)"
    )
    aggregate = parse("SELECT last('15m'), last(x) FROM logs").tree
    assert aggregate is not None
    assert render(aggregate) == "SELECT last('15m'), last(x) FROM logs"


@pytest.mark.parametrize("length", ["15", "m", "15 m", "-5m", "1y", "", "99999999999999d", "40000d"])
def test_last_takes_a_length_of_time(length: str) -> None:
    with pytest.raises(InvalidQuery, match="is no length of time: write a number and one of s, m, h, d, w") as caught:
        parse(f"SELECT 1 FROM logs WHERE last('{length}')")
    assert caught.value.column == 26
