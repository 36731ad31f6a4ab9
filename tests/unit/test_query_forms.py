"""Every form of SELECT in tests/scripts/select_forms.sql equals plain DuckDB; DuckDB also judges the grammar.

A form is read without loss when DuckDB's own tree of the rendered text is the tree of the text as it was written.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from sqlglot.errors import SqlglotError

from query.dialect import DIALECT, render
from query.fragment import GATHER
from tests.unit.test_query_differential import rows_of, same_types
from tests.unit.test_query_shards import NOW_US, Shards, build_shards, oracle

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

FORMS = Path(__file__).resolve().parents[1] / "scripts" / "select_forms.sql"
# What SUMMARIZE estimates, or adds up in another order.
ESTIMATES = {"approx_unique", "avg", "std", "q25", "q50", "q75"}


def sections() -> dict[str, list[str]]:
    """Statements of the script by the comment above them."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in FORMS.read_text(encoding="utf-8").splitlines():
        if line.startswith("-- "):
            name = line[3:]
        elif line.startswith(" "):
            found[name][-1] += "\n" + line
        elif line:
            found.setdefault(name, []).append(line)
    return found


SECTIONS = sections()
STATEMENTS = [statement for statements in SECTIONS.values() for statement in statements]


def theirs(query: str) -> str:
    """`query` for the table that has a column per path: a dotted path is one quoted name there."""
    dotted = r'(?i)(?<!["\w])((?:logs|l|m|q|t|a)\.)??(http\.status_code|a\.b\.c\.d\.e)\b(?!")'
    query = re.sub(dotted, lambda found: f'{found[1] or ""}"{found[2]}"', query)
    return query.replace("now()", f"make_timestamptz({NOW_US})")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    built = build_shards(tmp_path_factory.mktemp("forms"), parts=1)
    yield built
    built.executor.close()


@pytest.fixture(scope="module")
def plain(shards: Shards) -> Iterator[Any]:
    connection = oracle(shards.events)
    yield connection
    connection.close()


def exact(table: pa.Table, query: str) -> pa.Table:
    dropped = ESTIMATES & set(table.column_names) if "SUMMARIZE" in query else set()
    return table.drop_columns(sorted(dropped))


def check(shards: Shards, plain: Any, query: str) -> None:
    mine = exact(shards.query(query), query)
    expected = exact(plain.sql(theirs(query)).to_arrow_table(), query)
    ordered = "ORDER BY" in query.rsplit(")", maxsplit=1)[-1]
    assert rows_of(mine, ordered) == rows_of(expected, ordered)
    assert same_types(mine, expected)
    if theirs(query) == query:
        assert mine.column_names == expected.column_names


def test_there_are_many_forms() -> None:
    assert len(STATEMENTS) > 600
    assert len(set(STATEMENTS)) == len(STATEMENTS)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_form_equals_the_engine_over_one_table(shards: Shards, plain: Any, section: str) -> None:
    for query in SECTIONS[section]:
        try:
            check(shards, plain, query)
        except Exception as error:
            raise AssertionError(query) from error


def test_column_aliases_follow_the_order_of_a_star(shards: Shards) -> None:
    star = shards.query("SELECT * FROM logs LIMIT 0").column_names
    assert star == ["timestamp", *sorted(star[1:])]
    renamed = shards.query("SELECT * FROM logs AS l(at, deep) LIMIT 0").column_names
    assert renamed == ["at", "deep", *star[2:]]


def test_a_pivot_with_groups_reads_nothing_but_its_paths(shards: Shards) -> None:
    planned = shards.plan("PIVOT logs ON level USING max(id) GROUP BY http.status_code")
    (scan,) = planned.leaf.scans
    assert planned.kind == GATHER
    assert {column.path for column in scan.columns} == {"level", "id", "http.status_code"}


def test_describing_a_query_reads_no_events(shards: Shards) -> None:
    planned = shards.plan("DESCRIBE SELECT sum(duration) FROM logs")
    assert planned.leaf.scans == ()
    assert planned.table.column("column_name").to_pylist() == ["sum(duration)"]


