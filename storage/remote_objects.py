"""Owns objects on S3, GCS, Azure or in memory through obstore: retries, ambiguity, error kinds. Never overwrites.

obstore's own retries are off (open_objects.py), so that this module knows of every attempt. A create whose answer was
lost may have happened; when a later attempt then finds the object there, its content decides whether it was ours.

An upload in parts creates nothing if absent, see put_in_parts. Reads are hedged where the traffic says so.
"""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import obstore
from obstore import exceptions

from core.clock import Clock
from core.errors import InvalidSettings, MalamuteError, NotFound, Unavailable, UnknownOutcome
from core.limits import UPLOAD_PART_BYTES, UPLOAD_PARTS_AT_ONCE
from storage.object_requests import (
    BYTES_READ,
    BYTES_WRITTEN,
    DELETE,
    DELETE_KEYS_MAX,
    GET,
    HEAD,
    LIST,
    LIST_PAGE_KEYS,
    PUT,
    RETRIES,
)
from storage.object_traffic import Traffic, plain_traffic
from storage.objects import AlreadyExists, Data, Listing, ObjectInfo, Range, check_key, check_prefix, joined

_ERROR_CHARACTERS_MAX: Final = 300
# Query strings may hold signatures.
_QUERY_STRING: Final = re.compile(r"\?[^\s\")]+")

_NOT_FOUND: Final = (exceptions.NotFoundError, FileNotFoundError)
_CREDENTIALS: Final = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
_SETTINGS: Final = (
    exceptions.InvalidPathError,
    exceptions.NotSupportedError,
    exceptions.UnknownConfigurationKeyError,
)

# A listing reports a bucket that is not there as a general error.
_NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """How long one operation is tried: attempts in all, seconds in all, and the pauses between (full jitter)."""

    attempts_max: int = 8
    seconds_max: float = 60.0
    pause_s_min: float = 0.05
    pause_s_max: float = 5.0


