"""Owns which module each public name lives in."""

from __future__ import annotations

_ERRORS = [
    "BudgetExceeded",
    "Corrupt",
    "Fenced",
    "InvalidName",
    "InvalidQuery",
    "InvalidRequest",
    "InvalidSettings",
    "MalamuteError",
    "NotFound",
    "Overloaded",
    "SequenceGap",
    "SnapshotExists",
    "SnapshotExpired",
    "StorageInUse",
    "Unavailable",
    "UnknownOutcome",
]

PUBLIC = {
    **dict.fromkeys(_ERRORS, "core.errors"),
    "Client": "malamute.client",
    "Deletion": "malamute.deletion",
    "Producer": "malamute.producer",
    "Receipt": "malamute.receipt",
    "Result": "malamute.result",
    "Snapshot": "malamute.snapshot",
    "Status": "malamute.status",
    "connect": "malamute.connection",
}
