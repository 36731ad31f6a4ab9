"""What shards tell of their segments and a coordinator remembers: always the snapshot's list, mostly as a change."""

from __future__ import annotations

import random
import threading
from dataclasses import replace

import pytest

from core.columns import ColumnKey
from query.holdings import Holding, Ledger, Teller, Told, each_once, merged_shape, take_snapshot
from query.shape import StreamShape, describe, shape_of_segments
from storage.snapshot import ColumnStats, Segment, StreamSnapshot
from tests.support.batches import log_batch

STREAM, TENANT = "logs", "acme"


def segment(number: int) -> Segment:
    columns = (ColumnStats(f"p{number % 7}", ColumnKey(f"p{number % 7}", "int"), 5, 0, 9),)
    return Segment(
        f"s{number}", TENANT, STREAM, 0, 10, 10, 100, number, number, number + 5, 0, 9, False, (), columns
    )  # fmt: skip


def snapshot(version: int, numbers: list[int], batches: int = 0, offset: int = 0) -> StreamSnapshot:
    memtable = tuple(log_batch(3, seed) for seed in range(batches))
    return StreamSnapshot(0, TENANT, STREAM, version, offset, tuple(map(segment, numbers)), memtable)


def learn(ledger: Ledger, told: Told) -> Holding | None:
    return ledger.learn(0, TENANT, STREAM, told)


def version(ledger: Ledger) -> int:
    return ledger.versions(0, TENANT, [STREAM])[STREAM]


def names(holding: Holding | None) -> set[str]:
    assert holding is not None
    assert len({s.name for s in holding.segments}) == len(holding.segments)
    return {s.name for s in holding.segments}


def test_the_first_time_everything_is_told_and_then_what_changed() -> None:
    teller, ledger = Teller(), Ledger()
    assert version(ledger) == 0
    told = teller.tell(snapshot(5, [1, 2, 3], batches=2, offset=40), 0)
    assert (told.base, len(told.added), told.batches) == (0, 3, 2)
    holding = learn(ledger, told)
    assert names(holding) == {"s1", "s2", "s3"} and holding is not None and holding.identity == (0, 5, 40)
    told = teller.tell(snapshot(6, [2, 3, 4]), version(ledger))
    assert (told.base, [s.name for s in told.added], told.removed) == (5, ["s4"], {"s1"})
    assert names(learn(ledger, told)) == {"s2", "s3", "s4"}
    told = teller.tell(snapshot(6, [2, 3, 4], offset=41), version(ledger))
    assert (told.base, told.added, told.removed) == (6, (), frozenset())
    assert names(learn(ledger, told)) == {"s2", "s3", "s4"}


def test_what_an_heir_rewrote_since_is_not_read_of_the_shard_that_gave_it_away() -> None:
    """Its events would be there twice, and those that were erased again."""
    given, kept = (segment(1), segment(2)), (segment(2), segment(7))
    retired = Holding(1, 5, 20, given, shape_of_segments(given), StreamShape(), 0)
    heir = Holding(0, 9, 30, kept, shape_of_segments(kept), StreamShape(), 0, adopted={1: 20})
    other = Holding(2, 4, 10, given[:1], shape_of_segments(given[:1]), StreamShape(), 0)
    assert [list(holding.segments) for holding in each_once([heir, retired, other])] == [list(kept), [], [segment(1)]]


def test_what_a_shard_had_in_memory_before_it_was_sealed_is_read_of_its_heir() -> None:
    """It answered before the change, its heir after it: the heir has the events in a segment."""
    flushed = (replace(segment(3), name="shards/0001/segments/acme/logs/w-00000001-00000003.parquet"),)
    teller, ledger = [Teller(), Teller()], Ledger()
    told = {
        0: {STREAM: teller[0].tell(replace(snapshot(9, []), segments=flushed), 0)},
        1: {STREAM: teller[1].tell(replace(snapshot(5, [1], batches=2, offset=6), shard=1), 0)},
    }
    held = ledger.learn_all(TENANT, [STREAM], told)
    assert held is not None
    heir, retired = held[STREAM]
    assert heir.segments == flushed
    assert (retired.segments, retired.batches, retired.memtable.rows) == ((), 0, 0)
    assert merged_shape(held[STREAM]).rows == flushed[0].rows


def test_what_an_heir_of_an_heir_took_over_is_read_once() -> None:
    """The shard in between wrote nothing of the stream itself: it has what it took over, and so has its heir."""
    given = (replace(segment(1), name="shards/0002/segments/acme/logs/w-00000001-00000001.parquet"),)
    holdings = [
        Holding(shard, 5, 20, given, shape_of_segments(given), StreamShape(), 0, adopted={2: 7}) for shard in (0, 1)
    ]
    assert [holding.segments for holding in each_once(holdings)] == [given, ()]


def test_a_shard_that_was_restarted_tells_everything_anew() -> None:
    ledger = Ledger()
    learn(ledger, Teller().tell(snapshot(5, [1, 2]), 0))
    told = Teller().tell(snapshot(6, [1, 2, 3]), version(ledger))
    assert told.base == 0 and len(told.added) == 3
    assert names(learn(ledger, told)) == {"s1", "s2", "s3"} and version(ledger) == 6


