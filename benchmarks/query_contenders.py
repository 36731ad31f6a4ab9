"""Owns the contenders of the query benchmark: each holds the same events and answers a text with an Arrow table."""

from __future__ import annotations

import inspect
import shutil
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import malamute
from benchmarks.query_suite import CLICKHOUSE, DUCKDB, HINTS, MALAMUTE, Query
from core.errors import InvalidQuery
from core.limits import ROW_GROUP_ROWS
from ingest.unshred_json import to_ndjson

THREADS: Final = 2
MEMORY_BYTES: Final = 4 * 2**30  # of DuckDB and of ClickHouse, each
_FLUSH_AGE_S: Final = 3600  # what is to stay in the memtables stays there until the end


class Malamute:
    """An embedded deployment with the default settings, but no flush by age, and no merges: DuckDB reads its files."""

    name = MALAMUTE

    def __init__(self, directory: Path) -> None:
        self.storage = directory / "malamute"
        self.config = directory / "bench.yaml"
        self._deployment = f"bench-{directory.name.rpartition('-')[2].lower()}"
        settings = f"flush:\n  age_s: {_FLUSH_AGE_S}\ncompaction:\n  enabled: false\n"
        self.config.write_text(f"name: {self._deployment}\n{settings}")
        self._connect()
        self.client.write("tiny", [{"service": "a", "message": "hello"}])
        self.words = self._answers("SELECT count(*) FROM tiny WHERE matches('hello')")
        self.can_cache = "cache" in inspect.signature(self.client.sql).parameters

    def _connect(self) -> None:
        self.client = malamute.connect(config=self.config, storage=self.storage)

    def _answers(self, text: str) -> bool:
        try:
            self.client.sql(text)
        except InvalidQuery:
            return False
        return True

    def run(self, query: Query, cache: bool = False) -> pa.Table:
        """The answer; `cache` lets the result cache be used where there is one."""
        return self.sql(query.text(self.name, self.words), cache)

    def sql(self, text: str, cache: bool = False) -> pa.Table:
        options = {"cache": cache} if self.can_cache else {}
        return self.client.sql(text, **options).to_arrow()

    def segments(self, stream: str) -> list[Path]:
        """The Parquet files of a stream."""
        return sorted(Path(path) for path in self.client.files(stream).paths)

    def forget(self) -> None:
        """Start anew on the same storage, without anything that processes or their cache directories remembered."""
        self.close()
        shutil.rmtree(Path(tempfile.gettempdir()) / "malamute-cache" / self._deployment, ignore_errors=True)
        self._connect()

    def close(self) -> None:
        """Flush and stop."""
        self.client.close()


class DuckDB:
    """Plain DuckDB: a view of each stream over its segment files, the memtables' events in one more file."""

    name = DUCKDB

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._connection = duckdb.connect()
        settings = {
            "threads": THREADS,
            "memory_limit": f"{MEMORY_BYTES}B",
            "temp_directory": str(directory / "duckdb-spill"),
            "TimeZone": "UTC",
            "parquet_metadata_cache": True,
            "preserve_insertion_order": False,
        }
        for setting, value in settings.items():
            self._connection.execute(f"SET {setting} = '{value}'")

    def tail_file(self, tail: pa.Table) -> Path:
        """The events of the memtables as the file that a flush would make of them."""
        path = self._directory / "tail.parquet"
        keys = pa.table({"service": tail["service"].cast(pa.string()), "timestamp": tail["timestamp"]})
        order = pc.sort_indices(keys, [("service", "ascending"), ("timestamp", "ascending")])
        pq.write_table(tail.take(order), path, compression="zstd", compression_level=1, row_group_size=ROW_GROUP_ROWS)
        return path

    def add(self, stream: str, files: list[Path]) -> None:
        """Let `stream` be the rows of `files`."""
        names = [str(path) for path in files]
        self._connection.execute(f"CREATE VIEW {stream} AS SELECT * FROM read_parquet({names!r}, union_by_name = true)")

    def run(self, query: Query) -> pa.Table:
        return self._connection.sql(query.text(self.name)).to_arrow_table()

    def close(self) -> None:
        self._connection.close()


class ClickHouse:
    """Embedded ClickHouse: a MergeTree table a stream. Event time, service and message are columns, the rest JSON."""

    name = CLICKHOUSE

    def __init__(self, directory: Path) -> None:
        from chdb.session import Session  # an extra, not there on every machine

        self.version = version("chdb")
        self._lines = directory / "lines.ndjson"
        self._session = Session(str(directory / "chdb"))
        settings = {
            "max_threads": THREADS,
            "max_insert_threads": THREADS,
            "max_memory_usage": MEMORY_BYTES,
            # Answers and filters' matches of earlier runs: the others run without such caches too.
            "use_query_cache": 0,
            "use_query_condition_cache": 0,
            # A text that looks like a time is a text to the others.
            "input_format_try_infer_dates": 0,
            "input_format_try_infer_datetimes": 0,
        }
        for setting, value in settings.items():
            self._session.query(f"SET {setting} = {value}")

    def create(self, stream: str, time_path: str = "timestamp") -> None:
        """Make the table of a stream; only logs have services and messages."""
        columns, key, skipped = "", "timestamp", f"SKIP `{time_path}`"
        hints = ", ".join(f"{path} {type_}" for path, type_ in HINTS.items())
        if stream == "logs":
            columns, key = "service LowCardinality(String), message String, ", "(service, timestamp)"
            skipped += ", SKIP service, SKIP message"
        self._session.query(
            f"CREATE TABLE {stream} (timestamp DateTime64(6, 'UTC'), {columns}a JSON({hints}, {skipped})) "
            f"ENGINE = MergeTree ORDER BY {key}"
        )

    def insert(self, stream: str, table: pa.Table) -> None:
        """Insert events in core.batch's layout, as JSON lines."""
        self._lines.write_bytes(to_ndjson(table))
        self.insert_file(stream, self._lines)

    def insert_file(self, stream: str, path: Path, time_path: str = "timestamp") -> None:
        """Insert the events of a file of JSON lines."""
        columns = ", json.service::String, json.message::String" if stream == "logs" else ""
        moment = f"parseDateTime64BestEffort(json.`{time_path}`::String, 6, 'UTC')"
        self._session.query(f"INSERT INTO {stream} SELECT {moment}{columns}, json FROM file('{path}', JSONAsObject)")

    def settle(self, streams: list[str]) -> None:
        """Merge all parts, so that no merge runs beside the measurements."""
        self._lines.unlink(missing_ok=True)
        for stream in streams:
            self._session.query(f"OPTIMIZE TABLE {stream} FINAL")
        self._session.query("SYSTEM STOP MERGES")
        time.sleep(1)

    def run(self, query: Query) -> pa.Table:
        answer = self._session.query(query.text(self.name), "Arrow")
        table = pa.ipc.open_file(pa.BufferReader(answer.bytes())).read_all()
        index = table.schema.get_field_index("t")
        if index >= 0 and table.schema.field(index).type == pa.uint32():  # how ClickHouse writes a time of seconds
            seconds = table.column(index).cast(pa.int64()).cast(pa.timestamp("s", "UTC"))
            table = table.set_column(index, "t", seconds)
        return table

    def close(self) -> None:
        self._session.close()


def clickhouse(directory: Path) -> ClickHouse | None:
    """Embedded ClickHouse, or None where it is not installed."""
    try:
        return ClickHouse(directory)
    except ImportError:
        return None


Contender = Any  # Malamute | DuckDB | ClickHouse: name, run(query) and close()
