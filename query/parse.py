"""Owns the way from SQL text to a checked statement. Never knows which streams or paths exist."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from itertools import accumulate
from typing import Any, Final

from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from core.errors import InvalidName, InvalidQuery
from core.ids import check_name
from core.limits import SQL_BYTES_MAX, SQL_DEPTH_MAX
from query.allow import check_allowed, other_statement, refusal
from query.dialect import DIALECT, RESERVED, words
from query.dialects import ENGINE, known_dialect, to_engine
from query.grammar import number_marks
from query.mistakes import syntax_error
from query.search.calls import replace_calls

SELECT: Final = "select"
DESCRIBE: Final = "describe"
SHOW: Final = "show"
EXPLAIN: Final = "explain"
EXPLAIN_ANALYZE: Final = "explain_analyze"

_SHOWN_MAX: Final = 300  # characters of a translated query in a message

Parameters = Sequence[Any] | Mapping[str, Any]

# Statements whose words are names to the grammar here.
_OTHER_STATEMENTS: Final = words("alter drop grant insert install revoke rollback checkpoint call export import vacuum")
_FIRST_WORD = re.compile(r"\s*([a-z]+)", re.IGNORECASE)
_EXPLAIN = re.compile(r"\s*explain(?P<analyze>\s+analyze|\s*\(\s*analyze\s*\))?(?=[\s(])", re.IGNORECASE)
_SHOW = re.compile(r"\s*show\s+(streams|tables)\s*;?\s*\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """A checked statement. `streams` are the names it reads, `tree` is sqlglot's, never to be changed in place."""

    kind: str  # SELECT, DESCRIBE (a stream), SHOW; EXPLAIN or EXPLAIN_ANALYZE of the SELECT that the rest is about
    tree: exp.Expr | None
    streams: frozenset[str]
    text: str = ""


def parse(sql: str, params: Parameters | None = None, dialect: str | None = None) -> Statement:
    """The one statement in `sql`, with `params` (by position for `?` and `$1`, by name for `$name`) put in as values.

    `dialect` is that of `sql` where it is not the engine's: one of query.dialects.DIALECTS. Raises InvalidQuery, with
    line and column where known, for anything that is not one allowed statement.
    """
    language = known_dialect(dialect) if dialect is not None else ENGINE
    try:
        size = len(sql.encode())
    except UnicodeEncodeError as error:
        raise InvalidQuery(f"character {error.start + 1} of the query is half of one: send valid text") from error
    if size > SQL_BYTES_MAX:
        raise InvalidQuery(f"a query of {size} bytes is too long: at most {SQL_BYTES_MAX}")
    if RESERVED in sql.lower():
        raise InvalidQuery(f"the text {RESERVED!r} is reserved: take it out of the query")
    if _SHOW.match(sql):
        return Statement(SHOW, None, frozenset())
    kind, inner = _explained(sql)
    if language == ENGINE:
        return _statement(kind, inner, params)
    translated = to_engine(inner, language)
    try:
        statement = _statement(kind, translated, params)
    except InvalidQuery as error:
        # Its place is one in a text that nobody wrote.
        raise InvalidQuery(f"{error} (in DuckDB's SQL: {_shortened(translated)})") from error
    for node in statement.tree.walk() if statement.tree is not None else ():
        node.meta.pop("line", None)
    return replace(statement, text=inner)


def _explained(sql: str) -> tuple[str, str]:
    """The kind of the statement `sql` and the query that it is about, every character at its place."""
    found = _EXPLAIN.match(sql)
    if found is None:
        return SELECT, sql
    blank = "".join(character if character == "\n" else " " for character in found[0])
    return EXPLAIN_ANALYZE if found["analyze"] else EXPLAIN, blank + sql[found.end() :]


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"


def _statement(kind: str, sql: str, params: Parameters | None) -> Statement:
    tree = _one_tree(sql)
    if kind != SELECT and isinstance(tree, (exp.Describe, exp.Summarize)):
        raise InvalidQuery(f"{kind.replace('_', ' ')} takes a SELECT: there is no plan of a {tree.key} statement")
    if isinstance(tree, exp.Describe) and isinstance(tree.this, exp.Table):
        return Statement(DESCRIBE, tree, frozenset({stream_name(tree.this)}))
    check_allowed(tree)
    number_marks(tree)
    _bind(tree, params)
    replace_calls(tree, sql)
    return Statement(kind, tree, frozenset(_streams(tree, frozenset())), sql)


