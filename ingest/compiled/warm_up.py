"""Owns loading or compiling all kernels before they are needed: `python -m ingest.compiled.warm_up` at installation.

Cold, compiling takes some 20 seconds, once per version and CPU type; from the cache it is loaded in under a second.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.columns import KINDS
from ingest.compiled.condense import condense
from ingest.compiled.hand import column_for
from ingest.compiled.paths import find_path, grown, new_paths
from ingest.compiled.shred_json import shred_json
from ingest.compiled.shred_msgpack import shred_dicts, shred_msgpack
from ingest.compiled.split import object_end
from ingest.compiled.tape import new_tape
from ingest.compiled.vectors import PADDING
from ingest.shredded import ShredSettings
from ingest.unshred_json import to_ndjson

# Between them they reach every kernel: each kind, nulls, dictionaries, lists, hard lines, hard texts.
_LINES: Final = b"""
{"timestamp":"2024-01-01T00:00:00Z","text":"a","n":1,"f":1.5,"b":true,"list":["x",null],"o":{},"u":18446744073709551615}
{"text":"a","mixed":[{"a":1.50}],"empty":[],"none":null,"big":1e400,"numbers":[1,2,null]}
{"text":"a"}
{"text":"a"}
{}
not json
"""
_EVENTS: Final = [
    {"timestamp": 1.5, "text": "a", "n": 1, "f": 1.5, "b": True, "list": ["x"], "mixed": [1, "x"], "bytes": b"x"},
    {"a.b": 1, "a": {"b": 2}},
]


def warm_up() -> None:
    """Load or compile every kernel of the shredder and of the way back."""
    settings = ShredSettings()
    for layout in (0, 1):
        for max_paths in (0, 100):  # with everything in `_rest`, and with nothing
            batch = shred_json(_LINES, layout, ShredSettings(max_paths=max_paths), ingest_time_us=0).batch
            for nested in (False, True):
                to_ndjson(batch, nested=nested)
    shred_dicts(_EVENTS, settings, ingest_time_us=0)
    shred_msgpack(b"\x81\xa1a\x01\x01", settings, ingest_time_us=0)
    object_end(np.frombuffer(b"{}", np.uint8), 0, 2, np.zeros(3, np.int64), False)
    paths = grown(new_paths(), 0)
    path = find_path(paths, np.frombuffer(b"a" + bytes(PADDING), np.uint8), 1)
    for kind in KINDS:
        column_for(paths, path, kind)
    condense(new_tape(b"", 1), paths, 0)


if __name__ == "__main__":
    warm_up()
