"""Owns the comparison of a query over shards with the same over plain tables, and the shrinking of what differs."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from core.errors import InvalidQuery
from query.dialect import DIALECT, render
from query.executor import Executor
from storage.value_lists import VALUES_MAX
from tests.support.file_indexes import FileIndexes
from tests.support.query_data import Data
from tests.support.query_generator import Query, generate
from tests.support.query_oracle import Oracle, ours, theirs
from tests.unit import test_query_shards
from tests.unit.test_query_shards import NOW_US, Shards

# What an answer is when there is none.
REFUSED: Final = "an error"
BROKEN: Final = "the oracle's own failure"

# What DuckDB 2.0 says of CASE WHEN time >= time - INTERVAL '1 hour' THEN NULL ELSE 'a' END = 'a'.
ENGINE_BUG: Final = "bindBuiltinScalarFunction did not return"

Answer = pa.Table | str
Ask = Callable[[str], Answer]


@dataclass(frozen=True, slots=True)
class Switch:
    """A way to run the same queries otherwise.

    Another spread of the rows, only some shards with a memtable, partial states kept or not, readers beside the shards,
    each query asked several times (the last answer counts), or a part of the engine off.
    """

    name: str
    shards: int | None = None
    parts: int | None = None
    readers: int = 0
    states: bool = True
    asked: int = 1
    memtables: int | None = None
    off: Callable[[], AbstractContextManager[Any]] = nullcontext


@contextmanager
def engine() -> Iterator[tuple[Path, Executor]]:
    """A directory for segments, and an executor that may read there: for many data sets."""
    with tempfile.TemporaryDirectory(prefix="malamute-queries-") as directory:
        executor = Executor(threads=1, memory_bytes=2**29, data_directories=[directory])
        try:
            yield Path(directory), executor
        finally:
            executor.close()


def spread(data: Data, directory: Path, executor: Executor, switch: Switch = Switch("")) -> Shards:
    """The streams of `data` on fake shards; `directory` is made, one for each spread."""
    directory.mkdir()
    with patch.object(test_query_shards, "SHARDS", switch.shards or data.shards):
        shards = Shards(directory, executor, readers=switch.readers, memtables=switch.memtables)
        if not switch.states:
            shards.states = None
        # Lists of all values on some, and string zone maps of most texts on others.
        shards.indexes = FileIndexes(test_query_shards.ROW_GROUP, (VALUES_MAX, 1)[(data.shards + data.parts) % 2])
        for stream in data.streams:
            shards.add(stream.name, [dict(event) for event in stream.events], switch.parts or data.parts)
    return shards


def from_shards(shards: Shards, template: str) -> Answer:
    """The answer of the engine under test; anything but rows and InvalidQuery is raised."""
    try:
        return shards.query(ours(template))
    except InvalidQuery as error:
        return BROKEN if ENGINE_BUG in str(error) else f"{REFUSED} ({error})"


def from_oracle(oracle: Oracle, template: str) -> Answer:
    """The answer of the plain tables."""
    try:
        return oracle.query(theirs(template, NOW_US))
    except (duckdb.InternalException, duckdb.FatalException):
        return BROKEN
    except duckdb.Error:
        return REFUSED


def difference(mine: Ask, expected: Ask, query: Query) -> str:
    """What differs between two answers to `query`, "" when nothing does."""
    wanted = expected(query.template)
    if isinstance(wanted, str) and wanted == BROKEN:
        return ""
    try:
        got = mine(query.template)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if isinstance(got, str) and got == BROKEN:
        return ""
    if isinstance(got, str) or isinstance(wanted, str):
        return "" if isinstance(got, str) and isinstance(wanted, str) else f"{_short(got)} instead of {_short(wanted)}"
    return _table_difference(got, wanted, query.ordered)


def _short(answer: Answer) -> str:
    return answer if isinstance(answer, str) else f"{answer.num_rows} rows"


def _table_difference(got: pa.Table, wanted: pa.Table, ordered: bool) -> str:
    types = [[str(field.type).replace("Etc/UTC", "UTC") for field in table.schema] for table in (got, wanted)]
    if types[0] != types[1]:
        return f"types {types[0]} instead of {types[1]}"
    mine, theirs_ = _rows(got), _rows(wanted)
    if len(mine) != len(theirs_):
        return f"{len(mine)} rows instead of {len(theirs_)}"
    if not ordered:
        mine.sort(key=repr)
        theirs_.sort(key=repr)
    for one, other in zip_longest(mine, theirs_):
        if not same(one, other) and (ordered or not _same_set(mine, theirs_)):
            return f"{one!r} instead of {other!r}"
    return ""


def _same_set(mine: list[Any], wanted: list[Any]) -> bool:
    """Whether both hold the same rows where rounding has put them in another order."""
    left = list(wanted)
    for row in mine:
        found = next((index for index, other in enumerate(left) if same(row, other)), None)
        if found is None:
            return False
        left.pop(found)
    return not left


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True)) if table.num_columns else []


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal but for what rounding makes of floats: sums depend on the order of their terms."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and bool(one == other)


# -- shrinking


def shrink(query: Query, fails: Callable[[Query], bool], tries: int = 400) -> Query:
    """A smaller query that still fails: parts are left out as long as it does."""
    done = False
    while not done:
        done = True
        for smaller in _smaller(query):
            tries -= 1
            if tries < 0:
                return query
            if len(smaller.template) < len(query.template) and fails(smaller):
                query, done = smaller, False
                break
    return query


def _smaller(query: Query) -> Iterator[Query]:
    try:
        tree = _tree(query.template)
    except (SqlglotError, RecursionError):
        return
    for position, node in enumerate(list(tree.walk())):
        for change in _changes(node):
            copied = tree.copy()
            target = list(copied.walk())[position]
            replacement = change(target)
            result = replacement if replacement is not None and target is copied else copied
            ordered = query.ordered and bool(result.args.get("order"))
            try:
                yield Query(render(result), ordered)
            except (SqlglotError, InvalidQuery):
                continue


def _tree(text: str) -> exp.Expr:
    """The tree of `text`, also when the grammar under test cannot read it."""
    try:
        return DIALECT.parse(text)[0]
    except SqlglotError:
        return sqlglot.parse_one(text, dialect="duckdb")


def _changes(node: exp.Expr) -> Iterator[Callable[[exp.Expr], exp.Expr | None]]:
    """Ways to make a tree smaller at `node`."""

    def without(*names: str) -> Callable[[exp.Expr], None]:
        def drop(target: exp.Expr) -> None:
            for name in names:
                target.set(name, None)

        return drop

    def child(name: str, index: int = 0) -> Callable[[exp.Expr], exp.Expr | None]:
        def lift(target: exp.Expr) -> exp.Expr | None:
            inner = target.args[name]
            inner = inner[index] if isinstance(inner, list) else inner
            return target.replace(inner.copy()) if target.parent else inner.copy()

        return lift

    def drop_item(index: int) -> Callable[[exp.Expr], None]:
        return lambda target: target.set("expressions", [e for i, e in enumerate(target.expressions) if i != index])

    if isinstance(node, exp.SetOperation):
        yield child("this")
        yield child("expression")
    if isinstance(node, (exp.Select, exp.SetOperation)):
        yield without("limit", "offset")
        yield without("order", "limit", "offset")
        for name in ("where", "having", "qualify", "distinct", "with_", "joins", "group"):
            if node.args.get(name):
                yield without(name)
    if isinstance(node, (exp.Select, exp.In, exp.Group)) and len(node.expressions) > 1:
        for index in range(len(node.expressions)):
            yield drop_item(index)
    if isinstance(node, exp.Binary) and not _holds_marked(node):
        yield child("this")
        yield child("expression")
    if isinstance(node, (exp.Paren, exp.Not, exp.Neg, exp.Filter)) and not _holds_marked(node):
        yield child("this")
    if isinstance(node, exp.Case):
        yield child("default")
    if isinstance(node, exp.Anonymous) and len(node.expressions) > 1 and not _holds_marked(node):
        yield child("expressions")


def _holds_marked(node: exp.Expr) -> bool:
    """Whether a path directly below is marked: its mark says what this very place asks for."""
    return any(isinstance(part, exp.Column) and part.name[:1] in "#$" for part in node.iter_expressions())


def kind_of(said: str) -> str:
    """What sort of difference it is: a shrunk query has to show the same sort."""
    if said.startswith(REFUSED):
        return said[:40]
    for sort in (f"instead of {REFUSED}", "types ", "rows instead"):
        if sort in said:
            return sort
    return said.partition(":")[0] if ": " in said[:30] else "values" if said else ""


def report(seed: int, query: Query, said: str) -> str:
    """A failure as a person wants to read it."""
    return (
        f"seed {seed}: {said}\n  query:  {ours(query.template)}\n  oracle: {theirs(query.template, NOW_US)}\n"
        f"  template: {query.template}"
    )


def failures(seed: int, queries: int, directory: Path, executor: Executor, shrunk: bool = True) -> Iterator[str]:
    """Reports of the queries of `seed` that the engine answers otherwise than plain tables do."""
    data, templates = generate(seed, queries)
    shards = spread(data, directory / f"seed-{seed}", executor)
    oracle = Oracle(data)
    try:

        def said(query: Query) -> str:
            return difference(lambda text: from_shards(shards, text), lambda text: from_oracle(oracle, text), query)

        for query in templates:
            found = said(query)
            if found:
                kind = kind_of(found)
                smaller = shrink(query, lambda tried, kind=kind: kind_of(said(tried)) == kind) if shrunk else query
                yield report(seed, smaller, said(smaller))
    finally:
        oracle.close()
