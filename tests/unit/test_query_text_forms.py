"""The forms of texts: LIKE as the engine has it, and never denied by a string zone map that accepts such a text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from query.dialect import DIALECT, literal
from query.search.syntax import Pattern, Wild
from query.text_forms import form, form_of, like_pattern, prefix_of, shown
from storage.string_zone_maps import TRANSITIONS_MAX, decode_string_zone_map, string_zone_map

ANY, ONE = Wild.ANY, Wild.ONE


def condition(sql: str) -> exp.Expr:
    tree = DIALECT.parse(f"SELECT 1 WHERE {sql}")[0]
    assert tree is not None
    where: exp.Expr = tree.args["where"].this
    return where


@pytest.mark.parametrize(
    ("sql", "pattern"),
    [
        ("c LIKE 'web%'", ("web", ANY)),
        ("c LIKE '%web_a'", (ANY, "web", ONE, "a")),
        ("c LIKE 'a!_b%' ESCAPE '!'", ("a_b", ANY)),
        ("c LIKE 'a' ESCAPE ''", ("a",)),
        ("c LIKE ''", ()),
        ("starts_with(c, 'we')", ("we", ANY)),
        ("c.starts_with('we')", ("we", ANY)),
        ("prefix(c, '')", (ANY,)),
        ("c ^@ ('a%')", ("a%", ANY)),
        ("ends_with(c, 'b')", (ANY, "b")),
        ("suffix(c, 'b')", (ANY, "b")),
        ("contains(c, 'b')", (ANY, "b", ANY)),
    ],
)
def test_what_says_how_a_text_looks(sql: str, pattern: Pattern) -> None:
    found = form_of(condition(sql))
    assert found is not None and found[0].name == "c" and found[1] == pattern


@pytest.mark.parametrize(
    "sql",
    [
        "c NOT LIKE 'a%'",
        "NOT c LIKE 'a%'",
        "c ILIKE 'a%'",
        "c LIKE d",
        "c LIKE 'a' || d",
        "c LIKE 'a%' COLLATE nocase",
        "c GLOB 'a*'",
        "c SIMILAR TO 'a'",
        "starts_with(c, d)",
        "starts_with('abc', c)",
        "regexp_matches(c, 'a')",
        "contains(c, 5)",
        "c = 'a'",
    ],
)
def test_what_does_not(sql: str) -> None:
    found = form_of(condition(sql))
    assert found is None or not isinstance(found[0], exp.Column)


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    with duckdb.connect() as connection:
        yield connection


LETTERS = "ab%_é日👍\n"
TEXT = st.text(LETTERS, max_size=6)


@given(st.lists(TEXT, min_size=1, max_size=12), TEXT, st.sampled_from(["", "a", "%", "é"]))
@settings(max_examples=300, deadline=None)
def test_the_engine_and_a_form_take_the_same_texts(engine: Any, texts: list[str], like: str, escape: str) -> None:
    pattern = like_pattern(like, escape)
    rows = ", ".join(f"({literal(text)})" for text in texts)
    try:
        found = engine.execute(
            f"SELECT t LIKE {literal(like)} ESCAPE {literal(escape)} FROM (VALUES {rows}) AS v(t)"
        ).fetchall()
    except duckdb.Error:
        return  # an escape character at the end, or of more than a byte
    assert [form(pattern).has(text) for text in texts] == [taken for (taken,) in found]


@given(st.lists(st.text(LETTERS, max_size=4), min_size=1, max_size=4), TEXT)
@settings(max_examples=300, deadline=None)
def test_a_map_of_few_texts_decides_exactly(texts: list[str], like: str) -> None:
    encoded = string_zone_map(pa.array(texts))
    assert encoded is not None
    pattern = like_pattern(like, "")
    root = decode_string_zone_map(encoded)
    assert form(pattern).some(root) == any(form(pattern).has(text) for text in texts)
    assert form(("a" + texts[0],)).some(root) == ("a" + texts[0] in texts)


@given(st.lists(st.text("abc", min_size=2, max_size=9), min_size=40, max_size=80), st.text("abc%_", max_size=6))
@settings(max_examples=200, deadline=None)
def test_a_map_of_many_texts_never_denies_one(texts: list[str], like: str) -> None:
    encoded = string_zone_map(pa.array(texts))
    wanted = any(form(like_pattern(like, "")).has(text) for text in texts)
    assert not wanted or encoded is None or form(like_pattern(like, "")).some(decode_string_zone_map(encoded))


def test_a_map_says_no_where_it_can() -> None:
    texts = [f"node-{number:04}" for number in range(TRANSITIONS_MAX * 4)]
    encoded = string_zone_map(pa.array(texts))
    assert encoded is not None
    root = decode_string_zone_map(encoded)

    def some(like: str) -> bool:
        return form(like_pattern(like, "")).some(root)

    assert some("node-01%") and some("n%9") and some("%") and some("node-____")
    assert not some("web%") and not some("node-1%") and not some("n") and not some("_") and not some("node")


def test_of_a_very_long_pattern_the_beginning_counts() -> None:
    long = form(("ab" * 5_000, ANY))
    assert long.has("ab" * 5_000 + "c") and long.has("ab" * 5_000) and not long.has("b" + "ab" * 5_000)
    assert form((ANY, *("a", ANY) * 3_000)).has("a" * 2_900)  # of the longest ones more are taken than have it


def test_patterns_for_people() -> None:
    assert shown(("a", ANY, "b", ONE)) == "a%b_"
    assert [prefix_of(pattern) for pattern in (("a", ANY), (ANY, "a"), ())] == ["a", "", ""]
