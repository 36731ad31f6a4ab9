"""Owns the placements of a storage, as one small versioned object, and how they change. Never talks to a shard.

Like the catalog, a version is immutable and moves by create-if-absent of the next key. A storage without any is as
format.json says. A change is three versions: the next placement is *begun* (its new shards are started), then *moving*
(shards give their producers away: there is no way back), then it is the one in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgpack

from core.clock import Clock
from core.errors import Corrupt, InvalidRequest, NotFound, Unavailable
from core.limits import MANIFEST_VERSIONS_KEPT, PLACEMENTS_KEPT, SHARDS_MAX
from core.placement import Placement, first_placement, following
from storage.envelope import seal, unseal
from storage.keys import PLACEMENTS_PREFIX, placements_key, version_of
from storage.objects import AlreadyExists, ObjectStore

MAGIC: Final = b"MLMTPLAC"
FORMAT_VERSION: Final = 1

STEADY: Final = "steady"  # nothing is changing
BEGUN: Final = "begun"  # the shards of the next placement are started
MOVING: Final = "moving"  # shards give their producers and segments away


@dataclass(frozen=True, slots=True)
class Placements:
    """One version: the placements in force until now, oldest first, the last one in force; and the next, if any.

    `next_shard` is the lowest number that no shard of the storage ever had.
    """

    version: int
    history: tuple[Placement, ...]
    next_shard: int
    coming: Placement | None = None
    moving: bool = False

    @property
    def current(self) -> Placement:
        """The one in force."""
        return self.history[-1]

    def after(self, version: int) -> Placement | None:
        """The placement that came into force after `version`, the oldest known one of these; None when none did."""
        return next((placement for placement in self.history if placement.version > version), None)

    @property
    def state(self) -> str:
        """STEADY, BEGUN or MOVING."""
        return STEADY if self.coming is None else MOVING if self.moving else BEGUN

    @property
    def serving(self) -> tuple[int, ...]:
        """The shards that may hold what a query has to see: of both placements while one gives way to the other."""
        coming = self.coming.shards if self.coming is not None and self.moving else ()
        return tuple(sorted({*self.current.shards, *coming}))

    @property
    def retired(self) -> frozenset[int]:
        """The numbers of all shards that nobody asks any more: their segments are their heirs'."""
        coming = self.coming.shards if self.coming is not None else ()
        return frozenset(range(self.next_shard)) - {*self.current.shards, *coming}


def begun(placements: Placements, count: int, now_us: int) -> Placements:
    """The change to `count` shards begins; raises InvalidRequest when it cannot."""
    if not 1 <= count <= SHARDS_MAX:
        raise InvalidRequest(f"{count} shards are not allowed: 1 to {SHARDS_MAX}")
    if placements.moving:
        assert placements.coming is not None
        raise InvalidRequest(
            f"the change to {len(placements.coming.shards)} shards is under way: ask again when it is done, "
            "'malamute status' shows it"
        )
    version = placements.version + 1
    if count == len(placements.current.shards):
        return replace(placements, version=version, coming=None)
    coming = following(placements.current, count, placements.next_shard, now_us)
    next_shard = max(placements.next_shard, coming.shards[-1] + 1)
    return replace(placements, version=version, coming=coming, next_shard=next_shard)


def moving(placements: Placements) -> Placements:
    """The new shards serve: from here on the change is carried through."""
    return replace(placements, version=placements.version + 1, moving=True)


def in_force(placements: Placements, now_us: int) -> Placements:
    """Every shard of the next placement has what is its own: it is the one in force."""
    assert placements.coming is not None
    taken = replace(placements.coming, from_us=max(now_us, placements.current.from_us))
    history = (*placements.history, taken)[-PLACEMENTS_KEPT:]
    return Placements(placements.version + 1, history, placements.next_shard)


