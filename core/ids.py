"""Owns the id types and the alphabets of names. Never looks anything up."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import NewType

from core.errors import InvalidName
from core.limits import PRODUCER_ID_BYTES_MAX

ShardId = NewType("ShardId", int)  # 0 … shards-1
Epoch = NewType("Epoch", int)  # grows by one with every owner of a shard
Offset = NewType("Offset", int)  # dense position of an event in its shard, from 0

DEFAULT_TENANT = "default"

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z")


def check_name(kind: str, value: str) -> str:
    """Return `value` when it is a legal tenant or stream name, else raise InvalidName.

    Legal: 1-63 characters of a-z, 0-9, '_' and '-', beginning with a letter. Such a name is safe as an object
    key on every store and as a SQL identifier in any case folding.
    """
    if isinstance(value, str) and _NAME.match(value):
        return value
    raise InvalidName(
        f"{kind} name {value!r} is not allowed: use 1-63 characters of a-z, 0-9, '_' and '-', beginning with a letter"
    )


def check_producer_id(value: str) -> str:
    """Return `value` when it is a legal producer id (1-256 bytes of printable UTF-8), else raise InvalidName."""
    if isinstance(value, str) and value.isprintable() and 0 < len(value.encode()) <= PRODUCER_ID_BYTES_MAX:
        return value
    raise InvalidName(
        f"producer id {value!r} is not allowed: use 1-{PRODUCER_ID_BYTES_MAX} bytes of printable characters"
    )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that most resembles `name`, or None when none is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None