VISIBLE = ["timestamp", "id", "service", "span"]
HIDING = """
SELECT COLUMNS('.*') FROM traces WHERE _shard = 0
SELECT COLUMNS(lambda c: true) FROM traces WHERE nope IS NULL
SELECT COLUMNS(*) FROM traces WHERE _shard = 0
SELECT * LIKE '%' FROM traces WHERE _shard = 0
SELECT * ILIKE '%' FROM traces WHERE _shard = 0
SELECT * REPLACE (1 AS id) FROM traces WHERE _shard = 0
SELECT min(COLUMNS(t.*)) FROM traces t WHERE t._shard = 0
SELECT * FROM traces NATURAL JOIN (SELECT id FROM traces) t WHERE _shard = 0
SELECT * FROM (SELECT COLUMNS('.*') FROM traces WHERE _shard = 0)
SELECT unnest(t) FROM traces t WHERE t._shard = 0 AND t.nope IS NULL
"""


@pytest.mark.parametrize("query", [line for line in HIDING.splitlines() if line])
def test_columns_that_a_query_only_needs_are_not_shown(shards: Shards, query: str) -> None:
    assert shards.query(query).column_names == VISIBLE


# -- the grammar, with DuckDB's own parser as the judge


class Judge:
    """DuckDB's parser: texts to trees, without the places of their parts."""

    def __init__(self) -> None:
        self._connection = duckdb.connect()

    def tree(self, text: str) -> Any:
        """The select list of `text` with its whole structure, None when DuckDB cannot read it."""
        (answer,) = self._connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [text]).fetchone()
        statements = json.loads(answer).get("statements")
        return _shape(statements[0]["node"]["select_list"]) if statements else None


def _shape(node: Any) -> Any:
    if isinstance(node, list):
        return [_shape(item) for item in node]
    if not isinstance(node, dict):
        return str(node).lower()
    kind = node.get("type")
    children = node.get("children")
    if kind == "OPERATOR_IS_NOT_NULL":
        return ["OPERATOR_NOT", [["OPERATOR_IS_NULL", _shape(children)]]]
    if kind in ("OPERATOR_NOT", "OPERATOR_IS_NULL"):
        return [kind, _shape(children)]
    if kind == "COMPARE_NOT_IN":
        return ["OPERATOR_NOT", [_shape({**node, "type": "COMPARE_IN"})]]
    if kind == "FUNCTION" and len(node["qualified_name"]["path"]) > 1:
        # A method call, as DuckDB has it before it looks at names.
        *receiver, name = node["qualified_name"]["path"]
        column = {"type": "COLUMN_REF", "class": "COLUMN_REF", "alias": "", "column_names": receiver}
        arguments = [{"name": "", "expression": column}, *node["arguments"]]
        return _shape({**node, "schema": "", "catalog": "", "arguments": arguments, "qualified_name": {"path": [name]}})
    hidden = {"query_location", "query_location_length"}
    return {key: _shape(value) for key, value in node.items() if key not in hidden}


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


INFIX = re.findall(r"\S+", "+ - * / // % ^ ** || = <> < <= AND OR LIKE ~ !~ & | << >> @> <@ && ^@ GLOB ILIKE")
INFIX += ["NOT LIKE", "NOT ILIKE", "IS DISTINCT FROM", "IS NOT DISTINCT FROM", "SIMILAR TO", "NOT SIMILAR TO"]
PATHS = ["->", "->>"]
SIGNS = [" -", " ~"]
POSTFIX = ["::INT", "[1]", "[1:2]", "COLLATE NOCASE", "AT TIME ZONE 'UTC'", ".abs()"]
TESTS = ["IS NULL", "IS NOT NULL", "IS TRUE", "BETWEEN a AND b", "NOT BETWEEN a AND b", "IN (a, b)", "NOT IN (a, b)"]
OPERANDS = ["a", "b", "1", "'x'", "l.a", "f(a)", "[a, b]", "{'k': a}", "(a)", "CASE WHEN a THEN b END", "a.b.c", "5!"]
OPERANDS += ["DATE '2026-01-01'", "INTERVAL 1 DAY", "CAST(a AS INT)", "(SELECT 1)", "count(*)"]


