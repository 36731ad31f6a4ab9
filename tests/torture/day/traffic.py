"""Owns the day's producers: what they send, when, and what the model is told of it. Never looks at what is stored."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from ingest.keyed_sender import KeyedSender
from ingest.routing import SpreadSender, producer_sender
from ingest.sender import Sender
from ingest.shred import ShredSettings, shred_dicts
from tests.torture.day.model import HOUR_US, SECOND_US, Event, Model, StreamKey
from tests.torture.day.store import SETTINGS, Store

SERVICES: Final = 5
USERS: Final = 30
AGAIN_US: Final = HOUR_US // 2  # an id is sent again only so long: well within the window of its stream
KNOWN_MAX: Final = 60
MESSAGE_LETTERS: Final = 150  # random ones: a megabyte of segments has to come together in a stream with bytes_max

_PRODUCERS: Final = tuple((key, name) for key in SETTINGS for name in ("p1", "p2", "w"))  # w: without a name
_PACES: Final = (0.0, 0.2, 1.0, 1.0, 2.0, 6.0)  # lulls and bursts, of a stream for a quarter of an hour


class Traffic:
    """Producers of every stream of `store`, `rate` events a second in all on average."""

    def __init__(self, store: Store, model: Model, rng: random.Random, rate: float) -> None:
        self._store, self._model, self._rng, self._rate = store, model, rng, rate
        self._numbers = itertools.count()
        self._senders: dict[tuple[StreamKey, str], Sender | KeyedSender | SpreadSender] = {}
        self._positions: dict[tuple[StreamKey, str], bytes] = {}
        self._paces: dict[StreamKey, float] = dict.fromkeys(SETTINGS, 1.0)
        self._known: list[Event] = []  # of the stream with ids, what may be sent again
        self.counts: Counter[str] = Counter()

    def minute(self, minute: int) -> None:
        """What all producers send in a minute."""
        if minute % 15 == 0:
            self._paces = {key: self._rng.choice(_PACES) for key in SETTINGS}
        for key, name in _PRODUCERS:
            events = self._rate * 60 * self._paces[key] / len(_PRODUCERS) / (sum(_PACES) / len(_PACES))
            # Some minutes of a producer at once, and none in others.
            if self._rng.random() < 0.35:
                self.send(key, name, round(self._rng.expovariate(0.35 / events)) if events else 0)
        if self._rng.random() < 0.02:
            self.restart(*self._rng.choice(_PRODUCERS))

    def send(self, key: StreamKey, name: str, count: int) -> None:
        """One batch of new events, and of some that were sent before where they have ids; acknowledged afterwards."""
        if not count:
            return
        keyed = SETTINGS[key].dedup_key is not None
        fresh = list(itertools.islice(self._events(key, keyed), count))
        batch = fresh + (self._again() if keyed else [])
        sender = self._sender(key, name)
        if isinstance(sender, SpreadSender):
            sender.send(batch_of(batch))
        else:
            self._positions[key, name] = b"%016d" % fresh[-1].n
            sender.send(batch_of(batch), self._positions[key, name])
        sender.drain()
        self._model.add(key, fresh, self._store.clock.now_us())
        self.counts["events"] += len(fresh)
        self.counts["ids sent again"] += len(batch) - len(fresh)

    def restart(self, key: StreamKey, name: str) -> None:
        """A producer's process begins anew: it is told the position of its last batch."""
        if (key, name) not in self._positions:
            return
        self._senders.pop((key, name))
        sender = self._sender(key, name)
        assert not isinstance(sender, SpreadSender)
        sender.open()
        assert sender.position == self._positions[key, name], (key, name)
        self.counts["producers restarted"] += 1

    def _events(self, key: StreamKey, keyed: bool) -> Iterator[Event]:
        rng, now_us = self._rng, self._store.clock.now_us()
        for n in self._numbers:
            back_us = rng.randint(0, 90 * SECOND_US)
            if rng.random() < 0.06:  # late: other windows, in `audit` of other days, and beyond the window of ids
                back_us = rng.randint(0, (40 * 24 if key[1] == "audit" else 5) * HOUR_US)
            elif rng.random() < 0.01:
                back_us = -rng.randint(0, 10 * 60 * SECOND_US)
            service, user = f"s{rng.randrange(SERVICES)}", f"u{rng.randrange(USERS)}" if rng.random() < 0.8 else None
            message = f"event {n} " + rng.randbytes(MESSAGE_LETTERS // 2).hex() if key == ("acme", "logs") else f"m{n}"
            event = Event(n, now_us - back_us, service, message, user, f"id{n}" if keyed else None)
            if keyed and 0 <= back_us < AGAIN_US:
                self._known = [*self._known[-KNOWN_MAX:], event]
            yield event

    def _again(self) -> list[Event]:
        """Events under ids that were sent before; what is stored under them is what came first."""
        oldest_us = self._store.clock.now_us() - AGAIN_US
        self._known = [event for event in self._known if event.at_us >= oldest_us]
        # Those of this very batch as well, which is before them.
        chosen = self._rng.sample(self._known, min(len(self._known), self._rng.randint(0, 3)))
        return [event._replace(n=next(self._numbers)) for event in chosen]

    def _sender(self, key: StreamKey, name: str) -> Sender | KeyedSender | SpreadSender:
        found = self._senders.get((key, name))
        if found is None:
            settings, place = SETTINGS[key], (self._store, self._store.placements.current, *key)
            if name == "w":
                found = SpreadSender(*place, self._store.level, lambda sent: None, settings.dedup_key)
            else:
                found = producer_sender(*place, name, settings.dedup_key, level=self._store.level)
            self._senders[key, name] = found
        for one in [found] if isinstance(found, Sender) else found._senders.values():
            one._sleep = lambda seconds: None
        return found


def batch_of(events: list[Event]) -> pa.RecordBatch:
    """The events as a producer sends them."""
    dicts = [
        {"n": e.n, "timestamp": e.at_us, "service": e.service, "message": e.message}
        | ({} if e.user is None else {"user": e.user})
        | ({} if e.id is None else {"id": e.id})
        for e in events
    ]
    batch = shred_dicts(dicts, ShredSettings(), ingest_time_us=0).batch
    assert batch is not None and batch.num_rows == len(events)
    return batch
