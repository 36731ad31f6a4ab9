"""Owns loading or compiling the kernels of storage before they are needed: `python -m storage.warm_up`.

Cold, compiling takes some seconds, once per version and CPU type; from the cache it is loaded in a fraction of one.
"""

from __future__ import annotations

import pyarrow as pa

from core.columns import STR, ColumnKey, field_of
from storage.segment_index_writer import build_index


def warm_up() -> None:
    """Load or compile every kernel that a flush needs: texts, dictionaries, and both in several row groups."""
    field = field_of("text", ColumnKey("text", STR))
    texts = pa.array(["a word", None, "another"], pa.string())
    for column in (texts, texts.dictionary_encode()):
        build_index(pa.table([column], pa.schema([field.with_type(column.type)])), row_group_rows=2)


if __name__ == "__main__":
    warm_up()
