"""Owns what the sender of a wrong query is told: the engine's words, where the mistake is, and the next step.

Never decides what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import duckdb
from sqlglot.errors import TokenError

from core.errors import InvalidQuery
from query.bounded_functions import bound_passed
from query.dialect import DIALECT
from query.display import as_asked, message_as_asked
from query.sources import StreamSource

# Words of the engine that do not say what to do, and what to do.
_NEXT_STEPS: Final = (
    ("cannot contain aggregates", "put the condition in having"),
    ("cannot contain window functions", "put the condition in qualify"),
    ("calls cannot be nested", "aggregate in a subquery first"),
    ("could not convert", "use try_cast to get null instead"),
    ("unterminated", "close it"),
    ("syntax error", "check the text around it"),
    ("same number of result columns", "select the same columns on both sides, or use by name"),
    ("returns 2 columns", "select one column"),
    ("does not exist", "check its name"),
    ("not found", "check its name"),
    ("duplicate", "give one of them another name"),
    ("no matching columns", "describe the stream to see its columns"),
    ("window functions are not supported", "add over (…)"),
    ("group by clause", "add it to the group by list"),
    ("cannot be negative", "take 0 or more"),
    ("overflow", "cast to a wider type"),
    ("not recognized", "check its spelling"),
    ("does not have a column", "check its name"),
    ("could not find key", "check its name"),
    ("without selection list", "name what to select, or *"),
    ("explicit type casts", ""),  # says it itself
    ("explicit cast", ""),
    ("please", ""),
    ("expected", ""),
)
_INTERNAL_SOURCE: Final = re.compile(r' when casting from source column "?(?:[ackdf]\d+)"?$')
_MARKED: Final = re.compile(r"^(?P<frame>LINE (?P<number>\d+): )(?P<line>.*)\n(?P<carets> *\^+)", re.MULTILINE)
_NAMED: Final = re.compile(r"""["'](\w[^"']*)["']|(?:column|name) (\w[\w.]*)""")
_SYNTAX: Final = "Parser Error"
_WORD: Final = re.compile(r"\w")


def syntax_error(text: str) -> InvalidQuery | None:
    """What the engine's parser says of `text`, None when it is content with it."""
    with duckdb.connect(":memory:") as connection:
        try:
            connection.extract_statements(text)
        except duckdb.Error as error:
            line, column, _ = _mark(str(error))
            return InvalidQuery(f"cannot parse the query: {said(str(error))}", line=line, column=column)
    return None


def said(message: str) -> str:
    """The engine's `message` as one line with a next step, without its frame and the names that plans make up."""
    if passed := bound_passed(message):
        return f"{passed}: ask for less"
    lines = message.splitlines() or [message]
    kind, separator, rest = lines[0].partition("Error: ")
    first = rest if separator and len(kind) < 40 else lines[0]
    first = _INTERNAL_SOURCE.sub("", first)
    hints = [line.strip() for line in lines[1:] if line.startswith(("Did you mean", "Candidate ", "Either add"))]
    step = _lower(hints[0].rstrip("?.")) if hints else _next_step(first)
    return f"{_lower(first.strip().rstrip('!.'))}: {step}" if step else _lower(first)


def located(error: InvalidQuery, text: str, sources: Sequence[StreamSource] = ()) -> InvalidQuery:
    """`error` in the words of the query `text`, with its place there; the engine's own error is its cause."""
    if error.line:
        return error
    message = str(error.__cause__ or error)
    if message.startswith(_SYNTAX) and (plainly := syntax_error(text)) is not None:
        return plainly
    words = message_as_asked(str(error), sources)
    *_, marked = _mark(message)
    tokens = _tokens(text)
    named = [one or other for one, other in _NAMED.findall(words)]
    for candidate in _candidates([as_asked(marked, sources), *named]):
        place = _find(_tokens(candidate), tokens)
        if place is not None:
            width = int(place.end) - int(place.start)
            return InvalidQuery(words, line=int(place.line), column=max(1, int(place.col) - width))
    return InvalidQuery(words)


def _tokens(text: str) -> list[Any]:
    try:
        return list(DIALECT.tokenize(text))
    except TokenError:
        return []  # a part of a word: nothing to find


def _mark(message: str) -> tuple[int, int, str]:
    """Line, column and text that the engine's `message` marks; zeros and "" when it marks none."""
    found = _MARKED.search(message)
    if found is None:
        return 0, 0, ""
    start = found["carets"].index("^") - len(found["frame"])
    return int(found["number"]), start + 1, found["line"][start : len(found["carets"]) - len(found["frame"])]


def _next_step(text: str) -> str:
    lower = text.lower()
    return next((step for part, step in _NEXT_STEPS if part in lower), "change the query")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() or not text[1:2].isalpha() else text


def _candidates(texts: Sequence[str]) -> Iterator[str]:
    """What the mistake may look like in the query, the surest first."""
    for text in texts:
        yield text
        yield text.partition("(")[0]
        yield re.split(r"[.\s(]", text.rstrip("()"))[-1]


def _find(marked: list[Any], tokens: list[Any]) -> Any:
    wanted = [token.text.casefold() for token in marked]
    if not wanted or not any(_WORD.search(text) for text in wanted):
        return None
    held = [token.text.casefold() for token in tokens]
    places = (start for start in range(len(held)) if held[start : start + len(wanted)] == wanted)
    start = next(places, None)
    return None if start is None else tokens[start]
