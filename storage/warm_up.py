"""Owns loading or compiling the kernels of storage before they are needed: `python -m storage.warm_up`.

Cold, compiling takes some seconds, once per version and CPU type; from the cache it is loaded in a fraction of one.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from core.columns import INT, STR, ColumnKey, field_of
from core.event_ids import event_ids
from storage.dedup_index import IdIndex, SortedIds, order_of
from storage.row_hash import RowHashes
from storage.segment_index_writer import build_index
from storage.string_zone_maps import string_zone_map


def warm_up() -> None:
    """Load or compile every kernel that a shard needs: for the indexes of a flush, and for ids of events."""
    _warm_indexes()
    _warm_ids()
    _warm_merges()


def _warm_indexes() -> None:
    """Texts, dictionaries, and both in several row groups."""
    field = field_of("text", ColumnKey("text", STR))
    texts = pa.array(["a word", None, "another"], pa.string())
    for column in (texts, texts.dictionary_encode()):
        build_index(pa.table([column], pa.schema([field.with_type(column.type)])), row_group_rows=2)
    string_zone_map(texts)


def _warm_ids() -> None:
    """Texts and numbers; two batches, so that they are merged."""
    index = IdIndex()
    for values, kind in ((pa.array(["an id"]), STR), (pa.array([1]), INT)):
        batch = pa.RecordBatch.from_arrays([values], schema=pa.schema([field_of("id", ColumnKey("id", kind))]))
        ids = event_ids(batch, "id")
        order = order_of(ids.high, ids.low)
        index.known(ids.high[order], ids.low[order])
        index.add(SortedIds(ids.high[order], ids.low[order], np.zeros(1, np.uint16)))


def _warm_merges() -> None:
    """Values of fixed width, texts, dictionaries and lists, with nulls and without."""
    for values in (pa.array([1, None]), pa.array([1]), pa.array(["a", None]), pa.array([["a"], None])):
        hashes = RowHashes(len(values))
        hashes.add(pa.field("column", values.type), values)
        if pa.types.is_string(values.type):
            hashes.add(pa.field("column", pa.dictionary(pa.int32(), pa.string())), values.dictionary_encode())
        hashes.total()


if __name__ == "__main__":
    warm_up()
