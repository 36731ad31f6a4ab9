"""Owns what whole words mean: a regular expression for a sequence of words, back again, and the tokens it implies.

A word is a maximal run of ASCII letters, digits, underscores and characters that are not ASCII, as in storage.tokens.
Expressions are RE2's. Never sees a tree.
"""

from __future__ import annotations

import re
from typing import Final

from query.search.syntax import Pattern, Wild

# Characters of a word, without the brackets of a class.
_WORD: Final = r"0-9A-Za-z_\x{80}-\x{10FFFF}"
_START: Final = f"(?:^|[^{_WORD}])"
_END: Final = f"(?:$|[^{_WORD}])"
_FLAGS: Final = "(?i)"
_WILD: Final = {Wild.ANY: f"[{_WORD}]*", Wild.ONE: f"[{_WORD}]"}
# Without case, RE2 takes the Kelvin sign for a k and the long s for an s; tokens do not.
_FOLDED: Final = {letter: f"(?-i:[{letter.lower()}{letter.upper()}])" for letter in "kKsS"}
_PIECE: Final = re.compile(
    "|".join(re.escape(text) for text in (_WILD[Wild.ANY], _WILD[Wild.ONE]))
    + r"|\(\?-i:\[(?P<folded>[ks])[KS]\]\)|\\(?P<escaped>[!-/:-@\[-`{-~ ])"
    + r"|(?P<plain>[0-9A-JL-RT-Za-jl-rt-z_\x80-\U0010ffff\s])",
    re.DOTALL,
)
_ASCII_WORD: Final = re.compile(r"[A-Za-z0-9_\x80-\U0010ffff]+")


def is_word(character: str) -> bool:
    """Whether `character` is part of a word."""
    return character == "_" or character >= "\x80" or (character.isascii() and character.isalnum())


def word_expression(pattern: Pattern) -> str:
    """The expression that finds the words of `pattern` in a text, without regard to the case of letters.

    `*` and `?` stay inside of a word. Where the pattern begins or ends with a word, so must the text's word.
    """
    pieces = [_WILD[part] if isinstance(part, Wild) else "".join(map(_escaped, part)) for part in pattern]
    first, last = pattern[0], pattern[-1]
    # A wildcard for any characters of a word goes up to its boundary by itself.
    if first is Wild.ANY:
        pieces[0] = ""
    elif first is Wild.ONE or is_word(first[0]):
        pieces[0] = _START + pieces[0]
    if last is Wild.ANY:
        pieces[-1] = ""
    elif last is Wild.ONE or is_word(last[-1]):
        pieces[-1] += _END
    return _FLAGS + "".join(pieces)


def expressed(expression: str) -> Pattern | None:
    """The pattern that word_expression() made `expression` of, but for wildcards at its ends; None if it did not."""
    if not expression.startswith(_FLAGS):
        return None
    inner = expression[len(_FLAGS) :]
    start, end = inner.startswith(_START), inner.endswith(_END)
    inner = inner[len(_START) :] if start else inner
    inner = inner[: len(inner) - len(_END)] if end else inner
    parts: list[str | Wild] = []
    at = 0
    while at < len(inner):
        found = _PIECE.match(inner, at)
        if found is None:
            return None
        at = found.end()
        text = found["folded"] or found["escaped"] or found["plain"]
        part: str | Wild = text or (Wild.ANY if found[0].endswith("*") else Wild.ONE)
        if isinstance(part, str) and parts and isinstance(earlier := parts[-1], str):
            parts[-1] = earlier + part
        else:
            parts.append(part)
    if not parts:
        return None
    # Where no boundary is asked for, the word may go on.
    if not start and (isinstance(parts[0], Wild) or is_word(parts[0][0])):
        parts.insert(0, Wild.ANY)
    if not end and (isinstance(parts[-1], Wild) or is_word(parts[-1][-1])):
        parts.append(Wild.ANY)
    return tuple(parts)


def tokens_within(pattern: Pattern, *, bounded_start: bool, bounded_end: bool) -> tuple[str, ...]:
    """The whole ASCII tokens, lowered, that every text with a part of the form `pattern` holds.

    `bounded_start` and `bounded_end` say that no word goes on beyond that end of the pattern. A wildcard may stand for
    more of a word.
    """
    found: list[str] = []
    for index, part in enumerate(pattern):
        if isinstance(part, Wild):
            continue
        open_start = index > 0 or not bounded_start
        open_end = index + 1 < len(pattern) or not bounded_end
        for word in _ASCII_WORD.finditer(part):
            cut = (open_start and word.start() == 0) or (open_end and word.end() == len(part))
            if not cut and word[0].isascii():
                found.append(word[0].lower())
    return tuple(dict.fromkeys(found))


def _escaped(character: str) -> str:
    if character in _FOLDED:
        return _FOLDED[character]
    plain = is_word(character) or character.isspace() or not character.isprintable()
    return character if plain else f"\\{character}"
