"""Owns queries in other dialects of SQL: their text as DuckDB's. What that means is decided as for any other query."""

from __future__ import annotations

from typing import Any, Final

import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import Dialects
from sqlglot.errors import ErrorLevel, ParseError, SqlglotError, TokenError, UnsupportedError
from sqlglot.tokenizer_core import TokenType

from core.errors import InvalidQuery
from core.ids import nearest
from query.clickhouse import as_engine_calls
from query.dialect import words

ENGINE: Final = "duckdb"
_NOT_SQL: Final = words("dax prql solr tableau")
DIALECTS: Final = tuple(sorted(dialect.value for dialect in Dialects if dialect.value not in {"", *_NOT_SQL}))

# Clauses that the engine does not have.
_LOST_CLAUSES: Final = ("distribute", "sort", "cluster", "settings")
_PARAMETER: Final = "malamute_parameter_"


def known_dialect(name: str) -> str:
    """The dialect that `name` means; raises InvalidQuery with the known ones."""
    found = name.strip().lower()
    found = {"postgresql": "postgres", "mssql": "tsql", "sparksql": "spark"}.get(found, found)
    if found in DIALECTS:
        return found
    close = nearest(found, DIALECTS)
    hint = f", did you mean {close!r}?" if close else ""
    raise InvalidQuery(f"the dialect {name!r} is not known{hint}: take one of {', '.join(DIALECTS)}")


def to_engine(sql: str, dialect: str) -> str:
    """`sql`, in the known `dialect`, as text in the engine's; `?` becomes `$1`, `$2` … in the order of the text.

    Raises InvalidQuery, with line and column in `sql` where known.
    """
    try:
        trees = sqlglot.parse(_named_parameters(sql, dialect), read=dialect)
        texts = [
            tree.transform(_put_right, dialect=dialect).sql(
                ENGINE, unsupported_level=ErrorLevel.RAISE, normalize_functions=False, comments=False
            )
            for tree in trees
            if tree is not None
        ]
    except (SqlglotError, RecursionError, ValueError) as error:
        raise _not_read(error, dialect) from error
    return "; ".join(texts)


def _named_parameters(sql: str, dialect: str) -> str:
    """`sql` with a name for each `?`: the order of the text is not that of the engine's, as in `LIMIT ?, ?`."""
    if "?" not in sql:
        return sql
    tokens = sqlglot.tokenize(sql, read=dialect)
    marks = [token for token in tokens if token.token_type == TokenType.PLACEHOLDER]
    for number, token in reversed(list(enumerate(marks, start=1))):
        sql = f"{sql[: token.start]}{_PARAMETER}{number}{sql[token.end + 1 :]}"
    return sql


def _not_read(error: Exception, dialect: str) -> InvalidQuery:
    if isinstance(error, UnsupportedError):
        reason = str(error).splitlines()[0].lower()
        return InvalidQuery(f"this {dialect} query cannot be put into DuckDB's SQL, {reason}: write it in another way")
    details: dict[str, Any] = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
    near = f" near {details['highlight']!r}" if details.get("highlight") else ""
    reason = f", {details['description'].lower().rstrip('.')}" if details.get("description") else ""
    if isinstance(error, TokenError):
        reason = ", a quote or comment is not closed"
    width = len(details.get("highlight") or " ") - 1
    return InvalidQuery(
        f"cannot parse the query as {dialect}{near}{reason}: check the text around it",
        line=int(details.get("line") or 0),
        column=max(0, int(details.get("col") or 0) - width),
    )


def _check_clauses(select: exp.Select) -> None:
    """Refuse what sqlglot would leave out without a word, leave out what changes nothing, move PREWHERE to WHERE."""
    lost = next((name for name in _LOST_CLAUSES if select.args.get(name)), None)
    limit = select.args.get("limit")
    if limit is not None and limit.args.get("expressions"):
        lost = "limit by"
    if isinstance(limit, exp.Fetch) and limit.args.get("limit_options"):
        lost = "fetch with ties"
    if lost is not None:
        raise UnsupportedError(f"it has no {lost.replace('_', ' ')} clause")
    select.set("hint", None)
    before = select.args.get("prewhere")
    if before is not None:
        select.set("prewhere", None)
        select.where(before.this, copy=False)


def _put_right(node: exp.Expr, dialect: str) -> exp.Expr:
    if isinstance(node, exp.Select):
        _check_clauses(node)
    if isinstance(node, exp.Column) and not node.table and node.name.startswith(_PARAMETER):
        return exp.Parameter(this=exp.Literal.number(node.name.removeprefix(_PARAMETER)))
    return as_engine_calls(node) if dialect == "clickhouse" else node
