"""Owns every public error kind. Never catches, logs or retries anything.

    MalamuteError
    ├── InvalidRequest       the request is wrong as it stands: change it
    │   ├── InvalidName      a tenant, stream or producer name outside its alphabet
    │   ├── InvalidSettings  a setting outside its range
    │   ├── InvalidQuery     SQL that cannot be parsed, bound or is not allowed
    │   ├── SequenceGap      a producer skipped a sequence: resend from `expected`
    │   └── SnapshotExists   a named snapshot of this name is there: use it, drop it, or take another name
    ├── NotFound             a stream, path, file or deployment that is not there
    │   └── SnapshotExpired  a named snapshot whose time is over
    ├── Fenced               a newer epoch owns this shard or producer: reopen
    │   └── ShardFenced      the shard has a newer owner: the client finds it and sends again
    ├── Overloaded           refused for now: come back after `retry_after` seconds
    ├── Unavailable          the shard, coordinator or storage cannot serve right now: retry
    │   ├── Moved            the shard gave the producer away: the client finds its new shard and sends again
    │   ├── StorageInUse     another process owns this storage
    │   └── WalMissing       the shard's process is not where its WAL is: bring the disk or its node back
    ├── UnknownOutcome       may or may not have happened: retry with the same sequence
    │   └── InternalError    a defect of ours: report it; of a write the outcome is unknown
    ├── BudgetExceeded       a query passed a named budget
    └── Corrupt              stored bytes are damaged or of an unknown format: never served

A definite error (any kind but UnknownOutcome) means that nothing was written. Messages are lower-case,
carry the offending values and the next step, and never a secret or an event body.
"""

from __future__ import annotations

from typing import Any


class MalamuteError(Exception):
    """Root of all errors that Malamute raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders; keyword attributes must survive pickling by Ray.
        return (_rebuild, (type(self), str(self), dict(self.__dict__)))


def _rebuild(cls: type[MalamuteError], message: str, attributes: dict[str, Any]) -> MalamuteError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(attributes)
    return error


class InvalidRequest(MalamuteError):
    """The request is wrong as it stands."""


class InvalidName(InvalidRequest):
    """A tenant, stream or producer name outside its alphabet."""


class InvalidSettings(InvalidRequest):
    """A setting outside its allowed range."""


class InvalidQuery(InvalidRequest):
    """SQL that cannot be parsed or bound, or is not allowed. `line` and `column` count from 1, 0 = unknown."""

    def __init__(self, message: str, *, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class SequenceGap(InvalidRequest):
    """A producer skipped a sequence. `expected` is the sequence to send next."""

    def __init__(self, message: str, *, expected: int) -> None:
        super().__init__(message)
        self.expected = expected


class SnapshotExists(InvalidRequest):
    """A named snapshot of this name is there already."""


class NotFound(MalamuteError):
    """A stream, path, file or deployment that is not there."""


class SnapshotExpired(NotFound):
    """A named snapshot whose time is over: what it held may be gone."""


class Fenced(MalamuteError):
    """A newer epoch owns this shard or producer."""


class ShardFenced(Fenced):
    """A newer owner has the shard: the same request goes to it. What the old one refused so is not written."""


class Overloaded(MalamuteError):
    """Refused for now; nothing was written. `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(MalamuteError):
    """The shard, coordinator or storage cannot serve right now; nothing was written."""


class Moved(Unavailable):
    """The shard takes nothing routed before placement `placement` any more; what it refused so is not written there."""

    def __init__(self, message: str, *, placement: int) -> None:
        super().__init__(message)
        self.placement = placement


class StorageInUse(Unavailable):
    """Another process owns this storage."""


class WalMissing(Unavailable):
    """The disk with the shard's WAL is not on this node: the shard serves again when node or disk are back."""


class UnknownOutcome(MalamuteError):
    """The write may or may not have happened: retry with the same producer, epoch and sequence."""


class InternalError(UnknownOutcome):
    """A process of ours failed in a way that nobody foresaw; its message names the exception."""


class BudgetExceeded(MalamuteError):
    """A query passed the budget named in `budget`."""

    def __init__(self, message: str, *, budget: str) -> None:
        super().__init__(message)
        self.budget = budget


class Corrupt(MalamuteError):
    """Stored bytes are damaged or of an unknown format version."""


class InvariantViolation(MalamuteError):
    """An internal invariant does not hold; `invariant` is its id in docs/ (WAL-3, MAN-1 …)."""

    def __init__(self, message: str, *, invariant: str) -> None:
        super().__init__(message)
        self.invariant = invariant


def check(condition: bool, invariant: str, message: str, *values: object) -> None:
    """Fail with InvariantViolation unless `condition`; stays on in production.

    `message` may hold %-placeholders for `values`; it is formatted only on failure.
    """
    if not condition:
        text = message % values if values else message
        raise InvariantViolation(f"{invariant}: {text}", invariant=invariant)
