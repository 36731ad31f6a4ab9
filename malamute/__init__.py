"""Malamute, a distributed event store on Ray: connect(), Client, Result, Receipt, and the errors they raise.

store = malamute.connect()
store.write("logs", [{"service": "web", "message": "hello"}])
store.sql("SELECT service, count(*) FROM logs GROUP BY 1").to_pylist()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from malamute._lazy import PUBLIC

if TYPE_CHECKING:
    from core.errors import (
        BudgetExceeded,
        Corrupt,
        Fenced,
        InvalidName,
        InvalidQuery,
        InvalidRequest,
        InvalidSettings,
        MalamuteError,
        NotFound,
        Overloaded,
        SequenceGap,
        SnapshotExists,
        SnapshotExpired,
        StorageInUse,
        Unavailable,
        UnknownOutcome,
    )
    from malamute.client import Client
    from malamute.connection import connect
    from malamute.deletion import Deletion
    from malamute.producer import Producer
    from malamute.receipt import Receipt
    from malamute.result import Result
    from malamute.snapshot import Snapshot
    from malamute.status import Status

__version__ = "0.1.0"

__all__ = [
    "BudgetExceeded",
    "Client",
    "Corrupt",
    "Deletion",
    "Fenced",
    "InvalidName",
    "InvalidQuery",
    "InvalidRequest",
    "InvalidSettings",
    "MalamuteError",
    "NotFound",
    "Overloaded",
    "Producer",
    "Receipt",
    "Result",
    "SequenceGap",
    "Snapshot",
    "SnapshotExists",
    "SnapshotExpired",
    "Status",
    "StorageInUse",
    "Unavailable",
    "UnknownOutcome",
    "connect",
]


def __getattr__(name: str) -> Any:
    # Ray alone takes half a second to import; `import malamute` stays fast and loads it at first use.
    if name not in PUBLIC:
        raise AttributeError(f"module 'malamute' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(PUBLIC[name]), name)
    globals()[name] = value
    return value
