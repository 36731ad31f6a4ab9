"""Owns the way back: text of the engine about the resolved query, in the words of the query as it was asked.

Names of columns and error messages go through here. Never changes a query.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from query.bounded_functions import LOOK
from query.dialect import RESERVED, quote
from query.sources import StreamSource

_SOURCE: Final = re.compile(rf'"?{RESERVED}_(\d+)"? AS ("(?:[^"]|"")*"|\w+)')
_PARTS: Final = re.compile(rf"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|{LOOK}\(|[^{RESERVED[0]}'\"()]+|.", re.DOTALL)
_BARE_SOURCE: Final = re.compile(rf'"?{RESERVED}\w*?(\d*)"?(?!\w)')


def as_asked(text: str, sources: Sequence[StreamSource]) -> str:
    """`text` with the names of sources and readings replaced by the streams and paths that they stand for."""
    if RESERVED in text:
        text = _without_looks(_SOURCE.sub(lambda found: _source(found[1], found[2], sources), text))
    for source in sources:
        for column in source.columns.values():
            if column.path and column.name not in (column.path, f"{column.path}::{column.kind}"):
                text = text.replace(quote(column.name), _as_written(column.path))
    return text


def _without_looks(text: str) -> str:
    kept: list[str] = []
    opened: list[bool] = []  # of each bracket: whether a look opens it
    for part in _PARTS.findall(text):
        look = part.startswith(LOOK)
        if look or part == "(":
            opened.append(look)
        elif part == ")":
            look = bool(opened) and opened.pop()
        kept.append("" if look else part)
    return "".join(kept)


def message_as_asked(text: str, sources: Sequence[StreamSource]) -> str:
    """As `as_asked`, and no name that a plan made up is left."""
    return _BARE_SOURCE.sub(lambda found: _source(found[1], "", sources), as_asked(text, sources))


def _source(number: str, alias: str, sources: Sequence[StreamSource]) -> str:
    known = bool(number) and int(number) < len(sources)
    name = sources[int(number)].stream if known else "a stream"
    return f"{name} AS {alias}" if alias and alias.strip('"') != name else name


def _as_written(path: str) -> str:
    return path if path.isidentifier() else quote(path)
