"""Owns the words between producer and shard: what is asked and what is answered. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from core.errors import InvalidRequest
from core.ids import check_name, check_producer_id
from core.limits import POSITION_BYTES_MAX
from core.placement import FIRST

MEMORY: Final = "memory"  # handed to the operating system: survives the process, not a power cut
LOCAL: Final = "local"  # fdatasync done
OBJECT: Final = "object"  # its WAL object is confirmed by the object store
LEVELS: Final = (MEMORY, LOCAL, OBJECT)


@dataclass(frozen=True, slots=True)
class ProducerOpened:
    """A producer's new epoch on its shard, and the position stored with its last batch."""

    epoch: int
    position: bytes | None


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """One batch of a producer. `body` is core.batch.encode_batch's buffer; `position` an opaque source position.

    `placement` is the version by which it was routed.
    """

    tenant: str
    stream: str
    producer: str
    epoch: int
    sequence: int
    body: Any
    level: str = LOCAL
    position: bytes | None = None
    placement: int = FIRST


@dataclass(frozen=True, slots=True)
class Ack:
    """The batch is stored at `level`. Offsets are inclusive; -1 when a duplicate's offsets are no longer known.

    Of its events, `duplicate_ids` were not stored because their ids were known; when all were, offsets are -1. `late`
    were stored without looking for their ids. Both are those of the first answer when a repeated batch is answered
    again, unless later ones came in between.
    """

    shard: int
    epoch: int  # of the shard
    first_offset: int
    last_offset: int
    level: str
    duplicate: bool
    duplicate_ids: int = 0
    late: int = 0


def check_request(request: AppendRequest) -> AppendRequest:
    """Return `request` when its names, level and position are allowed, else raise InvalidRequest."""
    check_name("tenant", request.tenant)
    check_name("stream", request.stream)
    check_producer_id(request.producer)
    if request.level not in LEVELS:
        raise InvalidRequest(f"durability level {request.level!r} is not known here: use one of {', '.join(LEVELS)}")
    if request.position is not None and len(request.position) > POSITION_BYTES_MAX:
        raise InvalidRequest(
            f"a position of {len(request.position)} bytes is not allowed: at most {POSITION_BYTES_MAX}"
        )
    return request
