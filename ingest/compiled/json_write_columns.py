"""Owns the way from Arrow arrays to what kernels write rows from: the address of each buffer, the members of `_rest`.

Never copies an array; whoever uses the addresses keeps the arrays alive.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from core.errors import Corrupt
from ingest.compiled.columns import gather_texts
from ingest.compiled.json_write import BLOCK_ROWS
from ingest.compiled.json_write_layout import layout_of
from ingest.compiled.json_write_rest import MEMBER_BYTES_MIN, find_members
from ingest.compiled.json_write_values import COLUMN_BYTES, MEMBER
from ingest.compiled.kinds import K_BIN, K_BOOL, K_DECIMAL, K_JSON, K_LIST, K_STR, KIND_NAMES
from ingest.compiled.vectors import PADDING

_NUMBERS: Final = {name: number for number, name in enumerate(KIND_NAMES)}
_TEXTS: Final = (K_STR, K_DECIMAL, K_JSON, K_BIN)


class Part(NamedTuple):
    """Values of one path: an array of the type of its kind in core.columns."""

    path: str
    kind: str
    array: pa.Array


class _Members(NamedTuple):
    """The members of all `_rest` objects, row by row; see json_write_rest.find_members."""

    paths: list[str]  # each once
    numbers: np.ndarray  # place of its path in `paths`, per member
    values: np.ndarray
    ends: np.ndarray


class Rows(NamedTuple):
    """What ingest.compiled.json_write writes rows from; the arrays that it has addresses of are kept alive here."""

    task: np.ndarray
    held: tuple[Any, ...]


def rows_of(parts: Sequence[Part], rest: pa.Array | None, nested: bool) -> Rows:
    """What to write rows from; of parts with one path the last one that has a value in a row counts, then `rest`.

    Corrupt when something in `rest` is not a JSON object.
    """
    members = _members(rest)
    paths = [part.path for part in parts] + members.paths
    order = sorted(range(len(paths)), key=paths.__getitem__)  # stable: parts of one path stay in order
    slot_of = np.empty(len(paths), np.int64)
    slot_of[order] = np.arange(len(paths))
    layout = layout_of(tuple(paths[index] for index in order), nested)
    spans = np.zeros(len(paths), np.int64)
    entries = [_column(part) for part in parts]
    if rest is not None and members.paths:
        data = _address(rest.buffers()[2])
        for slot in slot_of[len(parts) :].tolist():
            entries.append([K_JSON, 0, 0, data, spans.ctypes.data + 8 * slot, MEMBER, 0, 0])
    columns = np.array(entries, np.int64).reshape(-1, COLUMN_BYTES // 8)[order]
    words = (len(paths) + 63) // 64
    present = np.empty(BLOCK_ROWS * words, np.int64)
    member_slots = slot_of[len(parts) :][members.numbers]
    tables = (layout.slots, layout.nodes.copy(), layout.levels, layout.texts, columns)
    found = (members.ends, member_slots, members.values, spans)
    task = [table.ctypes.data for table in tables]
    task += [len(paths), words, present.ctypes.data]
    task += [array.ctypes.data if members.paths else 0 for array in found]
    return Rows(np.array(task, np.int64), (tables, found, present, parts, rest))


def _column(part: Part) -> list[int]:
    """The fields of a column, see json_write_values."""
    kind = _NUMBERS[part.kind]
    if pa.types.is_dictionary(part.array.type):
        data, texts, _ = _values(part.array.dictionary, kind)
        indices = part.array.indices
        valid, valid_bit = _validity(indices)
        return [kind, valid, valid_bit, data, texts, _address(indices.buffers()[1], 4 * indices.offset), 0, 0]
    valid, valid_bit = _validity(part.array)
    if not K_LIST <= kind < K_LIST + 5:
        return [kind, valid, valid_bit, *_values(part.array, kind), 0, 0]
    items = part.array.values
    data, offsets, _ = _values(items, kind - K_LIST)
    places = _address(part.array.buffers()[1], 4 * part.array.offset)
    return [kind, valid, valid_bit, data, offsets, places, *_validity(items)]


def _values(array: pa.Array, kind: int) -> tuple[int, int, int]:
    """DATA, OFFSETS and PLACES of an array of scalars."""
    buffers = array.buffers()
    if kind == K_BOOL:
        return _address(buffers[1]), array.offset, 0
    if kind in _TEXTS:
        return _address(buffers[2]), _address(buffers[1], 4 * array.offset), 0
    return _address(buffers[1], 8 * array.offset), 0, 0


def _validity(array: pa.Array) -> tuple[int, int]:
    """(address of the validity bitmap, bit of the first element), 0 as address when all elements are valid."""
    return (_address(array.buffers()[0]), array.offset) if array.null_count else (0, 0)


def _address(buffer: Any, offset: int = 0) -> int:
    """Empty arrays may have no buffer."""
    return 0 if buffer is None else int(buffer.address) + offset


def _members(rest: pa.Array | None) -> _Members:
    if rest is None or rest.null_count == len(rest):
        none = np.empty(0, np.int64)
        return _Members([], none, none, none)
    data, offsets, _ = _values(rest, K_STR)
    bounds = np.frombuffer(rest.buffers()[1], np.int32)
    start, end = int(bounds[rest.offset]), int(bounds[rest.offset + len(rest)])
    size = end - start
    keys = np.empty(size // MEMBER_BYTES_MIN + 1, np.int64)
    values = np.empty_like(keys)
    ends = np.empty(len(rest), np.int64)
    bad = find_members(data, offsets, *_validity(rest), keys, values, ends)
    if bad >= 0:
        raise Corrupt(f"_rest of row {bad} is not a json object: write the batch again from its source")
    count = int(ends[-1])
    if count == 0:
        return _Members([], keys[:0], values[:0], ends)
    padded = np.zeros(size + PADDING, np.uint8)
    padded[:size] = np.frombuffer(rest.buffers()[2], np.uint8)[start:end]
    places, texts = gather_texts(padded, np.arange(count, dtype=np.int32), keys[:count] - (start << 32), count)
    array = pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(places), pa.py_buffer(texts)], 0)
    encoded = array.dictionary_encode()
    names = [_path(key) for key in encoded.dictionary.to_pylist()]
    # Two spellings of one path are one: {"a": …} and {"\u0061": …}.
    numbers = {path: number for number, path in enumerate(dict.fromkeys(names))}
    of_name = np.array([numbers[name] for name in names], np.int64)
    return _Members(list(numbers), of_name[encoded.indices.to_numpy()], values[:count], ends)


def _path(key: bytes) -> str:
    try:
        path: str = json.loads(b'"' + key + b'"')
        path.encode()
    except ValueError as error:
        raise Corrupt("a key of _rest is not a json string: write the batch again from its source") from error
    return path
