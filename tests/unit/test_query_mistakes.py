"""What the sender of a wrong query is told: the place, the value and the next step, and no name that a plan made up."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from core.errors import InvalidQuery
from query.coordinate import QueryAnswer
from tests.unit.test_query_shards import Shards, build_shards

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

# query, line, column, part of the message, part of the next step
MISTAKES = [
    ("SELECT lenght(service) FROM logs", 1, 8, "lenght does not exist", 'did you mean "length"'),
    ("SELECT service, level,\n  count(*)\nFROM logs\nGROUP BY service", 1, 17, '"level" must appear', "ANY_VALUE"),
    ("SELECT service FROM logs GROUP BY service ORDER BY id", 1, 52, '"id" must appear', "GROUP BY list"),
    ("SELECT duration + 1, sum(duration) FROM logs", 1, 8, "column duration must appear", "GROUP BY list"),
    ("SELECT id FROM logs\nWHERE count(*) > 1", 2, 7, "WHERE clause cannot contain aggregates", "having"),
    ("SELECT id FROM logs WHERE row_number() OVER () = 1", 1, 27, "window functions", "qualify"),
    ("SELECT sum(count(*)) FROM logs", 1, 12, "cannot be nested", "subquery"),
    ("SELECT service * [1] FROM logs", 1, 8, "'*(DOUBLE, INTEGER[])'", "type casts"),
    ("SELECT (id FROM logs", 1, 12, 'near "FROM"', "check the text"),
    ("SELECT id\nFROM logs\nWHERE (id = 1", 3, 13, 'near "1"', "check the text"),
    ("SELECT id id id FROM logs", 1, 14, 'near "id"', "check the text"),
    ("SELCT id FROM logs", 1, 1, 'near "SELCT"', "check the text"),
    ("SELECT id FROM logs ORDER id", 1, 27, 'near "id"', "check the text"),
    ("SELECT id || FROM logs", 1, 14, 'near "FROM"', "check the text"),
    ("SELECT 'open FROM logs", 1, 8, "unterminated string", "close it"),
    ("SELECT id FROM logs; SELECT service FROM logs", 1, 29, "2 statements", "exactly one"),
    ("", 0, 0, "empty", "send one SELECT"),
    ("INSERT INTO logs VALUES (1)", 1, 1, "insert statements are not allowed", "send one SELECT"),
    ("EXPLAIN DESCRIBE logs", 0, 0, "explain takes a SELECT", "no plan of a describe"),
    (
        "SELECT 1 FROM logs l JOIN traces t USING (id)\nWHERE service = 1",
        2,
        7,
        "'service' is ambiguous",
        "put one of l, t",
    ),
    ("SELECT x.n FROM (SELECT id AS n FROM logs) t", 1, 8, '"x" not found', 'candidate tables: "t"'),
    ("SELECT t.m FROM (SELECT id AS n FROM logs) t", 1, 8, '"m"', "check its name"),
    ("SELECT m FROM (SELECT id AS n FROM logs) t", 1, 8, '"m" not found', 'candidate bindings: "n"'),
    ("SELECT * EXCLUDE (nope) FROM logs", 1, 19, "'nope' in EXCLUDE", "leave it out"),
    ("SELECT * FROM logs l, traces l", 1, 20, "'l' is used twice", "another alias"),
    ("SELECT id::NOPE FROM logs", 1, 12, "NOPE does not exist", "did you mean"),
    ("SELECT id FROM traces WHERE id = 'abc'", 1, 34, "'abc' to INT64", "try_cast"),
    ("SELECT CAST(service AS INTEGER) FROM logs", 1, 8, "to INT32 when casting from", "try_cast"),
    ("SELECT (SELECT id, service FROM logs) FROM traces", 1, 8, "returns 2 columns", "select one column"),
    ("SELECT id FROM logs UNION SELECT id, span FROM traces", 0, 0, "same number of result columns", "by name"),
    ("PIVOT logs ON nope USING count(*)", 1, 15, '"nope" not found', "candidate bindings"),
    ("PIVOT logs ON level USING nope(id)", 1, 27, "nope does not exist", "did you mean"),
    ("SELECT COLUMNS('zzz') FROM logs", 1, 8, "no matching columns", "did you mean"),
    ("SELECT list_transform(tags, x -> x) FROM logs", 0, 0, "lambda arrow", "lambda x"),
    ("SELECT * FROM read_csv('x')", 1, 15, "'read_csv' is not allowed", "use a stream or one of"),
    ("SELECT * FROM main.logs", 1, 20, "'main.logs' is not allowed", "use the stream's name"),
    ("SELECT id FROM logs WHERE id IS NULL + 1", 1, 38, "not supported here", "another way"),
    ("SELECT $1 FROM logs", 0, 0, "parameter '1' has no value", "pass one"),
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    built = build_shards(tmp_path_factory.mktemp("mistakes"), rows=60, parts=1)
    yield built
    built.executor.close()


def answer(shards: Shards, query: str) -> QueryAnswer:
    """Run `query` the whole way of a coordinator."""
    return shards.answer(query)


@pytest.mark.parametrize(("query", "line", "column", "said", "step"), MISTAKES)
def test_a_mistake_has_a_place_and_a_next_step(
    shards: Shards, query: str, line: int, column: int, said: str, step: str
) -> None:
    with pytest.raises(InvalidQuery) as caught:
        answer(shards, query)
    message = str(caught.value)
    assert said in message
    assert step in message
    assert (caught.value.line, caught.value.column) == (line, column), message
    assert not re.search(r"__malamute|sqlglot|LINE \d|\bc\d\b| as DOUBLE|\n", message)
    assert len(message) > len(said) + len(step)


def test_a_path_that_is_not_there_is_a_warning_with_the_next_step(shards: Shards) -> None:
    assert shards.plan("SELECT x.service FROM logs l").warnings == (
        "stream 'logs' has no column for 'x.service', only rare paths are searched: did you mean 'service'?",
    )
    (warning,) = shards.plan('SELECT id FROM traces WHERE service = "cache"').warnings
    assert warning.endswith("it reads as null: if it is a text, put it in single quotes, 'cache'")
