"""Which whole words a condition needs: by example, and that no value which the engine lets through lacks one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from query.dialect import DIALECT, literal, render
from query.search.conditions import holds_words, is_like
from query.search.syntax import Pattern, Wild
from query.search.word_patterns import expressed, word_expression
from query.words import required_tokens, token_clauses
from storage.tokens import tokens


def condition(sql: str) -> exp.Expr:
    tree = DIALECT.parse(f"SELECT 1 WHERE {sql}")[0]
    assert tree is not None
    where: exp.Expr = tree.args["where"].this
    return where


NEEDED = [
    ("c = 'GET /api/v1'", [("c", ("get", "api", "v1"))]),
    ("'a b' = c", [("c", ("a", "b"))]),
    ("c IN ('a-b')", [("c", ("a", "b"))]),
    ("c IN ('a', 'b')", []),
    ("c LIKE 'a b%'", [("c", ("a",))]),
    ("c LIKE '%a b'", [("c", ("b",))]),
    ("c LIKE '%a b c%'", [("c", ("b",))]),
    ("c LIKE 'a_b c'", [("c", ("c",))]),
    ("c LIKE 'a!_b d' ESCAPE '!'", [("c", ("a_b", "d"))]),
    ("c LIKE 'x' || d", []),
    ("c NOT LIKE 'a'", []),
    ("c ILIKE 'Abc Kind%'", [("c", ("abc",))]),
    ("contains(c, 'a b c')", [("c", ("b",))]),
    ("contains(c, ' a ')", [("c", ("a",))]),
    ("c.contains(' a ')", [("c", ("a",))]),
    ("contains(lower(c), ' a i K ')", []),
    ("contains(lower(c), ' a i k ')", [("c", ("a",))]),
    ("contains(upper(c), ' a ')", []),
    ("starts_with(c, 'a b')", [("c", ("a",))]),
    ("prefix(c, 'a ')", [("c", ("a",))]),
    ("c ^@ 'a b'", [("c", ("a",))]),
    ("suffix(c, 'a b')", [("c", ("b",))]),
    ("list_contains(c, 'a b')", [("c", ("a", "b"))]),
    ("c = 'über a'", [("c", ("a",))]),
    ("c = ''", []),
    ("c = 5", []),
    ("c = d", []),
    ("upper(c) = 'A'", []),
    ("(c = 'a' AND (d LIKE 'b c%')) AND e > 5", [("c", ("a",)), ("d", ("b",))]),
    ("c = 'a b' OR c = 'b c'", [("c", ("b",))]),
    ("c = 'a' OR d = 'a'", []),
    ("c = 'a' OR true", []),
    ("NOT c = 'a'", []),
    ("regexp_matches(c, 'a b c')", []),
    ("regexp_matches(c, '(?i)a b c')", [("c", ("b",))]),
    ("regexp_matches(c, '(?i)a k c')", []),
    ("regexp_matches(c, '(?i)a .b c')", []),
    ("regexp_matches(c, '(?i)a b c', 's')", []),
]


@pytest.mark.parametrize(("sql", "needed"), NEEDED)
def test_needs(sql: str, needed: list[tuple[str, tuple[str, ...]]]) -> None:
    assert [(column.name, found) for column, found in required_tokens(condition(sql))] == needed


CLAUSES = [
    ("c = 'a b' AND d = 'c'", [{"c": ("a", "b")}, {"d": ("c",)}]),
    ("c = 'a' OR d = 'b' OR contains(e, ' c ')", [{"c": ("a",), "d": ("b",), "e": ("c",)}]),
    ("c = 'a' OR d IS NOT NULL", [{"c": ("a",), "d": ()}]),
    ("c = 'a' OR (d IS NOT NULL AND d > 5 AND e = 'x')", [{"c": ("a",), "e": ("x",)}]),
    ("c = 'a' OR d > 5", []),
    ("c IS NULL OR c = 'a'", []),
    (
        "c = 'a' OR len(list_filter(d, lambda x: x LIKE 'b c%' AND contains(x, ' e '))) > 0",
        [{"c": ("a",), "d": ("b", "e")}],
    ),
    ("len(list_filter(d, lambda x: x = 'b')) > 1", []),
    ("len(list_filter(d, lambda x: y = 'b')) > 0", []),
    ("NOT (c = 'a' OR d = 'b')", []),
    ("len(d, e) > 0 OR len(d) > 0", []),
]


@pytest.mark.parametrize(("sql", "clauses"), CLAUSES)
def test_clauses_of_which_one_entry_holds(sql: str, clauses: list[dict[str, tuple[str, ...]]]) -> None:
    found = token_clauses(condition(sql))
    assert [{column.name: tokens for column, tokens in clause} for clause in found] == clauses


@pytest.mark.parametrize(
    ("pattern", "needed"),
    [
        (("connection reset",), ("connection", "reset")),
        (("K8s-node",), ("k8s", "node")),
        (("web-st", Wild.ANY), ("web",)),
        ((Wild.ANY, "tion reset"), ("reset",)),
        (("a ", Wild.ONE, " b"), ("a", "b")),
        (("/api/",), ("api",)),
        (("err", Wild.ANY), ()),
        (("-> ",), ()),
    ],
)
def test_words_of_a_search_are_needed(pattern: Pattern, needed: tuple[str, ...]) -> None:
    held = required_tokens(holds_words(pattern, lambda: exp.column("c")))
    assert {token for _, found in held for token in found} == set(needed)
    assert expressed(word_expression(pattern)) is not None


ALPHABET = "aAkKiIsS09_ .-/%\\\"'|[(?+*$^\n\té\u212a\u0130\u0131\u017fßΣσς日\U0001f600"
VALUES = st.text(alphabet=ALPHABET, max_size=12)
PATTERNS = st.lists(
    st.one_of(st.text(alphabet=ALPHABET, min_size=1, max_size=6), st.sampled_from(Wild)), min_size=1, max_size=4
)
TEMPLATES = (
    "c = {}", "c IN ({})", "c LIKE {}", "c ILIKE {}", "c LIKE {} ESCAPE '\\'", "contains(c, {})", "starts_with(c, {})",
    "suffix(c, {})", "contains(lower(c), {})", "c ^@ {}", "regexp_matches(c, {})", "c = {} OR starts_with(c, {})",
)  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    with duckdb.connect() as connection:
        yield connection


def check_needed(engine: Any, where: exp.Expr, values: list[str]) -> None:
    """Every one of `values` that the engine lets through `where` holds the tokens that are said to be needed."""
    needed = required_tokens(where)
    sql = f"SELECT c FROM (SELECT unnest($1::VARCHAR[]) AS c) WHERE {render(where)}"
    try:
        matching = engine.execute(sql, [values]).fetchall()
    except (duckdb.InvalidInputException, duckdb.SyntaxException):
        return
    for (value,) in matching:
        for _, found in needed:
            assert set(found) <= set(tokens(value)), (render(where), value)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TEMPLATES), VALUES, st.lists(VALUES, max_size=6))
def test_no_matching_value_lacks_a_needed_word(engine: Any, template: str, text: str, values: list[str]) -> None:
    variants = [text, text.upper(), text.lower(), f"a{text}", f"{text}0", f" {text}-", text.replace("%", "k")]
    swapped = [v.replace("k", "\u212a").replace("i", "\u0130").replace("s", "\u017f") for v in variants]
    check_needed(engine, condition(template.replace("{}", literal(text))), [*values, *variants, *swapped])


@settings(max_examples=300, deadline=None)
@given(PATTERNS, st.lists(VALUES, max_size=6), st.booleans())
def test_no_value_that_a_search_finds_lacks_a_needed_word(
    engine: Any, parts: list[str | Wild], values: list[str], whole: bool
) -> None:
    pattern: Pattern = tuple(
        part
        for index, part in enumerate(parts)
        if not (index and isinstance(part, str) and isinstance(parts[index - 1], str))
    )
    filled = "".join("k9" if part is Wild.ANY else "i" if part is Wild.ONE else str(part) for part in pattern)
    variants = [filled, filled.upper(), f"x{filled}", f"{filled}_", f"({filled})", filled.replace("k", "\u212a")]
    build = is_like if whole else holds_words
    check_needed(engine, build(pattern, lambda: exp.column("c")), [*values, *variants])


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=ALPHABET, min_size=1, max_size=8), st.text(alphabet=ALPHABET, max_size=8), VALUES)
def test_a_phrase_is_found_where_its_words_stand(engine: Any, phrase: str, before: str, after: str) -> None:
    """The expression finds exactly what a search of the phrase, with no word going on at its ends, finds."""
    value = before + phrase + after
    found = engine.execute("SELECT regexp_matches(?, ?)", [value, word_expression((phrase,))]).fetchone()
    if not _goes_on(before, phrase) and not _goes_on(phrase, after):
        assert found == (True,)


def _goes_on(left: str, right: str) -> bool:
    return (
        bool(left and right) and len(tokens(left[-1] + right[0])) == 1 and bool(tokens(left[-1]) and tokens(right[0]))
    )
