"""An object store in memory whose operations fail on demand, and one that loses answers after the fact."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from core.errors import NotFound, Unavailable, UnknownOutcome
from storage.objects import AlreadyExists, Data, Listing, ObjectInfo, Range, check_key, check_prefix, joined

Hook = Callable[[str, str], str | None]  # (operation, key) → None, "before", "after" or "later"


class FlakyObjectStore:
    """Objects in a dict. `hook` decides per call: "before" fails it, "after" performs it and loses the answer.

    "later" (put_new only) loses the answer too, and performs the call only at deliver().
    """

    def __init__(self, hook: Hook | None = None) -> None:
        self.hook = hook
        self.objects: dict[str, bytes] = {}
        self._late: list[tuple[str, bytes]] = []
        self._lock = threading.Lock()

    def put_new(self, key: str, data: Data) -> None:
        content = joined(data)
        failure = self._failure("put_new", key)
        if failure == "later":
            self._late.append((key, content))
            raise UnknownOutcome(f"create {key!r}: no answer")
        with self._lock:
            if check_key(key) in self.objects:
                raise AlreadyExists(f"object {key!r} is there already", key=key)
            self.objects[key] = content
        if failure == "after":
            raise UnknownOutcome(f"create {key!r}: no answer")

    def deliver(self) -> int:
        """Let the delayed creates arrive; returns how many took effect."""
        took_effect = 0
        for key, content in self._late:
            if key not in self.objects:
                self.objects[key] = content
                took_effect += 1
        self._late.clear()
        return took_effect

    def get(self, key: str) -> bytes:
        self._failure("get", key)
        try:
            return self.objects[key]
        except KeyError:
            raise NotFound(f"object {key!r} is not there") from None

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self.get(key)[start : start + length]

    def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[bytes]:
        content = self.get(key)
        return [content[start : start + length] for start, length in ranges]

    def list(self, prefix: str, after: str | None = None) -> Listing:
        self._failure("list", check_prefix(prefix))
        with self._lock:
            found = sorted(self.objects.items())
        return [
            ObjectInfo(key, len(data), 1)
            for key, data in found
            if key.startswith(prefix) and (after is None or key > after)
        ]

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._failure("delete", key)
            with self._lock:
                self.objects.pop(key, None)

    def remove_unfinished(self, prefix: str) -> None:
        """Nothing: objects appear whole here."""

    def local_path(self, key: str) -> str | None:
        return None

    def _failure(self, operation: str, key: str) -> str | None:
        failure = self.hook(operation, key) if self.hook else None
        if failure == "before":
            raise Unavailable(f"{operation} {key!r} failed")
        return failure
