"""Owns the JSON form of generated events: what a log shipper would send. Never escapes: no generated text needs it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def ndjson(batch: pa.RecordBatch) -> bytes:
    """The events of generate.LogGenerator's layout as JSON lines; dotted paths as nested objects, nulls left out."""
    text = {name: _text(batch.column(name)) for name in batch.schema.names if not name.startswith("_")}
    request = _joined(
        '"http":{"method":"', text["http.method"],
        '","path":"', text["http.path"],
        '","status_code":', text["http.status_code"],
        '},"duration_ms":', text["duration_ms"],
        ',"trace_id":"', text["trace_id"],
        '","usr":{"id":', text["usr.id"],
        '},"bytes":', text["bytes"],
        ",",
    )  # fmt: skip
    lines = _joined(
        '{"timestamp":"', pc.utf8_replace_slice(text["timestamp"], start=10, stop=11, replacement="T"),
        '","service":"', text["service"],
        '","host":"', text["host"],
        '","env":"', text["env"],
        '","status":"', text["status"],
        '",', pc.fill_null(request, ""),
        '"region":"', text["region"],
        '","version":"', text["version"],
        '","load":{"producer":', text["load.producer"],
        ',"sequence":', text["load.sequence"],
        '},"message":"', text["message"],
        '"}\n',
    )  # fmt: skip
    everything = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines), "")
    contents: bytes = everything[0].as_buffer().to_pybytes()
    return contents


def _text(column: pa.Array) -> pa.Array:
    if column.type == pa.string():
        return column
    text = pc.cast(column, pa.string())
    if pa.types.is_floating(column.type):
        # Arrow writes whole numbers without a point; in JSON they would come back as integers.
        whole = pc.match_substring_regex(text, r"^-?\d+$")
        text = pc.if_else(whole, pc.binary_join_element_wise(text, ".0", ""), text)
    return text


def _joined(*pieces: pa.Array | str) -> pa.Array:
    """The pieces of each row one after another; null where any of them is null."""
    return pc.binary_join_element_wise(*pieces, "", null_handling="emit_null")
