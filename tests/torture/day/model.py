"""Owns what the day's deployment has to show: a dict of events for each stream. Never looks at the deployment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

SECOND_US: Final = 1_000_000
HOUR_US: Final = 3_600 * SECOND_US

StreamKey = tuple[str, str]  # tenant, stream


class Event(NamedTuple):
    """One event: a number that no other has, its time, the rest of it. In a stream with a dedup key it has an `id`."""

    n: int
    at_us: int
    service: str
    message: str
    user: str | None = None
    id: str | None = None

    @property
    def row(self) -> Row:
        """What a query gives of it."""
        return self.n, self.at_us, self.service, self.message, self.user


Row = tuple[int, int, str, str, str | None]
Meets = Callable[[Event], bool]


@dataclass
class Held:
    """A named snapshot: by stream the events that its queries show."""

    tenant: str
    expires_us: int | None
    events: dict[StreamKey, dict[int, Event]]


@dataclass
class Model:
    """The events that were acknowledged, and what became of them. Ages in microseconds, by stream."""

    ages_us: dict[StreamKey, int] = field(default_factory=dict)
    stored: dict[StreamKey, dict[int, Event]] = field(default_factory=lambda: defaultdict(dict))
    ingested_us: dict[int, int] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)

    def add(self, key: StreamKey, events: Iterable[Event], now_us: int) -> None:
        """Acknowledged at `now_us`."""
        for event in events:
            self.stored[key][event.n] = event
            self.ingested_us[event.n] = now_us

    def cut_us(self, key: StreamKey, now_us: int) -> int | None:
        """Before this time events are expired; it moves in steps of a hundredth of the age, an hour at most."""
        age_us = self.ages_us.get(key)
        if age_us is None:
            return None
        step_us = min(age_us // 100, HOUR_US)
        return (now_us - age_us) // step_us * step_us

    def visible(self, key: StreamKey, now_us: int, until_us: int | None = None) -> list[Row]:
        """What a query shows at `now_us`, sorted; of what was stored at `until_us` or before."""
        cut_us = self.cut_us(key, now_us)
        return sorted(
            event.row
            for event in self.stored[key].values()
            if (cut_us is None or event.at_us >= cut_us) and (until_us is None or self.ingested_us[event.n] <= until_us)
        )

    def delete(self, key: StreamKey, meets: Meets, now_us: int) -> int:
        """A delete began: nobody sees these events any more, in no snapshot either; how many of them were visible."""
        cut_us = self.cut_us(key, now_us)
        doomed = {n: event for n, event in self.stored[key].items() if meets(event)}
        self.remove(key, doomed)
        for held in self.held.values():
            if key in held.events:
                held.events[key] = {n: event for n, event in held.events[key].items() if not meets(event)}
        return sum(cut_us is None or event.at_us >= cut_us for event in doomed.values())

    def remove(self, key: StreamKey, numbers: Iterable[int]) -> None:
        """Retention by size took these; snapshots keep them."""
        for n in numbers:
            self.stored[key].pop(n, None)

    def hold(
        self, name: str, tenant: str, expires_us: int | None, seen: Mapping[StreamKey, list[Row]], now_us: int
    ) -> None:
        """A snapshot was taken, and its queries show `seen`: all that is visible, and of what is expired some."""
        events: dict[StreamKey, dict[int, Event]] = {}
        for key, rows in seen.items():
            events[key] = {row[0]: self.stored[key][row[0]] for row in rows}
            assert sorted(event.row for event in events[key].values()) == rows, f"{key} in snapshot {name}"
            missing = {row[0] for row in self.visible(key, now_us)} - events[key].keys()
            assert not missing, f"not in snapshot {name} of {key}: {sorted(missing)[:10]}"
        self.held[name] = Held(tenant, expires_us, events)

    def answers(self, name: str, now_us: int) -> bool:
        """Whether the snapshot still answers."""
        expires_us = self.held[name].expires_us
        return expires_us is None or now_us < expires_us

    def copy(self) -> Model:
        """What is stored now, by itself."""
        stored = defaultdict(dict, {key: dict(events) for key, events in self.stored.items()})
        return Model(self.ages_us, stored, self.ingested_us)
