"""docs/search.md is true: every example compiles and runs, and every mistake is answered with these words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.errors import InvalidQuery
from core.limits import KIB, SEARCH_BYTES_MAX, SEARCH_DEPTH_MAX, SEARCH_TERMS_MAX
from query.search.compile import compile_search
from tests.support.search_events import Event, SearchEvents

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "search.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(?P<search>[^`]+)` \| (?P<says>.+) \|$", re.MULTILINE)
EXAMPLES, MISTAKES = (
    [(row["search"], row["says"]) for row in ROW.finditer(part)] for part in PAGE.split("A mistake is an", 1)
)
TIMEOUT = ("str", "Timeout: connection reset by 10.0.0.1")
# What each example of the table has to find, but for those about the absence of something.
FOUND: Event = {
    "message": TIMEOUT,
    "service": ("str", "web"),
    "http.status_code": ("int", 500),
    "ok": ("bool", True),
    "tags": ("str[]", ["blue"]),
    "usr.email": ("str", "ann@example.com"),
    "duration": ("int", 120),
    "error.kind": ("str", "x"),
    "env": ("str", "prod"),
    "network.client.ip": ("str", "10.2.3.4"),
    "path:with:colons": ("str", "x"),
}
OTHER = {'service:"my shop"': "my shop", "service:50\\*": "50*"}


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 25
    assert len(MISTAKES) == 3


@pytest.mark.parametrize(("search", "says"), EXAMPLES)
def test_an_example_finds_what_it_says(search: str, says: str) -> None:
    compile_search(search)
    event = {**FOUND, "service": ("str", OTHER.get(search, "web"))}
    with SearchEvents([event, {"n": ("int", 1)}]) as events:
        found = events.rows(search)
    if search.startswith("timestamp:"):
        assert found == []
    elif search.startswith("-"):
        assert 1 in found
    elif search == "*":
        assert found == [0, 1]
    else:
        assert found == [0], says


@pytest.mark.parametrize(("search", "says"), MISTAKES)
def test_a_mistake_is_answered_like_this(search: str, says: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        compile_search(search)
    assert str(caught.value) == says


def test_limits_are_those_of_the_code() -> None:
    words = " ".join(PAGE.split())
    assert (
        f"{SEARCH_BYTES_MAX // KIB} KiB, {SEARCH_TERMS_MAX:,} terms and parentheses in {SEARCH_DEPTH_MAX} levels"
        in words
    )


@pytest.mark.parametrize("block", re.findall(r"^    (.+)$", PAGE, re.MULTILINE))
def test_the_example_at_the_top(block: str) -> None:
    assert compile_search(block) is not None
