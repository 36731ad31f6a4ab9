"""Owns objects as files below a local directory, as durable as fsync makes them. Only storage/fs.py touches the disk.

A new object: write `.tmp-<token>` beside it → sync → link to its name (fails when that is there) → unlink the
temporary → sync the directory. A crash leaves at most a temporary, which listings never show.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

from core.errors import NotFound, Unavailable, UnknownOutcome
from storage.fs import FileSystem
from storage.objects import (
    TEMPORARY_PREFIX,
    AlreadyExists,
    Data,
    Listing,
    ObjectInfo,
    Range,
    check_key,
    check_prefix,
    views,
)


def random_token() -> str:
    """16 random hex digits."""
    return secrets.token_hex(8)


class LocalObjectStore:
    """Objects below the directory `root`; safe for several processes and threads."""

    def __init__(self, root: str, fs: FileSystem, new_token: Callable[[], str] = random_token) -> None:
        self._root = root
        self._fs = fs
        self._new_token = new_token

    def __repr__(self) -> str:
        return f"LocalObjectStore({self._root!r})"

    def put_new(self, key: str, data: Data) -> None:
        path = self.local_path(key)
        directory = str(PurePosixPath(path).parent)
        temporary = f"{directory}/{TEMPORARY_PREFIX}{self._new_token()}"
        try:
            self._fs.make_directories(directory)
            self._write(temporary, data)
            try:
                self._fs.link(temporary, path)
            except OSError as error:
                self._discard(temporary)
                if not isinstance(error, FileExistsError) and self._is_there(path):
                    raise UnknownOutcome(f"object {key!r} may have been created: {_reason(error)}: retry") from error
                raise
        except FileExistsError as error:
            self._sync_found(directory, key)
            raise AlreadyExists(f"object {key!r} is there already", key=key) from error
        except OSError as error:
            raise _unavailable("create", key, error) from error
        try:
            self._fs.unlink(temporary)
            self._fs.sync_directory(directory)
        except OSError as error:
            raise UnknownOutcome(f"object {key!r} may not survive a power cut: {_reason(error)}") from error

    def link_new(self, key: str, path: str) -> None:
        """Make `key` another name of the file at `path`, which nobody ever changes. Raises AlreadyExists, OSError."""
        own = self.local_path(key)
        directory = str(PurePosixPath(own).parent)
        self._fs.make_directories(directory)
        try:
            self._fs.link(path, own)
        except FileExistsError as error:
            raise AlreadyExists(f"object {key!r} is there already", key=key) from error
        self._fs.sync_directory(directory)

    def _write(self, temporary: str, data: Data) -> None:
        file = self._fs.create(temporary)
        try:
            try:
                file.write_all(views(data))
                file.sync()
            finally:
                file.close()
        except OSError:
            self._discard(temporary)
            raise

    def _discard(self, temporary: str) -> None:
        # A temporary that stays costs disk, nothing else; the error that made it useless is the one to report.
        with contextlib.suppress(OSError):
            self._fs.unlink(temporary)

    def _is_there(self, path: str) -> bool:
        # A link may be reported as failed and be done all the same; what cannot be looked at may be there.
        try:
            return self._fs.exists(path)
        except OSError:
            return True

    def _sync_found(self, directory: str, key: str) -> None:
        # The caller will act on an object that another writer may have linked an instant ago: make the name durable.
        try:
            self._fs.sync_directory(directory)
        except OSError as error:
            raise _unavailable("create", key, error) from error

    def put_in_parts(self, key: str, data: Data) -> None:
        self.put_new(key, data)

    def get(self, key: str) -> bytes:
        try:
            return self._fs.read(self.local_path(key))
        except OSError as error:
            raise _read_error(key, error) from error

    def get_range(self, key: str, start: int, length: int) -> bytes:
        try:
            return self._fs.read_range(self.local_path(key), start, length)
        except OSError as error:
            raise _read_error(key, error) from error

    def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[bytes]:
        return [self.get_range(key, start, length) for start, length in ranges]

    def list(self, prefix: str, after: str | None = None) -> Listing:
        found: Listing = []
        try:
            self._walk(check_prefix(prefix), found, after)
        except OSError as error:
            raise Unavailable(f"cannot list {prefix!r} in {self._root}: {_reason(error)}") from error
        return sorted(found, key=lambda info: info.key)

    def _walk(self, prefix: str, found: Listing, after: str | None) -> None:
        for name in self._fs.list(f"{self._root}/{prefix}".rstrip("/")):
            if name.startswith(TEMPORARY_PREFIX):
                continue
            key = prefix + name
            try:
                status = self._fs.status(f"{self._root}/{key}")
            except FileNotFoundError:
                continue  # deleted since its name was read
            if status.is_directory:
                self._walk(f"{key}/", found, after)
            elif after is None or key > after:
                found.append(ObjectInfo(key, status.size, status.modified_us))

    def delete(self, keys: Iterable[str]) -> None:
        directories: set[str] = set()
        for key in keys:
            path = self.local_path(key)
            try:
                self._fs.unlink(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _unavailable("delete", key, error) from error
            directories.add(str(PurePosixPath(path).parent))
        for directory in sorted(directories):
            try:
                self._fs.sync_directory(directory)
            except OSError as error:
                raise _unavailable("delete", directory, error) from error

    def remove_unfinished(self, prefix: str) -> None:
        try:
            self._sweep(f"{self._root}/{check_prefix(prefix)}".rstrip("/"))
        except OSError as error:
            raise Unavailable(f"cannot clean {prefix!r} in {self._root}: {_reason(error)}") from error

    def _sweep(self, directory: str) -> None:
        for name in self._fs.list(directory):
            path = f"{directory}/{name}"
            if name.startswith(TEMPORARY_PREFIX):
                self._fs.unlink(path)
            elif self._fs.status(path).is_directory:
                self._sweep(path)

    def local_path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _unavailable(action: str, key: str, error: OSError) -> Unavailable:
    hint = "free some space and retry" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "retry"
    return Unavailable(f"cannot {action} object {key!r}: {_reason(error)}: {hint}")


def _read_error(key: str, error: OSError) -> NotFound | Unavailable:
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return NotFound(f"object {key!r} is not there")
    return Unavailable(f"cannot read object {key!r}: {_reason(error)}: retry")
