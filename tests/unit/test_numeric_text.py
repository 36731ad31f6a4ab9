"""Which texts are numbers: asked of the engine itself."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from query.numeric_text import is_numeric, may_be_numeric

TEXTS = [
    "1",
    " 1",
    "1 ",
    "+1.5",
    "-.5",
    ".5",
    "5.",
    "1e3",
    "1E-3",
    "1_000",
    "inf",
    "-Infinity",
    "NaN",
    "nAn",
    "\t7",
    "0x1F",
]
WORDS = ["", "refused", "none", "n/a", "in", "info", "e5", "one", "1a", "--1", "infinite", "nano"]


def cast(texts: list[str]) -> list[float | None]:
    connection = duckdb.connect()
    connection.register("texts", pa.table({"t": texts}))
    return [number for (number,) in connection.execute("SELECT TRY_CAST(t AS DOUBLE) FROM texts").fetchall()]


def test_what_the_engine_casts_is_numeric() -> None:
    for text, number in zip(TEXTS + WORDS, cast(TEXTS + WORDS), strict=True):
        assert number is None or is_numeric(text), text
        assert number is None or may_be_numeric(text, text), text


def test_no_other_beginning_makes_a_number() -> None:
    """Every character, before what makes a number of what can become one."""
    characters = [chr(code) for code in range(0x10000) if code and not 0xD800 <= code < 0xE000]
    for rest in ("", "1", "nf", "an", "nfinity", ".5"):
        for character, number in zip(characters, cast([character + rest for character in characters]), strict=True):
            assert number is None or may_be_numeric(character + rest, character + rest), ascii(character + rest)


@pytest.mark.parametrize(
    ("low", "high", "may"),
    [
        ("refused", "timeout", False),
        ("none", "none", False),
        ("a", "z", True),
        ("na", "nb", True),
        ("n", "n", False),
        ("nan", "nan", True),
        ("NAN of the year", "NAN of the year", True),
        ("", "", False),
        ("", "!", True),
        ("/", "/z", False),
        ("10", "10", True),
        ("ok", "é", False),
    ],
)
def test_bounds(low: str, high: str, may: bool) -> None:
    assert may_be_numeric(low, high) is may