def random_expression(rng: random.Random) -> str:
    """A random chain of operators, most of them without a meaning: it is about what DuckDB's parser makes of it."""
    signs, infix = (SIGNS, INFIX) if rng.random() < 0.5 else ([], INFIX + PATHS * 3)
    text = rng.choice(["", "", "NOT "])
    for position in range(rng.choice([1, 2, 2, 3])):
        text += f" {rng.choice(infix)} " if position else ""
        text += rng.choice(["", "", *signs]) + rng.choice(OPERANDS)
        text += "".join(f" {rng.choice(POSTFIX)}" for _ in range(rng.choice([0, 0, 0, 1, 1, 2])))
    return text + rng.choice(["", "", f" {rng.choice(TESTS)}"])


@pytest.mark.parametrize("seed", range(3))
def test_operators_bind_as_the_engine_has_it(judge: Judge, seed: int) -> None:
    rng = random.Random(seed)
    read = refused = 0
    for _ in range(500):
        text = f"SELECT {random_expression(rng)} FROM l"
        wanted = judge.tree(text)
        if wanted is None:
            continue
        try:
            rendered = render(DIALECT.parse(text)[0])
        except SqlglotError:
            refused += 1  # and so never another query
            continue
        assert judge.tree(rendered) == wanted, (text, rendered)
        read += 1
    assert read > 300
    assert refused < read / 10


WORDS = re.findall(
    r"\w+",
    """
index key keys user name type value values_ count status level version format method path host message error source
target order_id label kind url comment text json map list array blob date time year month day hour minute second
interval end_ start begin first last rank row rows range filter set show describe summarize pivot_ sample share
alter drop insert update delete merge grant revoke cache lock force install load copy use call commit rollback xor
rlike regexp cube rollup ordinal zone schema catalog database table_ view function procedure trigger partition window_
over_ exclude replace rename struct tags data timestamp language percent apply temp temporary at columns
""",
)
PLACES = """
SELECT {w} FROM t
SELECT t.{w}, {w}.a, a.{w}, a.b.{w} FROM t
SELECT a AS {w}, {w} + 1, {w}::INT, {w} || 'a', sum({w}), {w}[1], ({w}), -{w} FROM t
SELECT 1 FROM t WHERE {w} = 1 AND {w} IS NULL AND NOT {w} AND {w} IN (1) AND a > {w} ORDER BY {w} DESC
SELECT {w}.upper() FROM t
SELECT CASE WHEN {w} THEN {w} END, {{'{w}': {w}}}, list(a ORDER BY {w}) FROM t
SELECT count(*) OVER (PARTITION BY {w} ORDER BY {w}), count(DISTINCT {w}) FROM t
"""


def test_paths_may_be_called_like_words_of_other_statements(judge: Judge) -> None:
    tried = 0
    for word in WORDS:
        for place in PLACES.strip().splitlines():
            text = place.format(w=word)
            wanted = judge.tree(text)
            if wanted is not None:
                assert judge.tree(render(DIALECT.parse(text)[0])) == wanted, text
                tried += 1
    assert tried > 600


def test_every_function_is_a_plain_call(judge: Judge) -> None:
    names = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type <> 'table'"
    functions = [name for (name,) in duckdb.connect().execute(names).fetchall() if name.isidentifier()]
    for name in functions:
        text = f"SELECT {name}(a, b), x.{name}(a), {name}(DISTINCT a) FROM t"
        wanted = judge.tree(text)
        if wanted is not None and name != "map":
            assert judge.tree(render(DIALECT.parse(text)[0])) == wanted, text
    assert len(functions) > 500
