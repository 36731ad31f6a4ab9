"""Owns what a query returns: rows as Arrow, and views of them for other libraries."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


class Result:
    """The rows of one query, read from one snapshot.

    Anything that speaks the Arrow PyCapsule interface takes a Result as it is (`polars.DataFrame(result)`,
    `duckdb.from_arrow(result)` …). `warnings` name unknown paths and the like; `stats` say what the query cost.
    """

    def __init__(self, table: pa.Table, warnings: tuple[str, ...] = (), stats: dict[str, Any] | None = None) -> None:
        self._table = table
        self.warnings = warnings
        self.stats = stats or {}

    @property
    def columns(self) -> list[str]:
        """Column names, in order."""
        return list(self._table.column_names)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Rows as tuples of Python values."""
        for batch in self._python_table().to_batches():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)

    def to_arrow(self) -> pa.Table:
        """The rows as one Arrow table, without a copy."""
        return self._table

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow record batches."""
        yield from self._table.to_batches()

    def to_pylist(self) -> list[dict[str, Any]]:
        """The rows as dicts."""
        return list(self._python_table().to_pylist())

    def to_ndjson(self, *, nested: bool = True) -> bytes:
        """The rows as JSON events, one a line: null is absent, dotted names become objects unless `nested` is false.

        Can be written again as it is. InvalidRequest when a name repeats or a type (an interval) has no JSON form.
        """
        from ingest.unshred_json import to_ndjson

        return to_ndjson(self._table, nested=nested).to_pybytes()

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a pandas data frame; needs pandas."""
        return self._table.to_pandas()

    def to_polars(self) -> pl.DataFrame:
        """The rows as a polars data frame; needs polars."""
        import polars

        return polars.from_arrow(self._table)

    def scalar(self) -> Any:
        """The only value of a result of one row and one column."""
        if self._table.num_rows != 1 or self._table.num_columns != 1:
            raise ValueError(
                f"scalar() needs one row and one column, not {self._table.num_rows}x{self._table.num_columns}"
            )
        return self._python_table().column(0)[0].as_py()

    def _python_table(self) -> pa.Table:
        """The table with whole decimals as integers where they fit: sums of integers are 128 bits wide in SQL."""
        table = self._table
        for index, field in enumerate(table.schema):
            if pa.types.is_decimal(field.type) and field.type.scale == 0:
                with contextlib.suppress(pa.ArrowInvalid):  # beyond 64 bits: stays a Decimal
                    table = table.set_column(index, field.name, table.column(index).cast(pa.int64()))
        return table

    def __repr__(self) -> str:
        return f"<Result {self._table.num_rows} rows x {self._table.num_columns} columns: {', '.join(self.columns)}>"


class Page(Result):
    """One page of a search. `cursor` leads to the next one, None after the last."""

    def __init__(self, table: pa.Table, warnings: tuple[str, ...], stats: dict[str, Any], cursor: str | None) -> None:
        super().__init__(table, warnings, stats)
        self.cursor = cursor
