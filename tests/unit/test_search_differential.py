"""Random searches over random events find what a plain reading of their meaning, in Python, finds."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest

from query.search.parser import parse_search
from query.search.syntax import (
    All,
    AnyOf,
    Between,
    Bound,
    Equals,
    Everything,
    Exists,
    InNetworks,
    Like,
    Node,
    Not,
    Pattern,
    Wild,
    Words,
)
from tests.support.search_events import Event, SearchEvents

WORDS = ["red", "Red", "green", "10.0.0.1", "10.0.0.12", "web-store", "K8s", "5", "7.0", "true", "größe", "x"]
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
NUMERIC = ("int", "uint", "float", "decimal")
VALUES: dict[str, list[tuple[str, Any]]] = {
    "message": [("str", "red green"), ("str", "10.0.0.12 web-store, K8s (5)"), ("str", "größe: Red-green x")],
    "text": [("str", word) for word in WORDS],
    "n": [("int", 5), ("int", 7), ("int", -2)],
    "f": [("float", 5.0), ("int", 7), ("float", 2.5)],
    "mix": [("int", 7), ("str", "7.0"), ("str", "red"), ("bool", True), ("float", 0.5), ("str", "5x")],
    "ok": [("bool", True), ("bool", False)],
    "tags": [("str[]", ["red", "5"]), ("str[]", []), ("str[]", ["Red", "x y"])],
    "codes": [("int[]", [5, 7]), ("int[]", [-2])],
    "both": [("str", "red"), ("str[]", ["red", "x"]), ("int", 5)],
}
RARE: list[tuple[str, Any]] = [("str", "red x"), ("int", 7), ("str", "7.0"), ("bool", True), ("json", ["red", 5])]


def random_event(rng: random.Random, rare: bool) -> Event:
    event: Event = {path: rng.choice(values) for path, values in VALUES.items() if rng.random() < 0.6}
    if rare and rng.random() < 0.4:
        event["rest:rare"] = rng.choice(RARE)
    if rare and rng.random() < 0.1 and "n" not in event:
        event["rest:n"] = ("str", rng.choice(["red", "5"]))
    return event


def random_search(rng: random.Random, depth: int = 0) -> str:
    roll = rng.random()
    if depth < 3 and roll < 0.15:
        return f"({random_search(rng, depth + 1)} OR {random_search(rng, depth + 1)})"
    if depth < 3 and roll < 0.3:
        return f"({random_search(rng, depth + 1)} {random_search(rng, depth + 1)})"
    if depth < 4 and roll < 0.45:
        return f"{rng.choice(['-', 'NOT ', '!'])}{random_search(rng, depth + 1)}"
    word = rng.choice(WORDS)
    if rng.random() < 0.3:
        at = rng.randrange(len(word) + 1)
        word = word[:at] + rng.choice("*?") + word[at + rng.randrange(2) :]
    if roll < 0.55:
        return word if rng.random() < 0.7 else f'"{rng.choice(WORDS)} {rng.choice(WORDS)}"'
    if roll < 0.6:
        return f"*:{word}"
    path = rng.choice([*VALUES, "rare", "nothing"])
    if roll < 0.75:
        return f"{path}:{word}"
    if roll < 0.8:
        return f"{path}:*"
    bounds = rng.sample(["-3", "0", "5", "6.5", "7", "*"], 2) if rng.random() < 0.8 else ["a", "s"]
    if roll < 0.9:
        return f"{path}:{rng.choice('[{')}{bounds[0]} TO {bounds[1]}{rng.choice(']}')}"
    return f"{path}:{rng.choice(['>', '>=', '<', '<='])}{bounds[0].replace('*', '1')}"


class Reference:
    """What a search means, event by event."""

    def __init__(self, events: list[Event]) -> None:
        self.events = [{path.removeprefix("rest:"): value for path, value in event.items()} for event in events]
        self.kinds: dict[str, set[str]] = {}
        for event in events:
            for path, (kind, _) in event.items():
                self.kinds.setdefault(path, set()).add(kind)

    def rows(self, search: str) -> list[int]:
        node = parse_search(search)
        return [row for row, event in enumerate(self.events) if self.holds(node, event)]

    def holds(self, node: Node, event: Event) -> bool:
        if isinstance(node, Everything):
            return True
        if isinstance(node, All):
            return all(self.holds(term, event) for term in node.terms)
        if isinstance(node, AnyOf):
            return any(self.holds(term, event) for term in node.terms)
        if isinstance(node, Not):
            return not self.holds(node.term, event)
        if isinstance(node, Words):
            paths = list(event) if node.anywhere else ["message"]
            return any(has_words(node.pattern, text) for path in paths for text in self.words_of(path, event, node))
        if node.path not in event:
            return False
        if isinstance(node, Exists):
            return True
        assert not isinstance(node, InNetworks)
        elements = elements_of(event[node.path])
        if self.only(node.path, "int", "float") and not self.only(node.path, "int"):
            elements = [float(value) for value in elements]  # one number of both kinds
        if isinstance(node, Like):
            return any(whole(node.pattern).fullmatch(shown(value)) is not None for value in elements)
        if isinstance(node, Equals):
            return any(self.equals(node.path, value, wanted) for value in elements for wanted in node.values)
        return any(self.between(node, value) for value in elements)

    def words_of(self, path: str, event: Event, node: Words) -> list[str]:
        if path not in event:
            return []
        kind, value = event[path]
        rare = f"rest:{path}" in self.kinds and kind not in self.kinds.get(path, ())
        if node.anywhere and kind.removesuffix("[]") not in ("str", "json") and not rare:
            return []
        if kind == "json" or (kind.endswith("[]") and rare):
            return [json.dumps(value)]
        return [shown(part) for part in (value if isinstance(value, list) else [value])]

    def only(self, path: str, *kinds: str) -> bool:
        held = self.kinds.get(path, set())
        return bool(held) and all(kind.removesuffix("[]") in kinds for kind in held)

    def equals(self, path: str, value: Any, wanted: str) -> bool:
        if isinstance(value, bool):
            return wanted.lower() == shown(value)
        if shown(value) == wanted:
            return True
        number = as_number(wanted)
        return not self.only(path, "str") and number is not None and as_number(shown(value)) == number

    def between(self, node: Between, value: Any) -> bool:
        bounds = [bound for bound in (node.low, node.high) if bound is not None]
        kinds = self.kinds.get(node.path, set())
        if self.only(node.path, "bool"):
            return False
        numbers = [as_number(bound.value) for bound in bounds]
        if None not in numbers:
            number = None if isinstance(value, bool) else as_number(shown(value))
            return number is not None and all(within(number, b, b is node.low, as_number(b.value)) for b in bounds)
        if kinds and all(kind.removesuffix("[]") in NUMERIC for kind in kinds):
            return False
        return all(within(shown(value), bound, bound is node.low, bound.value) for bound in bounds)


def within(value: Any, bound: Bound, low: bool, end: Any) -> bool:
    if value == end:
        return bound.inclusive
    return bool(value > end) == low


def elements_of(held: tuple[str, Any]) -> list[Any]:
    return held[1] if isinstance(held[1], list) else [held[1]]


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def as_number(text: str) -> float | None:
    return float(text) if NUMBER.fullmatch(text) else None


def whole(pattern: Pattern) -> re.Pattern[str]:
    wild = {Wild.ANY: ".*", Wild.ONE: "."}
    return re.compile("".join(wild[p] if isinstance(p, Wild) else re.escape(p) for p in pattern), re.DOTALL)


def has_words(pattern: Pattern, text: str) -> bool:
    word = "[A-Za-z0-9_\x80-\U0010ffff]"
    wild = {Wild.ANY: f"{word}*", Wild.ONE: word}
    inner = "".join(wild[p] if isinstance(p, Wild) else re.escape(p) for p in pattern)
    first, last = pattern[0], pattern[-1]
    starts = isinstance(first, Wild) or re.match(word, first[0]) is not None
    ends = isinstance(last, Wild) or re.match(word, last[-1]) is not None
    bounded = (f"(?<!{word})" if starts else "") + inner + (f"(?!{word})" if ends else "")
    return re.search(bounded, text, re.IGNORECASE) is not None


@pytest.mark.parametrize("seed", range(6))
def test_random_searches_find_what_they_mean(seed: int) -> None:
    rng = random.Random(seed)
    events = [random_event(rng, rare=seed % 2 == 1) for _ in range(60)]
    reference = Reference(events)
    with SearchEvents(events) as engine:
        found = 0
        for _ in range(150):
            search = random_search(rng)
            rows = engine.rows(search)
            found += len(rows)
            assert rows == reference.rows(search), search
    assert found > 500
