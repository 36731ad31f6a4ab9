"""Owns the export of a stream to Iceberg: metadata that name the very files the store has. Copies no data.

An export makes the table show exactly the given segments: one more snapshot, unless it shows them already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table, Transaction

from core.errors import InvalidRequest, Unavailable
from storage.iceberg.columns import Columns, columns_of, data_file, list_of_element, name_mapping, same_type
from storage.iceberg.exported import Exported
from storage.iceberg.table import ObjectCatalog
from storage.objects import ObjectStore
from storage.snapshot import Segment

_NAME_MAPPING: Final = "schema.name-mapping.default"
_SOURCE: Final = "malamute.stream"
_ATTEMPTS: Final = 5  # against exports of the same stream at the same time
_FIXED: Final = {"format-version": "2", "commit.retry.num-retries": "0"}


def export(
    segments: Sequence[Segment], url_of: Callable[[Segment], str], objects: ObjectStore, location: str, source: str
) -> Exported:
    """Make the Iceberg table in `objects`, the store at the URL `location`, show `segments`.

    `url_of` gives the URL of a segment's file, `source` names the stream: a table of anything else is left alone.
    Raises InvalidRequest then, Corrupt (metadata that cannot be read), InvalidSettings, Unavailable.
    """
    catalog = ObjectCatalog(objects, location)
    for _ in range(_ATTEMPTS):
        try:
            table = catalog.load() or catalog.create({**_FIXED, _SOURCE: source})
            if table.properties.get(_SOURCE) != source:
                raise InvalidRequest(f"{location} is an iceberg table of something else: export to another place")
            return _export(table, {url_of(segment): segment for segment in segments})
        except CommitFailedException:
            continue
    raise Unavailable(f"other exports to {location} came first {_ATTEMPTS} times: try again")


def _export(table: Table, wanted: dict[str, Segment]) -> Exported:
    columns = columns_of(wanted.values())
    shown = {task.file.file_path: task.file for task in table.scan().plan_files()}
    added = sorted(wanted.keys() - shown.keys())
    removed = sorted(shown.keys() - wanted.keys())
    if added or removed:
        with table.transaction() as transaction:
            _evolve(transaction, columns)
            schema = transaction.table_metadata.schema()
            with transaction.update_snapshot().overwrite() as snapshot:
                for url in added:
                    snapshot.append_data_file(data_file(wanted[url], url, schema))
                for url in removed:
                    snapshot.delete_data_file(shown[url])
    newest = table.current_snapshot()
    return Exported(
        metadata=table.metadata_location,
        snapshot_id=newest.snapshot_id if newest is not None else None,
        rows=sum(segment.rows for segment in wanted.values()),
        files=len(wanted),
        files_added=len(added),
        files_removed=len(removed),
        left_out=columns.left_out,
    )


def _evolve(transaction: Transaction, columns: Columns) -> None:
    """Give the table the columns, and the mapping that finds them; what no file has any more stays, as NULL."""
    present = {field.name: field.field_type for field in transaction.table_metadata.schema().fields}
    kept = {name for name in present if name in columns.types and same_type(present[name], columns.types[name])}
    hindering = {*columns.left_out, *columns.types, *map(list_of_element, columns.types)} - kept
    with transaction.update_schema(allow_incompatible_changes=True) as update:
        for name in sorted(present.keys() & hindering):
            update.delete_column((name,))
    with transaction.update_schema(allow_incompatible_changes=True) as update:
        for name, type_ in columns.types.items():
            if name not in kept:
                update.add_column((name,), type_)
    mapping = name_mapping(transaction.table_metadata.schema(), columns.left_out)
    transaction.set_properties({_NAME_MAPPING: mapping.model_dump_json()})