def test_versions_long_gone_are_told_in_whole() -> None:
    teller = Teller()
    for number in range(1, 10):
        teller.tell(snapshot(number, [number]), 0)
    assert teller.tell(snapshot(10, [10]), 1).base == 0
    assert teller.tell(snapshot(10, [10]), 9).base == 9


def test_a_change_whose_base_is_gone_is_asked_for_anew() -> None:
    teller, ledger = Teller(), Ledger()
    learn(ledger, teller.tell(snapshot(5, [1]), 0))
    late = teller.tell(snapshot(6, [1, 2]), 5)
    learn(ledger, teller.tell(snapshot(7, [1, 2, 3]), 5))
    assert learn(ledger, late) is None
    assert learn(Ledger(), late) is None
    assert names(learn(ledger, teller.tell(snapshot(6, [1, 2]), 0))) == {"s1", "s2"}
    assert version(ledger) == 7  # an older list does not replace a newer one


def test_shapes_are_those_of_the_snapshot() -> None:
    rng = random.Random(5)
    teller, ledger = Teller(), Ledger()
    held = [1]
    for number in range(1, 60):
        held = sorted({*rng.sample(held, rng.randrange(len(held) + 1)), *rng.sample(range(50), rng.randrange(4)), 0})
        now = snapshot(number, held, batches=rng.randrange(3))
        known = version(ledger) if rng.random() < 0.8 else 0
        holding = learn(ledger, teller.tell(now, known))
        assert names(holding) == {s.name for s in now.segments} and holding is not None
        assert holding.segments_shape == shape_of_segments(now.segments)
        assert merged_shape([holding]) == describe(now)


def test_many_threads_never_learn_a_wrong_list() -> None:
    teller, ledger = Teller(), Ledger()
    latest = [1]
    wrong: list[object] = []

    def contents(number: int) -> list[int]:
        return [n for n in range(number % 40 + 1) if (n + number) % 3]

    def ask(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(150):
            if rng.random() < 0.3:
                latest[0] += 1
            number = latest[0] - rng.randrange(2) if latest[0] > 1 else 1
            told = teller.tell(snapshot(number, contents(number)), version(ledger))
            holding = learn(ledger, told)
            expected = {f"s{n}" for n in contents(number)}
            if holding is not None and {s.name for s in holding.segments} != expected:
                wrong.append((number, told))

    threads = [threading.Thread(target=ask, args=(seed,), daemon=True) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


class Shards:
    """Two shards; `moves` are called before each describe."""

    shards: tuple[int, ...] = (0, 1)

    def __init__(self, moves: list[object] | None = None) -> None:
        self.tellers = [Teller(), Teller()]
        self.held = [[1], [2]]
        self.version = 3
        self.asked: list[list[dict[str, int]]] = []
        self.before_answer: list[object] = moves or []

    def describe(self, query_id, tenant, known, timeout_s):  # type: ignore[no-untyped-def]
        self.asked.append([dict(versions) for versions in known.values()])
        answers = {
            shard: {STREAM: self.tellers[shard].tell(snapshot(self.version, self.held[shard]), known[shard][STREAM])}
            for shard in known
        }
        if self.before_answer:
            self.before_answer.pop(0)()  # type: ignore[operator]
        return answers


def test_a_snapshot_is_taken_anew_when_another_query_moved_the_ledger() -> None:
    shards, ledger = Shards(), Ledger()
    take_snapshot(shards, ledger, "q1", TENANT, [STREAM], 1.0)

    def another() -> None:
        shards.version, shards.held = 5, [[1, 11, 12], [2, 22]]
        take_snapshot(shards, ledger, "q2", TENANT, [STREAM], 1.0)

    shards.version, shards.held = 4, [[1, 11], [2]]
    shards.before_answer = [another]
    held = take_snapshot(shards, ledger, "q3", TENANT, [STREAM], 1.0)
    assert shards.asked[-1] == [{STREAM: 0}, {STREAM: 0}]
    assert [names(holding) for holding in held[STREAM]] == [{"s1", "s11", "s12"}, {"s2", "s22"}]
    assert [holding.version for holding in held[STREAM]] == [5, 5]


@pytest.mark.parametrize("count", [1, 3])
def test_each_shard_is_asked_once_with_what_is_known_of_it(count: int) -> None:
    shards, ledger = Shards(), Ledger()
    for _ in range(count):
        take_snapshot(shards, ledger, "q", TENANT, [STREAM], 1.0)
    assert shards.asked == [[{STREAM: 0}] * 2, *([[{STREAM: 3}] * 2] * (count - 1))]


def test_shards_are_asked_anew_when_they_changed_meanwhile() -> None:
    def retire() -> None:
        shards.shards = (0,)  # and the first may have rewritten what was the other's

    shards = Shards([retire])
    held = take_snapshot(shards, Ledger(), "q", TENANT, [STREAM], 1.0)
    assert [holding.shard for holding in held[STREAM]] == [0] and len(shards.asked) == 2
