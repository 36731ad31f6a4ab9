"""Owns objects on S3, GCS, Azure or in memory through obstore: retries, ambiguity, error kinds. Never overwrites.

obstore's own retries are off (open_objects.py), so that this module knows of every attempt. A create whose answer was
lost may have happened; when a later attempt then finds the object there, its content decides whether it was ours.
"""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import obstore
from obstore import exceptions

from core.clock import Clock
from core.errors import InvalidSettings, MalamuteError, NotFound, Unavailable, UnknownOutcome
from storage.objects import AlreadyExists, Data, Listing, ObjectInfo, check_key, check_prefix, joined

_ERROR_CHARACTERS_MAX: Final = 300
# Query strings may hold signatures.
_QUERY_STRING: Final = re.compile(r"\?[^\s\")]+")

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
    ) -> None:
        self._store = store
        self._clock = clock
        self._name = name
        self._budget = budget or RetryBudget()
        self._sleep = sleep
        self._jitter = jitter

    def __repr__(self) -> str:
        return f"RemoteObjectStore({self._name!r})"

    def put_new(self, key: str, data: Data) -> None:
        check_key(key)
        content = joined(data)
        attempts = 0

        def create() -> None:
            nonlocal attempts
            attempts += 1
            try:
                obstore.put(self._store, key, content, mode="create", use_multipart=False)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
                if attempts == 1 or not self._holds(key, content):
                    raise AlreadyExists(f"object {key!r} is there already", key=key) from error

        try:
            self._retry("create", key, create)
        except NotFound as error:
            raise InvalidSettings(f"{self._name} is not there: create the bucket or correct the URL") from error
        except Unavailable as error:
            raise UnknownOutcome(f"{error}; it may or may not be there") from error

    def _holds(self, key: str, content: bytes) -> bool:
        try:
            return bool(obstore.get(self._store, key).bytes().to_bytes() == content)
        except exceptions.NotFoundError:
            return False  # deleted since, so it is not ours

    def get(self, key: str) -> bytes:
        check_key(key)
        return self._retry("read", key, lambda: bytes(obstore.get(self._store, key).bytes().to_bytes()))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        check_key(key)
        if length <= 0:
            return b""

        def read() -> bytes:
            size = int(obstore.head(self._store, key)["size"])
            wanted = min(length, size - start)
            if wanted <= 0:
                return b""
            return bytes(obstore.get_range(self._store, key, start=start, length=wanted).to_bytes())

        return self._retry("read", key, read)

    def list(self, prefix: str, after: str | None = None) -> Listing:
        check_prefix(prefix)

        def read() -> Listing:
            found = []
            for page in obstore.list(self._store, prefix or None, offset=after):
                for meta in page:
                    modified_us = int(meta["last_modified"].timestamp() * 1e6)
                    found.append(ObjectInfo(meta["path"], int(meta["size"]), modified_us))
            # Some servers treat the offset as inclusive, and none promises an order.
            return sorted((info for info in found if after is None or info.key > after), key=lambda info: info.key)

        return self._retry("list", prefix, read)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            check_key(key)
            with contextlib.suppress(NotFound):
                self._retry("delete", key, partial(obstore.delete, self._store, key))

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
                elapsed_s = self._clock.steady_s() - start_s
                if tries >= self._budget.attempts_max or elapsed_s >= self._budget.seconds_max:
                    spent = f"{tries} attempts in {elapsed_s:.1f} s"
                    raise Unavailable(f"{self._name} cannot {action} {key!r} after {spent}: {_told(error)}") from error
            pause_s = min(self._budget.pause_s_max, self._budget.pause_s_min * 2 ** (tries - 1))
            self._sleep(pause_s * self._jitter())


def _raise_if_definite(error: Exception, key: str, name: str) -> None:
    if isinstance(error, exceptions.NotFoundError | FileNotFoundError):
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
