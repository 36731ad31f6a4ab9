"""Owns the SQL dialect: DuckDB's grammar, with function calls kept exactly as they were written.

sqlglot normally maps functions to its own classes and renders them back in another spelling. What a query means is
DuckDB's business, so every call stays a name with arguments, and a construct that sqlglot could only render with a
loss is refused instead of changed. Never looks at streams.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar, Final

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ErrorLevel, UnsupportedError
from sqlglot.generators.duckdb import DuckDBGenerator
from sqlglot.parsers.duckdb import DuckDBParser

from core.errors import InvalidQuery

# Calls with a grammar of their own: `cast(x as t)`, `extract(hour from x)`, `trim(both 'x' from y)` …
_SPECIAL_CALLS: Final = ("CAST", "TRY_CAST", "EXTRACT", "TRIM", "SUBSTRING", "POSITION")

# sqlglot warns on its logger about statements that query.allow refuses by name anyway.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

# Names that plans make up begin with this; no query may contain it.
RESERVED: Final = "__malamute"


class MalamuteDialect(DuckDB):
    """DuckDB's dialect with verbatim function calls and JSON paths."""

    def to_json_path(self, path: Any) -> Any:
        # DuckDB reads 'a.b' as one key; sqlglot would make it '$.a.b', two keys.
        return path

    class Tokenizer(DuckDB.Tokenizer):
        # "?::int" is a parameter and a cast.
        KEYWORDS: ClassVar[dict[str, Any]] = {
            text: token for text, token in DuckDB.Tokenizer.KEYWORDS.items() if text != "?::"
        }

    class Parser(DuckDBParser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
            name: parser for name, parser in DuckDBParser.FUNCTION_PARSERS.items() if name in _SPECIAL_CALLS
        }

    class Generator(DuckDBGenerator):
        MULTI_ARG_DISTINCT = True

        def ignorenulls_sql(self, expression: exp.IgnoreNulls) -> str:
            return f"{self.sql(expression, 'this')} IGNORE NULLS"

        def respectnulls_sql(self, expression: exp.RespectNulls) -> str:
            return f"{self.sql(expression, 'this')} RESPECT NULLS"

        def withingroup_sql(self, expression: exp.WithinGroup) -> str:
            order = self.sql(expression, "expression").strip()
            return f"{self.sql(expression, 'this')} WITHIN GROUP ({order})"


DIALECT: Final = MalamuteDialect()


def render(node: exp.Expr) -> str:
    """The SQL text of `node`, as DuckDB reads it. Raises InvalidQuery for what cannot be rendered without loss."""
    try:
        return DIALECT.generate(node, normalize_functions=False, comments=False, unsupported_level=ErrorLevel.RAISE)
    except UnsupportedError as error:
        raise InvalidQuery(f"this construct is not supported: {str(error).splitlines()[0].lower()}") from error


def quote(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def words(text: str) -> frozenset[str]:
    """The words of `text`: how long sets of names are written."""
    return frozenset(text.split())


def call_name(node: exp.Expr) -> str:
    """Lower-case name of a plain function call, "" for any other node."""
    return node.name.lower() if isinstance(node, exp.Anonymous) else ""
