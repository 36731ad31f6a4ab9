"""Numbers as people read them."""

from __future__ import annotations

import pytest
from rich.console import Console

from malamute.display import bytes_text, count_text, result_table, seconds_text, shards_table, short_text, sparkline


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (999.7, "1.00 k"),
        (1_000, "1.00 k"),
        (65_536, "65.5 k"),
        (1_234_567, "1.23 M"),
        (0.5, "0.50"),
        (2.5e18, "2500 P"),
    ],
)
def test_short(value: float, text: str) -> None:
    assert short_text(value) == text


def test_units() -> None:
    assert bytes_text(1_500_000) == "1.50 MB"
    assert count_text(1_234_567) == "1,234,567"
    assert [seconds_text(s) for s in (0.00012, 0.0123, 0.9999, 1.5, 61.2, 120)] == [
        "120 µs", "12.3 ms", "1 s", "1.5 s", "61.2 s", "120 s",
    ]  # fmt: skip


def test_sparkline_begins_at_zero_and_shows_the_newest() -> None:
    assert sparkline([9, 0, 4, 8], 3) == "▁▅█"
    assert sparkline([], 3) == ""
    assert sparkline([0, 0], 3) == "▁▁"


def _plain(table: object) -> list[str]:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_decimals_of_a_column_agree() -> None:
    lines = _plain(result_table(["name", "p50"], [("a", 12.0), ("b", 12.1), ("c", None)], ["p50"]))
    assert [line.split()[-1] for line in lines[2:]] == ["12.0", "12.1", "NULL"]


def test_huge_and_unreal_floats_keep_their_form() -> None:
    lines = _plain(result_table(["x"], [(1e300,), (float("nan"),), (1.5,)], ["x"]))
    assert [line.strip() for line in lines[2:]] == ["1e+300", "nan", "1.5"]


def test_text_is_never_taken_for_markup() -> None:
    assert _plain(result_table(["[bold]x"], [("[red]y[/]",)], []))[2] == "[red]y[/]"


def test_a_shard_that_does_not_answer_says_why() -> None:
    text = "\n".join(_plain(shards_table([{"shard": 1, "state": "unavailable", "reason": "the actor is gone"}])))
    assert "unavailable" in text and "the actor is gone" in text
