"""Owns `malamute sql`: one query, its rows in a format for people or for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv

from core.errors import InvalidRequest
from malamute.commands.store import Choice, open_store
from malamute.display import FAINT, output, remarks, result_table, results, rows_text, seconds_text
from malamute.result import Result


def run(
    choice: Choice, text: str, format_: str, timeout_s: float, dialect: str | None = None, at: str | None = None
) -> None:
    """Run `text` and print its rows; warnings and cost go to stderr."""
    if format_ not in FORMATS:
        raise InvalidRequest(f"format {format_!r} is not known: use one of {', '.join(FORMATS)}")
    results()
    err = remarks()
    with open_store(choice, err, create=False) as store:
        started = time.monotonic()
        result = store.client.sql(text, timeout_s=timeout_s, dialect=dialect, at=at)
        seconds = time.monotonic() - started
    for warning in result.warnings:
        err.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    FORMATS[format_](result)
    err.print(f"{rows_text(len(result))} in {seconds_text(seconds)}", style=FAINT)


def show(result: Result) -> None:
    """The rows as a table for people."""
    output().print(result_table(result.columns, result, numeric_columns(result)))


def numeric_columns(result: Result) -> list[str]:
    """The columns that are flush right."""
    schema = result.to_arrow().schema
    return [
        field.name
        for field in schema
        if pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_decimal(field.type)
    ]


def _json(result: Result) -> None:
    results().write("[")
    for number, row in enumerate(_plain_rows(result)):
        results().write((",\n " if number else "\n ") + row)
    results().write("\n]\n" if len(result) else "]\n")


def _ndjson(result: Result) -> None:
    for row in _plain_rows(result):
        results().write(row + "\n")


def _plain_rows(result: Result) -> Iterator[str]:
    for batch in result.batches():
        for row in batch.to_pylist():
            yield json.dumps(row, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """What JSON has no type for, as text: times in ISO 8601, decimals and durations in their own words."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)


def _csv(result: Result) -> None:
    table = result.to_arrow()
    for index, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [None if value is None else json.dumps(value, default=_plain) for value in table[index].to_pylist()]
            table = table.set_column(index, field.name, pa.array(texts, pa.string()))
    results().flush()
    pyarrow.csv.write_csv(table, results().buffer)


def _arrow(result: Result) -> None:
    table = result.to_arrow()
    with pa.ipc.new_stream(results().buffer, table.schema) as writer:
        writer.write_table(table)


FORMATS: dict[str, Callable[[Result], None]] = {
    "table": show,
    "json": _json,
    "ndjson": _ndjson,
    "csv": _csv,
    "arrow": _arrow,
}