def _one_tree(sql: str) -> exp.Expr:
    try:
        trees = [tree for tree in DIALECT.parse(sql) if tree is not None]
    except (SqlglotError, RecursionError) as error:
        raise _not_parsed(sql, error) from error
    if not trees:
        raise InvalidQuery("the query is empty: send one SELECT statement")
    if len(trees) > 1:
        raise refusal(trees[1], f"{len(trees)} statements are not allowed: send exactly one")
    return trees[0]


def _not_parsed(sql: str, error: Exception) -> InvalidQuery:
    word = _FIRST_WORD.match(sql)
    if word is not None and word[1].lower() in _OTHER_STATEMENTS:
        return other_statement(word[1])
    if isinstance(error, RecursionError) or _depth(sql) > SQL_DEPTH_MAX:
        # The engine's parser would take gigabytes to say what is wrong with it.
        return InvalidQuery("the query is nested too deeply: write it flatter")
    details = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
    near = f" near {details['highlight']!r}" if details.get("highlight") else ""
    width = len(details.get("highlight") or " ") - 1
    return syntax_error(sql) or InvalidQuery(
        f"the engine knows this form of SQL, but it is not supported here{near}: write it in another way",
        line=int(details.get("line") or 0),
        column=max(0, int(details.get("col") or 0) - width),
    )


def _depth(sql: str) -> int:
    """How deep brackets are nested; those in texts and comments count too."""
    steps = (1 if character in "([{" else -1 if character in ")]}" else 0 for character in sql)
    return max(accumulate(steps), default=0)


def stream_name(table: exp.Table) -> str:
    """The stream that a table reference names; raises InvalidQuery when no stream can have this name."""
    name = table.name.lower()
    try:
        return check_name("stream", name)
    except InvalidName as error:
        raise refusal(table, f"{table.name!r} is not a stream: {error}") from error


def _streams(node: exp.Expr, ctes: frozenset[str]) -> set[str]:
    """Streams below `node`; `ctes` are the common table expressions in sight, by lower-case name."""
    found: set[str] = set()
    clause = node.args.get("with_")
    if clause is not None:
        names = [cte.alias.lower() for cte in clause.expressions]
        for position, cte in enumerate(clause.expressions):
            # A recursive one sees itself; the others see only what stands before them.
            seen = names[: position + 1] if clause.recursive else names[:position]
            found |= _streams(cte.this, ctes | frozenset(seen))
        ctes |= frozenset(names)
    if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier) and node.name.lower() not in ctes:
        found.add(stream_name(node))
    for child in node.iter_expressions():
        if child is not clause:
            found |= _streams(child, ctes)
    return found


def _bind(tree: exp.Expr, params: Parameters | None) -> None:
    by_name = dict(params) if isinstance(params, Mapping) else {}
    by_position = list(params) if params is not None and not isinstance(params, Mapping) else []
    for node in list(tree.find_all(exp.Placeholder, exp.Parameter)):
        name = node.name
        if name.isdigit() and 0 < int(name) <= len(by_position):
            value = by_position[int(name) - 1]
        elif name in by_name:
            value = by_name[name]
        else:
            raise InvalidQuery(f"parameter {name!r} has no value: pass one for each placeholder")
        node.replace(_value(value, name))


def _value(value: Any, name: str) -> exp.Expr:
    if isinstance(value, bool) or value is None or isinstance(value, (str, int, Decimal)):
        return exp.convert(value)
    if isinstance(value, float):
        return exp.cast(exp.Literal.string(repr(value)), "DOUBLE", dialect=DIALECT)
    if isinstance(value, datetime):
        kind = "TIMESTAMPTZ" if value.tzinfo else "TIMESTAMP"
        return exp.cast(exp.Literal.string(value.isoformat(" ")), kind, dialect=DIALECT)
    if isinstance(value, date):
        return exp.cast(exp.Literal.string(value.isoformat()), "DATE", dialect=DIALECT)
    if isinstance(value, (list, tuple)):
        return exp.Array(expressions=[_value(item, name) for item in value])
    raise InvalidQuery(f"parameter {name!r} of type {type(value).__name__} is not supported: pass a plain value")
