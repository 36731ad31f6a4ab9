"""Owns shredding: events as NDJSON, dicts or Arrow tables → one record batch in the layout of core.batch.

Never drops an event silently (each one is in the batch or in `rejected`), never coerces a value because of its type,
never does I/O.
"""

from __future__ import annotations

import pyarrow as pa

from core.errors import InvalidRequest
from core.limits import BATCH_ROWS_MAX
from ingest.arrow_columns import columns_of
from ingest.arrow_time import take_times
from ingest.assemble import assemble
from ingest.compiled.shred_json import shred_json, shred_ndjson
from ingest.compiled.shred_msgpack import shred_dicts, shred_msgpack
from ingest.json_blocks import json_blocks
from ingest.shredded import Rejected, Shredded, ShredSettings, check_bytes, fitting, slices

__all__ = [
    "Rejected",
    "ShredSettings",
    "Shredded",
    "fitting",
    "json_blocks",
    "shred_arrow",
    "shred_dicts",
    "shred_json",
    "shred_msgpack",
    "shred_ndjson",
    "slices",
]


def shred_arrow(table: pa.Table | pa.RecordBatch, settings: ShredSettings, *, ingest_time_us: int) -> Shredded:
    """Shred an Arrow table or batch column by column; columns of the types of core.columns are not copied.

    Trusts the buffers: run `validate(full=True)` on what comes from outside. InvalidRequest when column names repeat,
    a type cannot be stored, a time is beyond int64 microseconds, or the table is beyond the limits of a batch.
    """
    if table.num_rows > BATCH_ROWS_MAX:
        raise InvalidRequest(f"a table of {table.num_rows} rows is not allowed: send at most {BATCH_ROWS_MAX}")
    check_bytes(table.nbytes)
    if table.num_rows == 0:
        return Shredded(None, (), 0, 0)
    columns, times = take_times(columns_of(table), settings.timestamp_paths, table.num_rows)
    batch = assemble(columns, times.array(ingest_time_us), times.inferred(), settings.max_paths)
    return Shredded(batch, (), times.missing, times.unreadable)
