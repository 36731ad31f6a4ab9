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

from core.errors import InvalidQuery
from query import grammar, operators

_SIGNS: Final = ("-", "+", "~", "@", "!")

# sqlglot warns on its logger about statements that query.allow refuses by name anyway.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

# Names that plans make up begin with this; no query may contain it.
RESERVED: Final = "__malamute"


class MalamuteDialect(DuckDB):
    """DuckDB's dialect with verbatim function calls and JSON paths."""

    INDEX_OFFSET = 0  # subscripts stay as written
    NORMALIZE_NOT_NULL = False

    Tokenizer = grammar.Tokenizer
    Parser = grammar.Parser

    def to_json_path(self, path: Any) -> Any:
        # DuckDB reads 'a.b' as one key; sqlglot would make it '$.a.b', two keys.
        return path

    class Generator(DuckDBGenerator):
        MULTI_ARG_DISTINCT = True
        NORMALIZE_EXTRACT_DATE_PARTS = False
        TRANSFORMS: ClassVar[dict[Any, Any]] = {
            **{kind: transform for kind, transform in DuckDBGenerator.TRANSFORMS.items() if kind is not exp.Pivot},
            exp.Pow: lambda self, node: self.binary(node, "**"),
            operators.Caret: lambda self, node: self.binary(node, "^"),
            operators.Infix: lambda self, node: " ".join(
                (self.sql(node, "this"), node.args["sign"], self.sql(node, "expression"))
            ),
            operators.Absolute: lambda self, node: self.signed("@", node),
            exp.HexString: lambda self, node: f"X{literal(node.name)}",
            exp.BitString: lambda self, node: f"B{literal(node.name)}",
            exp.BitwiseNot: lambda self, node: self.signed("~", node),
            exp.Neg: lambda self, node: self.signed("-", node),
            grammar.Unpacked: lambda self, node: f"*{self.sql(node, 'this')}",
        }

        def signed(self, sign: str, node: exp.Expr) -> str:
            operand = self.sql(node, "this")
            # Two signs together would be one operator, or a comment.
            return f"{sign} {operand}" if operand.startswith(_SIGNS) else f"{sign}{operand}"

        def star_sql(self, expression: exp.Star) -> str:
            pattern = self.sql(expression, "ilike")
            if not pattern:
                return super().star_sql(expression)
            star = exp.Star(**{name: part for name, part in expression.args.items() if name != "ilike"})
            return f"{super().star_sql(star)} ILIKE {pattern}"

        def is_sql(self, expression: exp.Is) -> str:
            return self.binary(expression, "IS NOT" if expression.args.get("negate") else "IS")

        def not_sql(self, expression: exp.Not) -> str:
            text = super().not_sql(expression)
            return f"({text})" if operators.INFIX_NOT in expression.meta else text

        def extract_sql(self, expression: exp.Extract) -> str:
            return f"EXTRACT({self.sql(expression, 'this')} FROM {self.sql(expression, 'expression')})"

        def strposition_sql(self, expression: exp.StrPosition) -> str:
            return f"position({self.sql(expression, 'substr')} IN {self.sql(expression, 'this')})"

        def datatype_sql(self, expression: exp.DataType) -> str:
            written: str | None = expression.meta.get(grammar.TYPE_TEXT)
            return written or super().datatype_sql(expression)

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