def encode_placements(placements: Placements) -> bytes:
    """The bytes of a version."""
    coming = placements.coming
    body = {
        "version": placements.version,
        "history": [pack_placement(placement) for placement in placements.history],
        "next_shard": placements.next_shard,
        "coming": None if coming is None else pack_placement(coming),
        "moving": placements.moving,
    }
    return seal(MAGIC, FORMAT_VERSION, body)


def decode_placements(data: bytes, what: str = "placements") -> Placements:
    """The placements of encode_placements; raises Corrupt on any damage and on newer formats. `what` names them."""
    _, body = unseal(MAGIC, FORMAT_VERSION, data, what)
    try:
        coming = body["coming"]
        return Placements(
            body["version"],
            tuple(unpack_placement(packed) for packed in body["history"]),
            body["next_shard"],
            None if coming is None else unpack_placement(coming),
            body["moving"],
        )
    except (KeyError, IndexError, TypeError, ValueError, msgpack.UnpackException) as error:
        raise Corrupt(f"{what} has a body of an unexpected shape: {error!r}") from error


def placement_to_plain(placement: Placement) -> dict[str, Any]:
    """A placement as what JSON can hold."""
    heirs = {str(shard): heir for shard, heir in sorted(placement.heirs.items())}
    return {"version": placement.version, "from_us": placement.from_us, "shards": [*placement.shards], "heirs": heirs}


def load_placements(objects: ObjectStore, first_shards: int) -> Placements:
    """The newest version on an object store; without any, the first `first_shards`. Raises Corrupt, Unavailable."""
    found = objects.list(PLACEMENTS_PREFIX)
    if not found:
        return Placements(0, (first_placement(first_shards),), first_shards)
    key = found[-1].key
    try:
        placements = decode_placements(objects.get(key), f"placements {key!r}")
    except NotFound as error:
        raise Unavailable("the placements changed while they were read: retry") from error
    if placements.version != version_of(key):
        raise Corrupt(f"placements {key!r} say version {placements.version}: restore them")
    return placements


class PlacementStore:
    """The placements on an object store; `first_shards` is what format.json says. Holds nothing itself."""

    def __init__(self, objects: ObjectStore, clock: Clock, first_shards: int) -> None:
        self._objects = objects
        self._clock = clock
        self._first_shards = first_shards
        self.delete_failures = 0

    def load(self) -> Placements:
        """The newest version; raises Corrupt, Unavailable."""
        return load_placements(self._objects, self._first_shards)

    def begin(self, count: int) -> Placements:
        """Begin the change to `count` shards, or call off one that has only begun; see begun()."""
        placements = self.load()
        wanted = placements.coming or placements.current
        if len(wanted.shards) == count:
            return placements
        return self._create(begun(placements, count, self._clock.now_us()))

    def move(self, placements: Placements) -> Placements:
        """See moving(). Raises Unavailable when the placements are not these any more."""
        return self._create(moving(placements))

    def put_in_force(self, placements: Placements) -> Placements:
        """See in_force(). Raises Unavailable when the placements are not these any more."""
        return self._create(in_force(placements, self._clock.now_us()))

    def _create(self, placements: Placements) -> Placements:
        try:
            self._objects.put_new(placements_key(placements.version), encode_placements(placements))
        except AlreadyExists as error:
            raise Unavailable("another change of the placements came first: look at them again") from error
        old = placements.version - MANIFEST_VERSIONS_KEPT
        try:
            if old > 0:
                self._objects.delete([placements_key(old)])
        except Unavailable:
            self.delete_failures += 1
        return placements


def pack_placement(placement: Placement) -> list[Any]:
    """A placement as what msgpack can hold."""
    heirs = [list(pair) for pair in sorted(placement.heirs.items())]
    return [placement.version, list(placement.shards), placement.from_us, heirs]


def unpack_placement(packed: list[Any]) -> Placement:
    """The inverse of pack_placement; raises TypeError or ValueError on anything else."""
    version, shards, from_us, pairs = packed
    heirs: Mapping[int, int] = dict(pairs)
    return Placement(version, tuple(shards), from_us, heirs)
