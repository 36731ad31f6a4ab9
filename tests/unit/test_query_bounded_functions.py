"""Functions that make much of little: as the engine has them, up to a bound."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from core.errors import InvalidQuery
from query.executor import Executor
from query.parse import parse

SAME = [
    "repeat('ab', 3), repeat([1, 2], 2), repeat('a'::BLOB, 2), repeat(NULL, 2), repeat('a', NULL), repeat('a', -1)",
    "range(3), range(-1), range(1, 3), range(9, 1, -2), range(NULL), generate_series(2), generate_series(1, 9, 4)",
    "range(DATE '2020-01-01', DATE '2020-01-03', INTERVAL 1 DAY)",
    "generate_series(TIMESTAMP '2020-01-03', TIMESTAMP '2020-01-01', -INTERVAL '1 hour')",
    "range(TIMESTAMPTZ '2020-01-01', TIMESTAMPTZ '2021-01-01', INTERVAL 1 MONTH)",
    "lpad('a', 3, 'xy'), rpad('abc', 2, '.'), bitstring('101', 8), list_resize([1], 3), array_resize([1], 3, 0)",
    "replace('aba', 'a', 'cc'), regexp_replace('aba', 'a', 'x'), regexp_replace('aba', 'A', 'x', 'gi')",
    "count(*) OVER (PARTITION BY replace(t, 'a', 'b'), regexp_replace(t, 'a', 'b')) FROM (VALUES ('a')) v(t)",
    "count(*) OVER (PARTITION BY lpad(t, 9, '.'), repeat(t, 2), range(n), range(1, n, 2), levenshtein(t, 'b')) "
    "FROM (VALUES ('a', 3)) v(t, n)",
    "levenshtein('abc', 'b'), damerau_levenshtein('ab', 'ba'), jaro_similarity('ab', 'ac')",
    "jaro_winkler_similarity('duck', 'duckdb', 0.5), editdist3('a', 'b')",
    "format('{:>5}|{}', 'x', 1), printf('%5d %s', 3, 'a')",
    "list_transform([1, 2], lambda x: lpad(x::VARCHAR, 3, '0')), [repeat('a', 2) for x in range(3)]",
]
TOO_MUCH = [
    "repeat('x', 300000)",
    "repeat(repeat('x', 1000), 1000)",
    "repeat(service, 100000000) FROM (VALUES ('web')) t(service)",
    "range(10000000000)",
    "range(1, 1e12::BIGINT)",
    "range(1000000, 0, -1)",
    "unnest(generate_series(TIMESTAMP '1900-01-01', TIMESTAMP '2900-01-01', INTERVAL 1 MICROSECOND))",
    "list_resize([1], 10000000000)",
    "lpad('x', 2000000000, 'y')",
    "replace(repeat('a', 100000), 'a', repeat('b', 100000))",
    "regexp_replace(repeat('a', 100000), 'a', repeat('b', 1000), 'g')",
    "levenshtein(repeat('a', 100000), repeat('b', 100000))",
    "format('{:>2000000000}', 'x')",
    "format(p, 'x') FROM (VALUES ('{:>2000000000}')) t(p)",
    "printf('%*d', 2000000000, 1)",
    "list_transform(range(100000), lambda x: range(100000))",
    "list_transform(range(100000), lambda x: repeat('x', x))",
    "repeat('x', (random() * 1e9)::BIGINT)",
]


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    executor = Executor()
    yield executor
    executor.close()


@pytest.mark.parametrize("items", SAME)
def test_small_values_are_those_of_the_engine(executor: Executor, items: str) -> None:
    parse(f"SELECT {items}")
    with executor.session(seconds=20) as session:
        ours = session.table(f"SELECT {items}")
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    engine = connection.sql(f"SELECT {items}")
    assert ours.column_names == engine.columns
    assert [tuple(row.values()) for row in ours.to_pylist()] == [
        tuple(row.values()) for row in engine.to_arrow_table().to_pylist()
    ]


@pytest.mark.parametrize("items", TOO_MUCH)
def test_what_is_too_large_is_refused_before_it_is_made(executor: Executor, items: str) -> None:
    with (
        pytest.raises(InvalidQuery, match=r"may make at most|has to be a plain text|in a lambda|must not be random"),
        executor.session(seconds=20) as session,
    ):
        parse(f"SELECT {items}")
        session.table(f"SELECT {items}")
