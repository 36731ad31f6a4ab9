"""Owns the batch: the Arrow record batch in which ingest hands events to storage, and its bytes on the wire.

Layout of a batch, in this order:
  timestamp            timestamp[us, UTC]   never null; sort and window time
  _timestamp_inferred  bool                 never null; true where ingest time stands in for a missing event time
  _rest                string               optional; JSON object {path: value} of paths beyond `max_paths`
  attribute columns    core.columns         nullable; names from allocate_names over this batch
The shard adds `_ingested_at` (timestamp[us, UTC]) and `_offset` (int64) when it accepts the batch.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from core.columns import TIMESTAMP_TYPE, arrow_type, key_of
from core.errors import Corrupt, InvalidRequest
from core.limits import BATCH_BYTES_MAX, BATCH_ROWS_MAX

TIMESTAMP: Final = "timestamp"
TIMESTAMP_INFERRED: Final = "_timestamp_inferred"
REST: Final = "_rest"
INGESTED_AT: Final = "_ingested_at"
OFFSET: Final = "_offset"
SHARD: Final = "_shard"  # not stored: the scan knows it

SYSTEM_COLUMNS: Final = (TIMESTAMP, TIMESTAMP_INFERRED, REST, INGESTED_AT, OFFSET, SHARD)
HIDDEN_COLUMNS: Final = SYSTEM_COLUMNS[1:]  # not part of SELECT *

SYSTEM_FIELDS: Final = {
    TIMESTAMP: pa.field(TIMESTAMP, TIMESTAMP_TYPE, nullable=False),
    TIMESTAMP_INFERRED: pa.field(TIMESTAMP_INFERRED, pa.bool_(), nullable=False),
    REST: pa.field(REST, pa.string()),
    INGESTED_AT: pa.field(INGESTED_AT, TIMESTAMP_TYPE, nullable=False),
    OFFSET: pa.field(OFFSET, pa.int64(), nullable=False),
}

_WRITE_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


def check_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return `batch` when it has the layout above and keeps to the limits, else raise InvalidRequest."""
    if not 0 < batch.num_rows <= BATCH_ROWS_MAX:
        raise InvalidRequest(f"a batch of {batch.num_rows} rows is not allowed: send 1 to {BATCH_ROWS_MAX}")
    if batch.nbytes > BATCH_BYTES_MAX:
        raise InvalidRequest(f"a batch of {batch.nbytes} bytes is not allowed: send at most {BATCH_BYTES_MAX}")
    for name in (TIMESTAMP, TIMESTAMP_INFERRED):
        index = batch.schema.get_field_index(name)
        if index < 0 or batch.schema.field(index).type != SYSTEM_FIELDS[name].type or batch.column(index).null_count:
            raise InvalidRequest(f"a batch needs the column {name!r} of type {SYSTEM_FIELDS[name].type} without nulls")
    keys = set()
    for field in batch.schema:
        key = key_of(field)
        if key is None:
            if field.name not in (TIMESTAMP, TIMESTAMP_INFERRED, REST):
                raise InvalidRequest(f"column {field.name!r} has no path and kind in its metadata")
            continue
        if _value_type(field.type) != arrow_type(key.kind):
            raise InvalidRequest(f"column {field.name!r} of kind {key.kind!r} has the arrow type {field.type}")
        if key in keys:
            raise InvalidRequest(f"a batch holds path {key.path!r} of kind {key.kind!r} twice")
        keys.add(key)
    return batch


def _value_type(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def encode_batch(batch: pa.RecordBatch) -> pa.Buffer:
    """The batch as one Arrow IPC stream with lz4-compressed buffers: the body on the wire and in the WAL."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_WRITE_OPTIONS) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def decode_batch(body: pa.Buffer | bytes | memoryview) -> pa.RecordBatch:
    """The batch of encode_batch; raises Corrupt when the bytes are not exactly one valid batch."""
    try:
        with pa.ipc.open_stream(body) as reader:
            batch = reader.read_next_batch()
            try:
                reader.read_next_batch()
            except StopIteration:
                batch.validate()
                return batch
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, StopIteration) as error:
        raise Corrupt(f"batch body of {len(body)} bytes is not an arrow stream: {error}") from error
    raise Corrupt(f"batch body of {len(body)} bytes holds more than one batch")
