"""Owns the characters of a search: where one reads, what is escaped, which part is quoted. Knows no grammar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

from core.errors import InvalidQuery
from query.search.syntax import Pattern, Wild

Place = Callable[[int], tuple[int, int]]  # offset in the search → line and column to show, zeros when unknown

_WILD: Final = {"*": Wild.ANY, "?": Wild.ONE}


def place_in(text: str) -> Place:
    """The place of an offset in `text` itself."""

    def place(at: int) -> tuple[int, int]:
        before = text[:at]
        return before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1

    return place


def search_error(message: str, at: int, place: Place) -> InvalidQuery:
    """What is wrong at offset `at` of a search."""
    line, column = place(at)
    return InvalidQuery(f"search, character {at + 1}: {message}", line=line, column=column)


class Scanner:
    """Reads a text from left to right."""

    def __init__(self, text: str, place: Place) -> None:
        self._text = text
        self._place = place
        self.at = 0

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        """Raise InvalidQuery for offset `at`, else for the next character."""
        raise search_error(message, self.at if at is None else at, self._place)

    @property
    def next(self) -> str:
        """The next character, "" at the end."""
        return self._text[self.at : self.at + 1]

    def skip_spaces(self) -> None:
        while self.next.isspace():
            self.at += 1

    def take(self, *texts: str) -> str:
        """The first of `texts` that comes next, now read; "" when none does."""
        for text in texts:
            if self._text.startswith(text, self.at):
                self.at += len(text)
                return text
        return ""

    def at_word(self, word: str) -> bool:
        """Whether the operator `word` comes next, as a word of its own."""
        after = self._text[self.at + len(word) : self.at + len(word) + 1]
        return self._text.startswith(word, self.at) and (not after or after.isspace() or after in '()"')

    def run(self, stops: str) -> Pattern:
        """What comes before the next space or unescaped character of `stops`."""
        pattern: list[str | Wild] = []
        text: list[str] = []
        while (character := self.next) and not character.isspace() and character not in stops:
            self.at += 1
            if character in _WILD:
                if text:
                    pattern.append("".join(text))
                    text = []
                pattern.append(_WILD[character])
                continue
            if character == "\\":
                character = self.next or self.fail("expected a character after the backslash that escapes it")
                self.at += 1
            text.append(character)
        return (*pattern, "".join(text)) if text else tuple(pattern)

    def quoted(self) -> str:
        """The text up to the closing quote, after the opening one was read; `\\"` and `\\\\` are escaped."""
        opened = self.at - 1
        text: list[str] = []
        while (character := self.next) != '"':
            if not character:
                self.fail("this quote is not closed: write another one behind the text", opened)
            self.at += 1
            if character == "\\" and self.next in ('"', "\\") and self.next:
                character = self.next
                self.at += 1
            text.append(character)
        self.at += 1
        return "".join(text)
