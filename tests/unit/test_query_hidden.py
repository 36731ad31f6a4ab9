"""What deletes and retention hide from queries, without Ray: against the same question over the rows that are left."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from core.clock import ManualClock
from core.errors import InvalidQuery, NotFound
from query.coordinate import Queries
from query.hidden import counting, expired_events, parse_where
from query.options import QueryOptions
from storage.deletes import HELD, Delete, delete_from_plain, delete_to_plain
from storage.retention import Retention
from storage.stream_settings import StreamSettings
from tests.support.local_backend import FixedSnapshots, FixedStreams, LocalBackend, memory_states
from tests.unit.test_query_past import BATCHES, FIRST_US, QUESTIONS, SECOND_US, Past
from tests.unit.test_query_shards import NOW_US

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

EVENTS = 5 * BATCHES
WHERES = (
    "n = 7",
    "service = 's1'",
    "n % 4 = 1 AND n > 20",
    "message LIKE '%7'",
    "n IN (1, 2, 3)",
    "matches('event 9')",
)


@pytest.fixture(scope="module")
def past(tmp_path_factory) -> Past:
    return Past(tmp_path_factory.mktemp("hidden"))


class Asker:
    """Queries over the events of `past`, some of which are hidden."""

    def __init__(self, past: Past, readers: int = 0) -> None:
        self.streams = FixedStreams([StreamSettings("logs")])
        backend = LocalBackend(past.snapshots, past.executor, readers, memory_states())
        self.clock = ManualClock(NOW_US)
        self.queries = Queries(backend, past.executor, self.clock, self.streams, FixedSnapshots(past.named))

    def delete(self, where: str, number: int = 1) -> Delete:
        delete = replace(self.queries.delete_of("default", "logs", where), id=number)
        self.streams.pending.append(delete)
        return delete

    def ask(self, text: str, at: str | int | None = None) -> list[dict[str, object]]:
        answers = [self.queries.answer(text, None, "default", QueryOptions(at=at)).table.to_pylist() for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]
        return answers[0]


@pytest.mark.parametrize(("readers", "where"), [(number % 3, where) for number, where in enumerate(WHERES)])
def test_every_question_is_answered_as_if_the_events_were_not_there(past: Past, readers: int, where: str) -> None:
    asker = Asker(past, readers)
    whole = [asker.ask(question) for question in QUESTIONS]
    matched = asker.ask(counting("logs", where))[0]["count_star()"]
    left = [row["n"] for row in asker.ask(f"SELECT n FROM logs WHERE NOT coalesce(({where}), false) ORDER BY n")]
    delete = asker.delete(where)
    assert delete.matched == matched == EVENTS - len(left) > 0
    assert [row["n"] for row in asker.ask("SELECT n FROM logs ORDER BY n")] == left
    assert asker.ask(counting("logs", where))[0]["count_star()"] == 0
    assert asker.ask("SELECT max(n) AS m FROM logs WHERE n < 1000", "named") == asker.ask(
        f"SELECT max(n) AS m FROM logs WHERE NOT coalesce(({where}), false)", "named"
    )
    assert asker.queries.remaining(delete) == matched
    asker.streams.pending.clear()
    assert [asker.ask(question) for question in QUESTIONS] == whole  # nothing that was kept is of the hidden ones


@pytest.mark.parametrize("question", QUESTIONS)
def test_two_deletes_and_a_retention_hide_what_each_of_them_does(past: Past, question: str) -> None:
    asker = Asker(past)
    asker.delete("n = 7", 1)
    asker.delete("service = 's1'", 2)
    asker.streams.kept["logs"] = Retention(age_us=NOW_US - FIRST_US - 4 * SECOND_US)
    cut_us = asker.streams.kept["logs"].cut_us(NOW_US)
    kept = f"SELECT *, _ingested_at FROM logs WHERE n <> 7 AND service <> 's1' AND epoch_us(timestamp) >= {cut_us}"
    over = question.replace("FROM logs", "FROM kept").replace("JOIN logs", "JOIN kept").removeprefix("WITH ")
    asked = f"WITH kept AS ({kept}){', ' if question.startswith('WITH') else ' '}{over}"
    assert asker.ask(question) == Asker(past).ask(asked)


def test_events_at_or_beyond_the_bound_stay(past: Past) -> None:
    asker = Asker(past)
    delete = asker.delete("true")
    assert delete.bounds == {0: EVENTS // 2, 1: EVENTS // 2}
    asker.streams.pending[0] = replace(delete, bounds={0: 3, 1: 0})
    assert asker.ask("SELECT count(*) AS c FROM logs") == [{"c": EVENTS - 3}]
    assert asker.queries.remaining(asker.streams.pending[0]) == 3


def test_what_is_rewritten_stays_hidden_in_named_snapshots_only(past: Past) -> None:
    asker = Asker(past)
    delete = asker.delete("n = 3")
    asker.streams.pending[0] = replace(delete, rewritten_at_us=NOW_US)
    assert asker.streams.pending[0].state == HELD
    assert asker.ask("SELECT count(*) AS c FROM logs WHERE n = 3") == [{"c": 1}]
    assert asker.ask("SELECT count(*) AS c FROM logs WHERE n = 3", "named") == [{"c": 0}]
    assert asker.queries.remaining(delete, past.named) == 1


def test_retention_hides_nothing_in_a_named_snapshot(past: Past) -> None:
    asker = Asker(past)
    asker.streams.kept[""] = Retention(age_us=60_000_000)
    assert asker.ask("SELECT count(*) AS c FROM logs") == [{"c": 0}]
    assert asker.ask("SELECT count(*) AS c FROM logs", "named") == [{"c": EVENTS // 2}]


def test_a_condition_that_fails_on_an_event_does_not_mean_it(past: Past) -> None:
    asker = Asker(past)
    delete = asker.queries.delete_of("default", "logs", "n < 5")
    asker.streams.pending.append(replace(delete, id=1, where="CAST(message AS INTEGER) = 1 OR 1 // n = 1"))
    assert asker.ask("SELECT count(*) AS c FROM logs") == [{"c": EVENTS}]


@pytest.mark.parametrize(
    ("where", "message", "line", "column"),
    [
        ("n = ", "cannot parse the condition", 1, 5),
        ("n = 1\nAND m === 2", "not supported", 2, 9),
        ("nosuch(n) = 1", "nosuch", 1, 1),
        ("n = (SELECT 1)", "a subquery is not allowed", 1, 13),
        ("n = 1) OR (n = 2", "is not one condition", 0, 0),
        ("n = 1) UNION SELECT (1", "is not one condition", 0, 0),
        ("", "is not one condition", 0, 0),
        ("timestamp < now()", "the same tomorrow", 1, 13),
        ("random() < 0.5", "the same tomorrow", 1, 1),
        ("count(*) > 1", "not allowed in the condition", 1, 7),
        ("row_number() OVER () = 1", "not allowed in the condition", 1, 1),
        ("read_csv('x') = 1", "read_csv", 1, 1),
        ("n = 1; DROP TABLE logs", "cannot parse the condition", 1, 6),
        ("x" * 300_000, "shorten it", 0, 0),
    ],
)
def test_a_condition_that_cannot_be_is_refused_with_its_place(
    past: Past, where: str, message: str, line: int, column: int
) -> None:
    with pytest.raises(InvalidQuery, match=message) as refused:
        Asker(past).queries.delete_of("default", "logs", where)
    assert (refused.value.line, refused.value.column) == (line, column)


def test_a_stream_that_is_not_there_is_not_found(past: Past) -> None:
    with pytest.raises(NotFound, match="did you mean 'logs'"):
        Asker(past).queries.delete_of("default", "logz", "n = 1")


def test_a_delete_is_stored_and_read_back_as_it_was(past: Past) -> None:
    delete = Asker(past).delete("n = 7 AND service = 's1'")
    assert sorted(delete.paths) == ["n", "service"]
    assert delete_from_plain(delete_to_plain(delete)) == delete


def test_what_retention_keeps_is_not_asked_for_where_all_of_a_segment_is_kept() -> None:
    assert expired_events("logs", FIRST_US).kept is not None
    assert parse_where("logs", "n = 1 -- a remark").streams == {"logs"}


def test_random_deletes_agree_with_a_list(past: Past) -> None:
    rng = random.Random(5)
    asker = Asker(past)
    left = set(range(EVENTS))
    for number in range(1, 9):
        low, modulus = rng.randrange(EVENTS), rng.randrange(2, 9)
        asker.delete(f"n >= {low} AND n % {modulus} = 0", number)
        left -= {n for n in left if n >= low and n % modulus == 0}
        assert [row["n"] for row in asker.ask("SELECT n FROM logs ORDER BY n")] == sorted(left)
        assert asker.ask("SELECT count(*) AS c, sum(n) AS s FROM logs") == [{"c": len(left), "s": sum(left) or None}]
