"""Owns the meaning of a search as data: tests of events, joined by all, any and not. Never reads text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Wild(Enum):
    """A wildcard: any text, or one character."""

    ANY = "*"
    ONE = "?"


Pattern = tuple[str | Wild, ...]  # texts and wildcards; two texts never stand side by side


def plain_text(pattern: Pattern) -> str | None:
    """The text that `pattern` is, None when it has wildcards."""
    if not pattern:
        return ""
    (first, *more) = pattern
    return first if isinstance(first, str) and not more else None


@dataclass(frozen=True, slots=True)
class Everything:
    """Holds for every event."""


@dataclass(frozen=True, slots=True)
class Words:
    """The message, or any text attribute when `anywhere`, holds these words in this order, separated as written."""

    pattern: Pattern
    at: int
    anywhere: bool = False


@dataclass(frozen=True, slots=True)
class Equals:
    """The attribute is one of `values`."""

    path: str
    values: tuple[str, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Like:
    """The whole text of the attribute has the form of `pattern`."""

    path: str
    pattern: Pattern
    at: int


@dataclass(frozen=True, slots=True)
class Exists:
    """The attribute is there."""

    path: str
    at: int


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a range; `value` itself belongs to it when `inclusive`."""

    value: str
    inclusive: bool
    at: int


@dataclass(frozen=True, slots=True)
class Between:
    """The attribute lies between two ends; None is an open end, and one of both is given."""

    path: str
    low: Bound | None
    high: Bound | None
    at: int


@dataclass(frozen=True, slots=True)
class InNetworks:
    """The attribute is an IP address in one of `networks`, each in the form address/bits."""

    path: str
    networks: tuple[str, ...]
    at: int


@dataclass(frozen=True, slots=True)
class All:
    """All of two or more terms hold."""

    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of two or more terms holds."""

    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The term does not hold, also because its attribute is missing."""

    term: Node


Test = Words | Equals | Like | Exists | Between | InNetworks
Node = Everything | Test | All | AnyOf | Not


def all_of(terms: list[Node]) -> Node:
    """All of `terms`, which is not empty."""
    return terms[0] if len(terms) == 1 else All(tuple(terms))


def any_of(terms: list[Node]) -> Node:
    """One of `terms`, which is not empty; values of one path become one test."""
    merged: list[Node] = []
    places: dict[str, int] = {}
    for term in terms:
        place = places.get(term.path) if isinstance(term, Equals) else None
        if isinstance(term, Equals) and place is not None:
            earlier = merged[place]
            assert isinstance(earlier, Equals)
            merged[place] = Equals(term.path, earlier.values + term.values, earlier.at)
            continue
        if isinstance(term, Equals):
            places[term.path] = len(merged)
        merged.append(term)
    return merged[0] if len(merged) == 1 else AnyOf(tuple(merged))
