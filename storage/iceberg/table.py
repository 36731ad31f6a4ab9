"""Owns where an Iceberg table lies: its metadata as objects below one location. Its truth is the highest version.

Iceberg's layout for tables without a catalog: `metadata/v<n>.metadata.json`, created if absent, which is the commit;
`metadata/version-hint.text` names the newest for readers that do not list.
"""

from __future__ import annotations

import io
import re
from contextlib import suppress
from typing import Final

from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.exceptions import CommitFailedException, ValidationError
from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile, OutputStream
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata, TableMetadataUtil, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.table.update import TableRequirement, TableUpdate, update_table_metadata

from core.errors import Corrupt
from storage.objects import AlreadyExists, ObjectStore, is_there

_PREFIX: Final = "metadata/"
_HINT: Final = f"{_PREFIX}version-hint.text"
_VERSION: Final = re.compile(r"metadata/v([1-9]\d*)\.metadata\.json\Z")


class ObjectCatalog(NoopCatalog):
    """A catalog of one table: the one whose metadata lie in `objects`, the object store at `location` (a URL)."""

    def __init__(self, objects: ObjectStore, location: str) -> None:
        super().__init__("malamute")
        self._objects = objects
        self._location = location

    def load(self) -> Table | None:
        """The table at its newest version, or None. Raises Corrupt when something else lies there."""
        found = [match for info in self._objects.list(_PREFIX) if (match := _VERSION.match(info.key))]
        if not found:
            return None
        newest = max(found, key=lambda match: int(match[1]))
        try:
            metadata = TableMetadataUtil.parse_raw(self._objects.get(newest[0]).decode())
        except (ValidationError, ValueError) as error:
            raise Corrupt(f"{self._location}/{newest[0]} is no iceberg metadata: export to another location") from error
        return self._table(metadata, int(newest[1]))

    def create(self, properties: dict[str, str]) -> Table:
        """A new table without columns. Raises CommitFailedException when somebody else created one."""
        made = new_table_metadata(
            Schema(), UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, self._location, properties
        )
        return self._publish(made, 1)

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        for requirement in requirements:
            requirement.validate(table.metadata)
        updated = update_table_metadata(table.metadata, updates, metadata_location=table.metadata_location)
        version = _VERSION.search(table.metadata_location)
        assert version is not None
        done = self._publish(updated, int(version[1]) + 1)
        answer = {"metadata": done.metadata, "metadata-location": done.metadata_location}
        return CommitTableResponse.model_validate(answer)

    def _publish(self, metadata: TableMetadata, version: int) -> Table:
        made = self._table(metadata, version)
        try:
            self._objects.put_new(_key(version), metadata.model_dump_json(by_alias=True, exclude_none=True).encode())
        except AlreadyExists as error:
            raise CommitFailedException(f"version {version} of {self._location} was written by another") from error
        # Readers find newer versions from an old hint on; only in this moment is there none.
        self._objects.delete([_HINT])
        with suppress(AlreadyExists):
            self._objects.put_new(_HINT, str(version).encode())
        return made

    def _table(self, metadata: TableMetadata, version: int) -> Table:
        files = ObjectFiles(self._objects, self._location)
        return Table(("export",), metadata, f"{self._location}/{_key(version)}", files, self)


def _key(version: int) -> str:
    return f"{_PREFIX}v{version}.metadata.json"


class ObjectFiles(FileIO):
    """The objects below `location` as PyIceberg's files."""

    def __init__(self, objects: ObjectStore, location: str) -> None:
        super().__init__()
        self._objects = objects
        self._location = location

    def new_input(self, location: str) -> InputFile:
        return _In(location, self._objects, self._key(location))

    def new_output(self, location: str) -> OutputFile:
        return _Out(location, self._objects, self._key(location))

    def delete(self, location: str | InputFile | OutputFile) -> None:
        name = location if isinstance(location, str) else location.location
        self._objects.delete([self._key(name)])

    def _key(self, location: str) -> str:
        prefix = f"{self._location}/"
        if not location.startswith(prefix):
            raise Corrupt(
                f"{location} does not lie below {self._location}: the table was moved, export to another place"
            )
        return location[len(prefix) :]


class _In(InputFile):
    def __init__(self, location: str, objects: ObjectStore, key: str) -> None:
        super().__init__(location)
        self._objects = objects
        self._key = key

    def __len__(self) -> int:
        return len(self._objects.get(self._key))

    def exists(self) -> bool:
        return is_there(self._objects, self._key)

    def open(self, seekable: bool = True) -> InputStream:
        return io.BytesIO(self._objects.get(self._key))


class _Out(OutputFile):
    """A new object; nothing of it is there before it is closed."""

    def __init__(self, location: str, objects: ObjectStore, key: str) -> None:
        super().__init__(location)
        self._objects = objects
        self._key = key

    def __len__(self) -> int:
        return len(self.to_input_file())

    def exists(self) -> bool:
        return self.to_input_file().exists()

    def to_input_file(self) -> InputFile:
        return _In(self.location, self._objects, self._key)

    def create(self, overwrite: bool = False) -> OutputStream:
        return _Upload(self._objects, self._key)


class _Upload(io.BytesIO):
    def __init__(self, objects: ObjectStore, key: str) -> None:
        super().__init__()
        self._objects = objects
        self._key = key

    def close(self) -> None:
        if not self.closed:
            content = self.getvalue()
            super().close()
            self._objects.put_new(self._key, content)