class RemoteObjectStore:
    """Objects of one obstore store. Thread-safe."""

    def __init__(
        self,
        store: Any,
        clock: Clock,
        *,
        name: str = "object store",
        budget: RetryBudget | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        traffic: Traffic | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._name = name
        self._budget = budget or RetryBudget()
        self._sleep = sleep
        self._jitter = jitter
        self._traffic = traffic or plain_traffic(clock)
        self._count = self._traffic.requests.add

    def __repr__(self) -> str:
        return f"RemoteObjectStore({self._name!r})"

    def put_new(self, key: str, data: Data) -> None:
        check_key(key)
        content = joined(data)
        attempts = 0

        def create() -> None:
            nonlocal attempts
            attempts += 1
            self._count(PUT)
            self._count(BYTES_WRITTEN, len(content))
            try:
                obstore.put(self._store, key, content, mode="create", use_multipart=False)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
                if attempts == 1 or not self._holds(key, content):
                    raise AlreadyExists(f"object {key!r} is there already", key=key) from error

        self._write("create", key, create)

    def put_in_parts(self, key: str, data: Data) -> None:
        check_key(key)
        content = joined(data)
        if self._retry("look for", key, partial(self._is_there, key)):
            raise AlreadyExists(f"object {key!r} is there already", key=key)

        def upload() -> None:
            self._count(PUT, 2 + -(-len(content) // UPLOAD_PART_BYTES))  # its begin, its end and the parts
            self._count(BYTES_WRITTEN, len(content))
            obstore.put(
                self._store,
                key,
                content,
                use_multipart=True,
                chunk_size=UPLOAD_PART_BYTES,
                max_concurrency=UPLOAD_PARTS_AT_ONCE,
            )

        self._write("upload", key, upload)

    def _write(self, action: str, key: str, write: Callable[[], None]) -> None:
        try:
            self._retry(action, key, write)
        except NotFound as error:
            raise InvalidSettings(f"{self._name} is not there: create the bucket or correct the URL") from error
        except Unavailable as error:
            raise UnknownOutcome(f"{error}; it may or may not be there") from error

    def _is_there(self, key: str) -> bool:
        self._count(HEAD)
        try:
            obstore.head(self._store, key)
        except _NOT_FOUND:
            return False
        return True

    def _holds(self, key: str, content: bytes) -> bool:
        try:
            return self._get(key) == content
        except _NOT_FOUND:
            return False  # deleted since, so it is not ours

    def get(self, key: str) -> bytes:
        check_key(key)
        return self._retry("read", key, partial(self._get, key))

    def _get(self, key: str) -> bytes:
        hedged = self._traffic.hedged
        if hedged is None:
            self._count(GET)
            content = bytes(obstore.get(self._store, key).bytes().to_bytes())
        else:
            content = bytes(hedged.read(partial(self._begin_get, key)).bytes().to_bytes())
        self._count(BYTES_READ, len(content))
        return content

    async def _begin_get(self, key: str) -> Any:
        self._count(GET)
        return await obstore.get_async(self._store, key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        check_key(key)
        if length <= 0:
            return b""

        def read() -> bytes:
            self._count(HEAD)
            size = int(obstore.head(self._store, key)["size"])
            wanted = min(length, size - start)
            if wanted <= 0:
                return b""
            self._count(GET)
            self._count(BYTES_READ, wanted)
            return bytes(obstore.get_range(self._store, key, start=start, length=wanted).to_bytes())

        return self._retry("read", key, read)

    def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[bytes]:
        check_key(key)

        def read() -> Sequence[bytes]:
            self._count(GET, len(ranges))
            starts, lengths = [start for start, _ in ranges], [length for _, length in ranges]
            pieces = obstore.get_ranges(self._store, key, starts=starts, lengths=lengths, coalesce=0)
            self._count(BYTES_READ, sum(lengths))
            return [piece.to_bytes() for piece in pieces]

        return self._retry("read", key, read) if ranges else []

    def list(self, prefix: str, after: str | None = None) -> Listing:
        check_prefix(prefix)
        return self._retry("list", prefix, partial(self._list, prefix, after))

    def _list(self, prefix: str, after: str | None) -> Listing:
        self._count(LIST)
        found = []
        for page in obstore.list(self._store, prefix or None, offset=after):
            for meta in page:
                modified_us = int(meta["last_modified"].timestamp() * 1e6)
                found.append(ObjectInfo(meta["path"], int(meta["size"]), modified_us))
        self._count(LIST, max(0, len(found) - 1) // LIST_PAGE_KEYS)
        # Some servers treat the offset as inclusive, and none promises an order.
        return sorted((info for info in found if after is None or info.key > after), key=lambda info: info.key)

    def delete(self, keys: Iterable[str]) -> None:
        wanted = [check_key(key) for key in keys]
        for start in range(0, len(wanted), DELETE_KEYS_MAX):
            batch = wanted[start : start + DELETE_KEYS_MAX]
            try:
                self._retry("delete", batch[0], partial(self._delete, batch))
            except NotFound:
                # Where one that is not there counts as an error, the others may not have been deleted.
                for key in batch:
                    with contextlib.suppress(NotFound):
                        self._retry("delete", key, partial(self._delete, [key]))

    def _delete(self, keys: Sequence[str]) -> None:
        self._count(DELETE)
        obstore.delete(self._store, list(keys))

    def remove_unfinished(self, prefix: str) -> None:
        """Nothing: an object that was not put whole is not there."""

    def local_path(self, key: str) -> str | None:
        return None

    def _retry(self, action: str, key: str, attempt: Callable[[], T]) -> T:
        """The result of `attempt`, tried again after transient errors until the budget is spent."""
        start_s = self._clock.steady_s()
        tries = 0
        while True:
            tries += 1
            try:
                return attempt()
            except MalamuteError:
                raise
            except (exceptions.BaseError, OSError, ValueError) as error:
                _raise_if_definite(error, key, self._name)
                pause_s = min(self._budget.pause_s_max, self._budget.pause_s_min * 2 ** (tries - 1)) * self._jitter()
                pause_s = max(pause_s, self._traffic.tokens.take())
                elapsed_s = self._clock.steady_s() - start_s
                if tries >= self._budget.attempts_max or elapsed_s + pause_s >= self._budget.seconds_max:
                    self._traffic.tokens.give_back()
                    spent = f"{tries} attempts in {elapsed_s:.1f} s"
                    raise Unavailable(f"{self._name} cannot {action} {key!r} after {spent}: {_told(error)}") from error
            self._sleep(pause_s)
            self._count(RETRIES)


def _raise_if_definite(error: Exception, key: str, name: str) -> None:
    if isinstance(error, _NOT_FOUND):
        raise NotFound(f"object {key!r} is not there") from error
    if any(code in str(error) for code in _NO_BUCKET):
        raise InvalidSettings(f"{name} is not there: create the bucket or correct the URL") from error
    if isinstance(error, _CREDENTIALS):
        raise InvalidSettings(f"{name} refuses the credentials for {key!r}: check storage_options") from error
    if isinstance(error, _SETTINGS):
        raise InvalidSettings(f"{name} cannot be used as it is set up: {_told(error)}") from error


def _told(error: Exception) -> str:
    """What an error of the store says, short and without query strings."""
    text = " ".join(str(error).split("\n\nDebug source")[0].split())
    return _QUERY_STRING.sub("?…", text)[:_ERROR_CHARACTERS_MAX]
