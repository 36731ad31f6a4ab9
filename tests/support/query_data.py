"""Owns random data for queries: a seed becomes streams of events whose paths agree, conflict, lack and hide in `_rest`.

Pure. Floats are multiples of 1/8 and few texts are numbers, so that sums are exact in any order.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.support.batches import START_US

# How a query may use a path.
NUMBER: Final = "number"
BIG: Final = "big"  # a number too large for arithmetic
TEXT: Final = "text"
TRUTH: Final = "truth"
MOMENT: Final = "moment"
LIST: Final = "list"
MIXED: Final = "mixed"  # text, unless the place asks for a number

STEP_US: Final = 7_000_000  # between two events
REST: Final = "rest:"

Event = dict[str, tuple[str, Any]]
Value = tuple[str, Any] | None
Maker = Callable[[random.Random, int], Value]


@dataclass(frozen=True, slots=True)
class Path:
    """A path of a stream; `whole` when it reads as BIGINT, `hidden` when a star does not show it."""

    name: str
    use: str
    whole: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """The events of one stream, in the order of their rows, and what can be asked about them."""

    name: str
    paths: tuple[Path, ...]
    events: tuple[Event, ...]

    @property
    def has_rest(self) -> bool:
        """Whether some value stands in `_rest`: then every place for text reads any path as text."""
        return any(path.startswith(REST) for event in self.events for path in event)


@dataclass(frozen=True, slots=True)
class Data:
    """Streams, and how they are spread: over `shards`, each with `parts` segments and as many memtable batches."""

    streams: tuple[Stream, ...]
    shards: int
    parts: int


_SERVICES: Final = ("web", "api", "db", "cache")
_MESSAGES: Final = (
    "connection reset by peer",
    "Connection Reset",
    "GET /a/b?c=%20_x 200",
    "it's 'quoted' \"twice\"",
    "größe ½ 東京 🐕",
    "",
    " padded ",
    "100%",
    "a_b",
    "line\nbreak\ttab",
    "back\\slash",
    "null",
    "-- no comment; SELECT 1",
)
_MIXED_VALUES: Final[dict[str, Maker]] = {
    "int": lambda rng, row: ("int", rng.randrange(-9, 40)),
    "float": lambda rng, row: ("float", rng.randrange(-40, 400) / 8),
    "str": lambda rng, row: (
        "str",
        rng.choice(["x", "7", "fast", "", "12.5", " 3", "1e2", "true", "-0", "0x1F", "9,5"]),
    ),
    "bool": lambda rng, row: ("bool", rng.random() < 0.5),
    "json": lambda rng, row: ("json", rng.choice(['{"k":[1,"a"]}', "[]", '{"k":null}'])),
    "time": lambda rng, row: ("time", START_US + row * STEP_US),
    "uint": lambda rng, row: ("uint", 2**63 + row % 3),
    "decimal": lambda rng, row: ("decimal", rng.choice(["123456789012345678901.5", "0.25"])),
}


def _one_of(*values: Any) -> Maker:
    return lambda rng, row: rng.choice(values)


def _mixture(rng: random.Random, kinds: list[str]) -> Maker:
    makers = [_MIXED_VALUES[kind] for kind in kinds]
    return lambda rng, row: rng.choice(makers)(rng, row)


def _numbers(rng: random.Random, name: str) -> tuple[Path, Maker]:
    kinds = rng.choice([["int"], ["float"], ["int", "float"], ["int", "float"], ["decimal", "int"]])
    if "decimal" in kinds:
        return Path(name, BIG), _mixture(rng, kinds)
    return Path(name, NUMBER, whole=kinds == ["int"]), _mixture(rng, kinds)


def _conflict(rng: random.Random, name: str) -> tuple[Path, Maker]:
    """Kinds of which no single type comes."""
    kinds = [rng.choice(["str", "bool", "json"]), *rng.sample(["int", "float", "str", "bool", "json", "time"], 2)]
    if len(set(kinds)) == 1 or set(kinds) == {"str"}:
        kinds.append("int")
    return Path(name, MIXED), _mixture(rng, sorted(set(kinds)))


def _big(rng: random.Random, name: str) -> tuple[Path, Maker]:
    return Path(name, BIG), lambda rng, row: rng.choice([("int", -(2**62) + row % 5), ("uint", 2**63 + row % 5)])


def _list_of(kind: str, elements: tuple[Any, ...]) -> Maker:
    return lambda rng, row: (kind, [rng.choice(elements) for _ in range(rng.randrange(4))])


def _optional(rng: random.Random) -> list[tuple[Path, Maker]]:
    """Paths of which a stream has some."""
    return [
        _numbers(rng, "size"),
        _numbers(rng, "net.bytes"),
        _conflict(rng, "duration"),
        _conflict(rng, "mixed"),
        _big(rng, "big"),
        (Path("level", TEXT), _one_of(("str", "info"), ("str", "warn"), ("str", "error"), ("str", "ERROR"))),
        (Path("message", TEXT), lambda rng, row: ("str", rng.choice(_MESSAGES))),
        (Path("user", TEXT), lambda rng, row: ("str", f"u{row % 3}")),
        (Path("user.name", TEXT), lambda rng, row: ("str", rng.choice(["ann", "Bob", "zoë"]))),
        (Path("a.b.c.d.e", NUMBER, whole=True), lambda rng, row: ("int", row % 5)),
        (Path("ok", TRUTH), _one_of(("bool", True), ("bool", False))),
        (Path("seen", MOMENT), lambda rng, row: ("time", START_US + row * STEP_US - rng.randrange(10**9))),
        (Path("tags", LIST), _list_of("str[]", ("a", "b", "c"))),
        (Path("order", NUMBER, whole=True), lambda rng, row: ("int", row // 4)),
        (Path("odd name-1", TEXT), lambda rng, row: ("str", f"o{row % 4}")),
        (Path("größe", NUMBER), lambda rng, row: ("float", row / 8)),
    ]


def _hidden(rng: random.Random, chosen: list[tuple[Path, Maker]]) -> list[tuple[str, Path | None, Maker, float]]:
    """What stands in `_rest`: paths of its own, and more values of `chosen` ones."""
    rare = _one_of(("int", 5), ("str", "rare"), ("bool", False), ("float", 2.5))
    found: list[tuple[str, Path | None, Maker, float]] = [
        ("rare.x/y~z", Path("rare.x/y~z", MIXED, hidden=True), rare, 0.1)
    ]
    for path, _ in chosen:
        if path.use in (NUMBER, TEXT) and rng.random() < 0.3:
            more = _one_of(("str", "many"), ("int", 3)) if path.use == NUMBER else _one_of(("str", "hid"), ("int", 3))
            found.append((path.name, None, more, 0.05))
    return found


def _stream(rng: random.Random, name: str, rows: int) -> Stream:
    optional = _optional(rng)
    chosen = rng.sample(optional, rng.randrange(4, len(optional)))
    always: list[tuple[Path, Maker]] = [
        (Path("id", NUMBER, whole=True), lambda rng, row: ("int", row)),
        (Path("service", TEXT), lambda rng, row: ("str", rng.choice(_SERVICES))),
        (Path("http.status_code", NUMBER, whole=True), lambda rng, row: ("int", rng.choice([200, 200, 404, 500]))),
    ]
    shares = [1.0, 1.0, 1.0] + [rng.choice([0.05, 0.3, 0.7, 0.9, 1.0]) for _ in chosen]
    hidden = _hidden(rng, chosen) if rng.random() < 0.4 else []
    # What appears only from some row on is missing in the segments before.
    first = [0, 0, 0] + [rng.choice([0, 0, rows // 2]) for _ in chosen]
    events = []
    for row in range(rows):
        event: Event = {}
        for (path, maker), share, begin in zip(always + chosen, shares, first, strict=True):
            value = maker(rng, row) if row >= begin and rng.random() < share else None
            if value is not None:
                event[path.name] = value
        for path_name, _, maker, share in hidden:
            if path_name not in event and rng.random() < share:
                event[REST + path_name] = maker(rng, row) or ("int", 1)
        events.append(event)
    held = {path for event in events for path in event}
    paths = [path for path, _ in always + chosen if path.name in held]
    rare = [path for _, path, _, _ in hidden if path is not None]
    return Stream(
        name, (*(_seen(path, events) for path in paths), *rare, Path("nowhere", MIXED, hidden=True)), tuple(events)
    )


def _seen(path: Path, events: list[Event]) -> Path:
    """`path` as the kinds of values that came out of it have it."""
    kinds = {event[path.name][0] for event in events if path.name in event}
    if path.use == MIXED and kinds <= {"int", "float"}:
        return Path(path.name, NUMBER, whole=kinds == {"int"})
    if path.use == MIXED and len(kinds) == 1:
        use = {"bool": TRUTH, "time": MOMENT}.get(next(iter(kinds)), TEXT)
        return Path(path.name, use)
    if path.use == NUMBER:
        return Path(path.name, NUMBER, whole=kinds == {"int"})
    if path.use == BIG and kinds == {"decimal"}:
        return Path(path.name, TEXT)
    return path


def random_data(seed: int) -> Data:
    """The data set of `seed`."""
    rng = random.Random(f"data {seed}")
    rows = rng.choice([1, 7, 40, 90, 90, 150, 150])
    streams = (_stream(rng, "logs", rows), _stream(rng, "traces", rng.choice([3, 20, 45])))
    return Data(streams, shards=rng.choice([1, 2, 3]), parts=rng.choice([1, 1, 2, 3]))
