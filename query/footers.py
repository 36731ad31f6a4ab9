"""Owns what workers remember of the segments' Parquet footers: how many compressed bytes each row group's columns take.

Only for the account of what a query reads; what it reads is decided elsewhere.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq

from core.errors import Unavailable

# Remembered, of all footers together; a column takes about 0.3 kB. A segment has tens of them, or a thousand.
_COLUMNS_MAX: Final = 200_000


@dataclass(frozen=True, slots=True)
class Footer:
    """Rows of each row group, and the compressed bytes of its columns by their name in the file."""

    rows: tuple[int, ...]
    column_bytes: dict[str, Any]

    def bytes_of(self, names: set[str], groups: Any = slice(None)) -> int:
        """Compressed bytes of the columns `names` in the chosen row groups (a numpy index, all by default)."""
        return sum(int(self.column_bytes[name][groups].sum()) for name in names & self.column_bytes.keys())


class Footers:
    """Footers by segment name, least recently used first out. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Footer] = OrderedDict()
        self._columns = 0

    def get(self, name: str, path: str) -> Footer:
        """The footer of the segment `name`, whose verified file is at `path`."""
        with self._lock:
            found = self._known.get(name)
            if found is not None:
                self._known.move_to_end(name)
                return found
        footer = read_footer(path)
        with self._lock:
            if name not in self._known:
                self._known[name] = footer
                self._columns += len(footer.column_bytes)
            while self._columns > _COLUMNS_MAX and len(self._known) > 1:
                _, oldest = self._known.popitem(last=False)
                self._columns -= len(oldest.column_bytes)
        return footer


def read_footer(path: str) -> Footer:
    """The footer of the Parquet file at `path`. Raises Unavailable."""
    try:
        metadata = pq.read_metadata(path)
    except OSError as error:
        raise Unavailable(f"the footer of {path} cannot be read: {error}: retry") from error
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    # Every column of a segment is a plain value or a list of plain values: one leaf each, in the schema's order.
    names = metadata.schema.to_arrow_schema().names
    sizes = {
        name: np.array([group.column(index).total_compressed_size for group in groups], np.int64)
        for index, name in enumerate(names)
    }
    return Footer(tuple(group.num_rows for group in groups), sizes)
