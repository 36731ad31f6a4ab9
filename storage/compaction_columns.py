"""Owns which columns a merge has and of what type, and how the columns of several inputs become one. Never sorts.

The columns are those of all inputs. The rarest paths beyond `max_paths` go to `_rest`, as a flush would have it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from core.batch import INGESTED_AT, OFFSET, REST, SYSTEM_COLUMNS, SYSTEM_FIELDS, TIMESTAMP, TIMESTAMP_INFERRED
from core.columns import ColumnKey, allocate_names, arrow_type, field_of, key_of
from storage.columns_merge import DECODED_BYTES_MAX, decoded_bytes, most_frequent
from storage.compaction_inputs import MergeInput
from storage.stream_settings import StreamSettings

_FIXED = (TIMESTAMP, TIMESTAMP_INFERRED, INGESTED_AT, OFFSET)


@dataclass(frozen=True, slots=True)
class MergeColumns:
    """`fields` of the merged rows in their order, `overflow` that goes to `_rest`, `values` of each column there is."""

    fields: tuple[pa.Field, ...]
    overflow: tuple[ColumnKey, ...]
    values: Mapping[ColumnKey, int]

    @property
    def moved(self) -> int:
        """How many values go to `_rest`."""
        return sum(self.values[key] for key in self.overflow)


def merge_columns(inputs: Sequence[MergeInput], settings: StreamSettings) -> MergeColumns:
    """What the merge of `inputs` has for columns."""
    values: dict[ColumnKey, int] = defaultdict(int)
    for source in inputs:
        for column in source.segment.columns:
            values[column.key] += column.values
    values = {key: count for key, count in values.items() if count}
    kept = most_frequent(values, settings.max_paths, frozenset(settings.sort_key))
    names = allocate_names(kept.items(), SYSTEM_COLUMNS)
    fields = [SYSTEM_FIELDS[name] for name in _FIXED]
    overflow = tuple(sorted(key for key in values if key not in kept))
    if overflow or any(source.segment.has_rest for source in inputs):
        fields.append(SYSTEM_FIELDS[REST])
    fields += [field_of(names[key], key, _type_of(key, inputs)) for key in sorted(kept)]
    return MergeColumns(tuple(fields), overflow, values)


def _type_of(key: ColumnKey, inputs: Sequence[MergeInput]) -> pa.DataType:
    """dictionary<int32, string> when most values are stored so, or when plain text would be too large."""
    present = [source for source in inputs if key in source.names]
    types = [source.schema.field(source.names[key]).type for source in present]
    encoded = [source for source, type_ in zip(present, types, strict=True) if pa.types.is_dictionary(type_)]
    plain = arrow_type(key.kind)
    if not encoded:
        return plain
    if 2 * sum(source.rows for source in encoded) >= sum(source.rows for source in present):
        return pa.dictionary(pa.int32(), plain)
    decoded = 0
    for source in encoded:
        (pieces,) = source.read([source.names[key]], 0, source.rows, DECODED_BYTES_MAX)
        decoded += sum(map(decoded_bytes, pieces))
    return plain if decoded <= DECODED_BYTES_MAX else pa.dictionary(pa.int32(), plain)


def name_in(source: MergeInput, field: pa.Field) -> str | None:
    """What an input calls the column of a field of the merge, None when it does not have it."""
    key = key_of(field)
    if key is not None:
        return source.names.get(key)
    return field.name if field.name in source.schema.names else None
