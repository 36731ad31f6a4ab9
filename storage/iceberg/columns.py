"""Owns how the columns of segments become Iceberg's: types, the name mapping, and what is known of each file.

Segments carry no field ids: Iceberg finds their columns by name, and a name means one field of one type in all files.
A column whose name has another type in another segment, or a type that Iceberg lacks, is therefore left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table.name_mapping import MappedField, NameMapping, create_mapping_from_schema
from pyiceberg.typedef import Record
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DoubleType,
    IcebergType,
    ListType,
    LongType,
    PrimitiveType,
    StringType,
    TimestamptzType,
)

from core.batch import INGESTED_AT, OFFSET, REST, TIMESTAMP, TIMESTAMP_INFERRED
from core.columns import BIN, BOOL, DECIMAL, FLOAT, INT, JSON, STR, TIME
from storage.snapshot import Segment

# Iceberg has no unsigned integers: UINT is missing.
_TYPES: Final[dict[str, PrimitiveType]] = {
    BOOL: BooleanType(),
    INT: LongType(),
    DECIMAL: StringType(),
    FLOAT: DoubleType(),
    STR: StringType(),
    JSON: StringType(),
    TIME: TimestamptzType(),
    BIN: BinaryType(),
}
_SYSTEM: Final[dict[str, IcebergType]] = {
    TIMESTAMP: TimestamptzType(),
    TIMESTAMP_INFERRED: BooleanType(),
    INGESTED_AT: TimestamptzType(),
    OFFSET: LongType(),
    REST: StringType(),
}
_ELEMENT: Final = "element"
_NEW_ID: Final = 0  # of a list's elements, until the schema gives one
# Names that are left out are mapped too, or PyIceberg refuses the file. No schema has these ids.
_LEFT_OUT_IDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of some segments by their names in the files: those that Iceberg can show, and the others."""

    types: dict[str, IcebergType]
    left_out: tuple[str, ...]


def columns_of(segments: Iterable[Segment]) -> Columns:
    """The union of the columns of `segments`, system columns first, then by name."""
    found: dict[str, set[IcebergType | None]] = {}
    for segment in segments:
        for column in segment.columns:
            found.setdefault(column.name, set()).add(_type_of(column.key.kind))
    lists = {name for name, types in found.items() if any(isinstance(type_, ListType) for type_ in types)}
    types: dict[str, IcebergType] = dict(_SYSTEM)
    left_out = []
    for name, candidates in sorted(found.items()):
        type_ = next(iter(candidates))
        # Iceberg itself calls the elements of a list "tags" so: the name would be there twice.
        is_element = name.removesuffix(f".{_ELEMENT}") in lists and name not in lists
        if len(candidates) > 1 or type_ is None or is_element:
            left_out.append(name)
        else:
            types[name] = type_
    return Columns(types, tuple(left_out))


def _type_of(kind: str) -> IcebergType | None:
    if kind.endswith("[]"):
        element = _TYPES.get(kind[:-2])
        return element and ListType(_NEW_ID, element, element_required=False)
    return _TYPES.get(kind)


def list_of_element(name: str) -> str | None:
    """The list whose elements Iceberg calls `name`, as it calls those of `tags` "tags.element"."""
    suffix = f".{_ELEMENT}"
    return name.removesuffix(suffix) if name.endswith(suffix) else None


def same_type(one: IcebergType, other: IcebergType) -> bool:
    """Whether two types are equal but for the ids in them."""
    if isinstance(one, ListType) and isinstance(other, ListType):
        return one.element_type == other.element_type
    return one == other


def name_mapping(schema: Schema, left_out: Sequence[str]) -> NameMapping:
    """The mapping by which Iceberg finds the columns of `schema` in the files."""
    shown = create_mapping_from_schema(schema).root
    hidden = [
        MappedField.model_validate(
            # As if each were a list: some are.
            {"field-id": id_, "names": [name], "fields": [{"field-id": id_ + 1, "names": [_ELEMENT]}]}
        )
        for id_, name in zip(range(_LEFT_OUT_IDS, _LEFT_OUT_IDS + 2 * len(left_out), 2), left_out, strict=True)
    ]
    return NameMapping([*shown, *hidden])


def data_file(segment: Segment, location: str, schema: Schema) -> DataFile:
    """What Iceberg is told of the file of `segment`, from the manifest's statistics alone."""
    nulls: dict[int, int] = {}
    lower: dict[int, bytes] = {}
    upper: dict[int, bytes] = {}
    stats: list[tuple[str, int, Any, Any]] = [
        (TIMESTAMP, segment.rows, segment.timestamp_min_us, segment.timestamp_max_us),
        (OFFSET, segment.rows, segment.first_offset, segment.last_offset),
        *((column.name, column.values, column.minimum, column.maximum) for column in segment.columns),
    ]
    ids = {field.name: field.field_id for field in schema.fields}
    for name, values, minimum, maximum in stats:
        if name not in ids:
            continue
        type_ = schema.find_type(ids[name])
        if not isinstance(type_, PrimitiveType):
            continue
        nulls[ids[name]] = segment.rows - values
        if minimum is not None:
            lower[ids[name]] = to_bytes(type_, minimum)
        if maximum is not None:
            upper[ids[name]] = to_bytes(type_, maximum)
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=segment.rows,
        file_size_in_bytes=segment.bytes,
        value_counts=dict.fromkeys(nulls, segment.rows),
        null_value_counts=nulls,
        lower_bounds=lower,
        upper_bounds=upper,
    )
