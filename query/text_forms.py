"""Owns the forms of texts that conditions ask for, LIKE and its kin, and which texts have one. Never opens an index.

A form is a pattern of query.search.syntax. It is tried as a nondeterministic automaton over the bytes of UTF-8, whose
states are the bits of an integer: before which of its items a text may stand. Whatever the pattern, a byte is a few
operations (Baeza-Yates and Gonnet, "A New Approach to Text Searching", 1992).
"""

from __future__ import annotations

import functools
from typing import Any, Final

from sqlglot import exp

from query.dialect import call_name
from query.operators import Infix
from query.search.syntax import Pattern, Wild
from storage.string_zone_maps import State

_LIKE_WILD: Final = {"%": Wild.ANY, "_": Wild.ONE}
_CALLS: Final = {
    "starts_with": (False, True),
    "prefix": (False, True),
    "ends_with": (True, False),
    "suffix": (True, False),
    "contains": (True, True),
}
# Of a longer pattern only the beginning is tried: any text may follow.
_ITEMS_MAX: Final = 1_024
_CONTINUATIONS: Final = range(0x80, 0xC0)  # the bytes of a character behind its first one


def form_of(condition: exp.Expr) -> tuple[Any, Pattern] | None:
    """(operand, pattern) when `condition` says exactly that a text has the form of a pattern, else None."""
    if isinstance(condition, (exp.Like, exp.Escape)):
        return _like(condition)
    if isinstance(condition, Infix) and condition.args["sign"] == "^@":
        prefix = text_of(condition.expression)
        return (condition.this, _around(prefix, (False, True))) if prefix is not None else None
    if isinstance(condition, exp.Anonymous) and len(condition.expressions) == 2:
        subject, argument = condition.expressions
        part, ends = text_of(argument), _CALLS.get(call_name(condition))
        return (subject, _around(part, ends)) if part is not None and ends is not None else None
    return None


def like_pattern(literal: str, escape: str) -> Pattern:
    """What a text behind LIKE asks for; `escape` is one character or none."""
    parts: list[str | Wild] = []
    characters = iter(literal)
    for character in characters:
        if escape and character == escape:
            part: str | Wild = next(characters, "")
        else:
            part = _LIKE_WILD.get(character, character)
        if isinstance(part, str) and parts and isinstance(earlier := parts[-1], str):
            parts[-1] = earlier + part
        else:
            parts.append(part)
    return tuple(parts)


def text_of(node: Any) -> str | None:
    """The value of a text literal, None for anything else."""
    while isinstance(node, exp.Paren):
        node = node.this
    return node.name if isinstance(node, exp.Literal) and node.is_string else None


def shown(pattern: Pattern) -> str:
    """A pattern for people, with % and _ as wildcards."""
    return "".join({Wild.ANY: "%", Wild.ONE: "_"}[part] if isinstance(part, Wild) else part for part in pattern)


def prefix_of(pattern: Pattern) -> str:
    """How every text of the form begins."""
    return pattern[0] if pattern and isinstance(pattern[0], str) else ""


@functools.lru_cache(maxsize=64)
def form(pattern: Pattern) -> Form:
    """The form, made once for all the row groups that it is tried on."""
    return Form(pattern)


class Form:
    """Which texts have the form of a pattern. Never denies one that has; of very long patterns it may take others."""

    def __init__(self, pattern: Pattern) -> None:
        self._advances: Final = [0] * 256  # by byte, the items that it takes a text past
        self._stays: Final = [0] * 256  # by byte, the items that it leaves a text before
        self._skipped = 0  # items that may stand for nothing
        items = 0
        for byte in _bytes_of(pattern):
            item = 1 << items
            if isinstance(byte, int):
                self._advances[byte] |= item
            elif byte is Wild.ANY:
                self._loop(item, range(256))
            else:
                # One character: its first byte, then any number of further ones.
                for first in (*range(0x80), *range(0xC0, 0x100)):
                    self._advances[first] |= item
                items += 1
                self._loop(1 << items, _CONTINUATIONS)
            items += 1
            if items >= _ITEMS_MAX:
                self._loop(1 << items, range(256))
                items += 1
                break
        self._end: Final = 1 << items
        self.start: Final = self._closed(1)

    def has(self, text: str) -> bool:
        """Whether `text` has the form."""
        states = self.start
        for byte in text.encode():
            states = self._after(states, byte)
            if not states:
                return False
        return bool(states & self._end)

    def some(self, zone: State) -> bool:
        """Whether one of the texts that a string zone map accepts has the form."""
        return self._some(zone, self.start)

    def _some(self, zone: State, states: int) -> bool:
        if not states:
            return False
        if (zone.ends and states & self._end) or (zone.more and states != self._end):
            return True
        return any(self._some(following, self._after(states, byte)) for byte, following in zone.next.items())

    def _after(self, states: int, byte: int) -> int:
        return self._closed(((states & self._advances[byte]) << 1) | (states & self._stays[byte]))

    def _closed(self, states: int) -> int:
        """`states`, and those behind items that stand for nothing."""
        while (more := states | (states & self._skipped) << 1) != states:
            states = more
        return states

    def _loop(self, item: int, bytes_: range) -> None:
        self._skipped |= item
        for byte in bytes_:
            self._stays[byte] |= item


def _bytes_of(pattern: Pattern) -> list[int | Wild]:
    found: list[int | Wild] = []
    for part in pattern:
        found += [part] if isinstance(part, Wild) else part.encode()
    return found


def _around(part: str, ends: tuple[bool, bool]) -> Pattern:
    """Texts with `part` in them; `ends` says whether anything may be before and behind it."""
    before, behind = ends
    return (*((Wild.ANY,) if before else ()), *((part,) if part else ()), *((Wild.ANY,) if behind else ()))


def _like(condition: exp.Expr) -> tuple[Any, Pattern] | None:
    escape: str | None = ""
    if isinstance(condition, exp.Escape):
        escape = text_of(condition.expression)
        condition = condition.this
    literal = text_of(condition.expression) if type(condition) is exp.Like else None
    if literal is None or escape is None or len(escape) > 1 or condition.args.get("negate"):
        return None
    return condition.this, like_pattern(literal, escape)
