"""Owns what Malamute asks of an object store: create-if-absent, read, list, delete. Never overwrites an object.

Create-if-absent is the write on which all rests: it is the compare-and-swap under manifests and the catalog, on a local
directory (local_objects.py) and on S3, GCS and Azure (remote_objects.py) alike. open_objects.py picks one by URL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from core.errors import InvalidRequest, MalamuteError, NotFound

# Files that are being written; no key component may begin so.
TEMPORARY_PREFIX: Final = ".tmp-"
KEY_BYTES_MAX: Final = 1_000  # S3 allows 1,024

Data = Any  # bytes, bytearray, memoryview or pyarrow.Buffer, or a list of these that is stored as one, without a copy


class AlreadyExists(MalamuteError):
    """Another writer created the object first; nothing was written. Stays inside storage/."""

    def __init__(self, message: str, *, key: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object in a listing; `modified_us` is its creation in microseconds since 1970-01-01 UTC."""

    key: str
    size: int
    modified_us: int


Listing = list[ObjectInfo]
Range = tuple[int, int]  # where it begins, and how many bytes it has


class ObjectStore(Protocol):
    """Immutable objects by key. Raises NotFound, Unavailable, InvalidSettings (credentials) beside what is named."""

    def put_new(self, key: str, data: Data) -> None:
        """Create `key` durably with `data`.

        Raises AlreadyExists when the key is there and was not written by this very call, UnknownOutcome when the
        object may or may not be there now; after any other error it is not.
        """
        ...

    def put_in_parts(self, key: str, data: Data) -> None:
        """As put_new(), for a large object whose name no other writer ever uses: where it can be, in parts at once.

        Servers that create one object if absent do not all complete an upload in parts if absent: of two writers both
        may succeed, and one would overwrite the other.
        """
        ...

    def get(self, key: str) -> bytes: ...

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Up to `length` bytes from `start`; fewer only at the end of the object."""
        ...

    def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[bytes]:
        """The bytes of each range, all of which the object has; one request for each."""
        ...

    def list(self, prefix: str, after: str | None = None) -> Listing:
        """The objects below `prefix` ("" or a path ending in "/"), sorted by key; only keys > `after` when given."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; fine when some are not there."""
        ...

    def remove_unfinished(self, prefix: str) -> None:
        """Remove what creates that were cut off left below `prefix`; only for its sole writer."""
        ...

    def local_path(self, key: str) -> str | None:
        """The path of the object on a local disk, or None where objects are not files."""
        ...


def check_key(key: str) -> str:
    """Return `key` when it is safe on every store, else raise InvalidRequest."""
    parts = key.split("/")
    legal = all(part and part not in (".", "..") and not part.startswith(TEMPORARY_PREFIX) for part in parts)
    if legal and key.isprintable() and "\\" not in key and len(key.encode()) <= KEY_BYTES_MAX:
        return key
    raise InvalidRequest(f"object key {key!r} is not allowed: use parts of printable characters joined by '/'")


def check_prefix(prefix: str) -> str:
    """Return `prefix` when it is "" or a legal key followed by "/", else raise InvalidRequest."""
    if prefix and not (prefix.endswith("/") and check_key(prefix[:-1])):
        raise InvalidRequest(f"prefix {prefix!r} is not allowed: end it with '/'")
    return prefix


def is_there(objects: ObjectStore, key: str) -> bool:
    """Whether there is such an object; it is read, so of small ones only."""
    try:
        objects.get(key)
    except NotFound:
        return False
    return True


def view(data: Data) -> memoryview:
    """`data`, when it is one piece, as bytes without a copy."""
    (piece,) = views(data)
    return piece


def views(data: Data) -> list[memoryview]:
    """`data` as pieces of bytes, without a copy."""
    parts = data if isinstance(data, list) else [data]
    return [memoryview(part).cast("B") for part in parts]


def joined(data: Data) -> bytes:
    """All of `data` as one piece, a copy unless it is `bytes`."""
    return data if isinstance(data, bytes) else b"".join(views(data))
