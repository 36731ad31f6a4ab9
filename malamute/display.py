"""Owns how the command line looks: consoles, number formats, tables. Never decides what is shown, never computes it.

Results go to stdout, progress and remarks to stderr; neither has colours or moving parts when it is not a terminal.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Beyond any terminal: what goes into a file or a pipe is never wrapped.
WIDTH_UNLIMITED = 100_000

ACCENT = "cyan"
GOOD = "green"
BAD = "red"
FAINT = "bright_black"

_BARS = "▁▂▃▄▅▆▇█"
_DECIMAL_UNITS = ("", "k", "M", "G", "T", "P")


_results: TextIO | None = None


class _Stderr(io.TextIOBase):
    """Whatever sys.stderr is at the moment: a live view puts its own in its place."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def results() -> TextIO:
    """The process's stdout, for results alone: from the first call on, what others print there goes to stderr.

    Ray prints notices on sys.stdout, which would end up in the middle of JSON.
    """
    global _results
    if _results is None:
        _results, sys.stdout = sys.stdout, _Stderr()
    return _results


def output() -> Console:
    """Where results go, as tables and sentences."""
    file = results()
    return Console(file=file, highlight=False, width=None if file.isatty() else WIDTH_UNLIMITED)


def remarks() -> Console:
    """Where progress and remarks go."""
    return Console(file=sys.stderr, highlight=False, width=None if sys.stderr.isatty() else WIDTH_UNLIMITED)


def count_text(value: float) -> str:
    """1234567 → "1,234,567"."""
    return f"{value:,.0f}"


def rows_text(count: int) -> str:
    """1 → "1 row"."""
    return f"{count:,} row{'' if count == 1 else 's'}"


def files_text(count: int) -> str:
    """1 → "1 file"."""
    return f"{count:,} file{'' if count == 1 else 's'}"


def short_text(value: float, unit: str = "") -> str:
    """1234567 → "1.23 M"; three significant digits, decimal prefixes."""
    power = 0
    while abs(value) >= 999.5 and power < len(_DECIMAL_UNITS) - 1:
        value /= 1000
        power += 1
    digits = 0 if power == 0 and value == int(value) else max(0, 2 - len(str(int(abs(value)))) + 1)
    return f"{value:.{digits}f} {_DECIMAL_UNITS[power]}{unit}".rstrip()


def bytes_text(value: float) -> str:
    """1234567 → "1.23 MB"."""
    return short_text(value, "B")


def seconds_text(value: float) -> str:
    """0.0123 → "12.3 ms"; 61.2 → "61.2 s"."""
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1000:.3g} ms" if value < 0.9995 else f"{value:.3g} s" if value < 100 else f"{value:.0f} s"


def sparkline(values: Sequence[float], width: int) -> str:
    """The last `width` values as bars that begin at zero."""
    shown = list(values)[-width:]
    top = max(shown, default=0.0)
    if top <= 0:
        return _BARS[0] * len(shown)
    return "".join(_BARS[min(len(_BARS) - 1, int(value / top * len(_BARS)))] for value in shown)


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    """An empty table in the house style; the columns named in `right` are flush right."""
    made = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    right = set(right)
    for column in columns:
        made.add_column(Text(column), justify="right" if column in right else "left", overflow="fold")
    return made


def result_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], numeric: Iterable[str]) -> Table:
    """The rows of a query; the numbers of a column have as many decimals as the one that needs most."""
    made = table(*columns, right=numeric)
    rows = list(rows)
    decimals = [_decimals(row[index] for row in rows) for index in range(len(columns))]
    for row in rows:
        made.add_row(*(cell(value, places) for value, places in zip(row, decimals, strict=True)))
    return made


def _decimals(values: Iterable[Any]) -> int | None:
    """How many decimals show six significant digits of every float, without zeros at the end; None for huge ones."""
    texts = [f"{value:.6g}" for value in values if isinstance(value, float)]
    if any("e" in text or "n" in text for text in texts):  # exponents, nan, inf
        return None
    return max((len(text.partition(".")[2]) for text in texts), default=0)


def cell(value: Any, decimals: int | None = None) -> Text:
    """One value of a result as people read it; NULL is faint so that it is told from the text."""
    if value is None:
        return Text("NULL", style=FAINT)
    if isinstance(value, bool):
        return Text("true" if value else "false")
    if isinstance(value, float):
        return Text(f"{value:.6g}" if decimals is None else f"{value:.{decimals}f}")
    if isinstance(value, datetime):
        return Text(value.strftime("%Y-%m-%d %H:%M:%S") + (f".{value.microsecond:06d}" if value.microsecond else ""))
    return Text(str(value))


def settings_table(rows: Iterable[tuple[str, str, str]]) -> Table:
    """(key, value, source) of every setting; what is not the default stands out."""
    made = table("setting", "value", "source")
    for key, value, source in rows:
        style = FAINT if source == "default" else ""
        made.add_row(Text(key), Text(value), Text(source), style=style)
    return made


def shards_table(shards: Iterable[Mapping[str, Any]]) -> Table:
    """The shards of a deployment, one a line."""
    numbers = ("shard", "pid", "epoch", "events", "memtable", "segments", "segment bytes", "wal", "memory")
    made = table("shard", "state", *numbers[1:], right=numbers)
    for shard in shards:
        if shard["state"] != "serving":
            reason = Text(str(shard.get("reason", "")), style=FAINT)
            made.add_row(str(shard["shard"]), Text(shard["state"], style=BAD), "", "", reason)
            continue
        made.add_row(
            str(shard["shard"]),
            _state(shard),
            str(shard["pid"]),
            str(shard["epoch"]),
            count_text(shard["events"]),
            bytes_text(shard["memtable_bytes"]),
            count_text(shard["segments"]),
            bytes_text(shard["segment_bytes"]),
            bytes_text(shard["wal_bytes"]),
            bytes_text(shard["rss_bytes"]),
        )
    return made


def _state(shard: Mapping[str, Any]) -> Text:
    if shard.get("poisoned"):
        return Text("poisoned", style=BAD)
    return Text("serving", style=GOOD)


def plain_lines(pairs: Iterable[tuple[str, str | Text]]) -> Table:
    """Names and what is to be said of them, aligned."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style=FAINT)
    made.add_column()
    for name, text in pairs:
        made.add_row(Text(name), Text(text) if isinstance(text, str) else text)
    return made
