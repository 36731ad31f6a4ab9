"""Owns the grammar: what the engine reads differently from sqlglot's DuckDB, put right while parsing.

The parsed tree keeps what was written: calls by their names, types and operators in their spelling. What has two
spellings for the engine as well (a method call and a call, a PIVOT statement and a PIVOT in FROM) becomes one of them.
Never renders and never looks at streams.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, ClassVar, Final

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokenizer_core import TokenType

from query.operators import Absolute, Operators

# Metadata of a type: its text, which the engine shows in the names of columns.
TYPE_TEXT: Final = "malamute_type"
# Metadata of a `?`: its offset in the text.
_MARK_START: Final = "malamute_start"

# Calls with a grammar of their own: `cast(x as t)`, `extract(hour from x)`, `trim(both 'x' from y)` …
_SPECIAL_CALLS: Final = ("CAST", "TRY_CAST", "TRIM", "SUBSTRING", "POSITION", "OVERLAY")
_SPECIAL_PREFIXES: Final = ("ANY", "CASE")
# Types without anything inside that could be an expression.
_PLAIN_TYPE: Final = re.compile(r"[a-z_]\w*( [a-z]+)*( ?\( ?\d+( ?, ?\d+)? ?\))?(\[\d*\])*", re.IGNORECASE)

_FREE_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "ALTER CACHE DROP FORCE GRANT INSERT INSTALL LOCK PARTITIONED_BY REGEXP REVOKE RLIKE ROLLBACK STRAIGHT_JOIN "
        "UNCACHE XOR",
    )
)
_INTERVAL_VALUES: Final = (TokenType.STRING, TokenType.NUMBER, TokenType.L_PAREN)


class MethodCall(exp.Expression):
    """`.f(x)` behind something that the parser has not put together yet; no parsed tree holds one."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True}


class Unpacked(exp.Expression):
    """`*COLUMNS(…)`: the columns as arguments of the call around it."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True}


class Tokenizer(DuckDB.Tokenizer):
    """DuckDB's tokens. Words that only other statements use are names here: paths are called all sorts of things."""

    KEYWORDS: ClassVar[dict[str, Any]] = {
        text: token
        for text, token in DuckDB.Tokenizer.KEYWORDS.items()
        # "?::int" is a parameter and a cast.
        if text != "?::" and text not in _FREE_WORDS
    }
    HEX_STRINGS: ClassVar[list[Any]] = [("x'", "'"), ("X'", "'")]
    BIT_STRINGS: ClassVar[list[Any]] = [("b'", "'"), ("B'", "'")]


class Parser(Operators):
    """DuckDB's statements as trees that keep what was written."""

    FUNCTIONS: ClassVar[dict[str, Any]] = {}
    FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        **{name: parser for name, parser in DuckDBParser.FUNCTION_PARSERS.items() if name in _SPECIAL_CALLS},
        "EXTRACT": lambda self: self._parse_extract(),
    }
    NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        **{
            name: parser for name, parser in DuckDBParser.NO_PAREN_FUNCTION_PARSERS.items() if name in _SPECIAL_PREFIXES
        },
        "@": lambda self: Absolute(this=self._parse_bitwise()),
        "MAP": lambda self: self._parse_map_or_name(),
    }
    PLACEHOLDER_PARSERS: ClassVar[dict[Any, Any]] = {
        **DuckDBParser.PLACEHOLDER_PARSERS,
        TokenType.PLACEHOLDER: lambda self: _mark(self._prev),
    }
    FUNC_TOKENS: ClassVar[set[Any]] = {*DuckDBParser.FUNC_TOKENS, TokenType.APPLY}
    # A call of `list` with a subscript is not a constructor; ARRAY[…] is, see _parse_bracket.
    ARRAY_CONSTRUCTORS: ClassVar[dict[str, Any]] = {}
    _method_calls = 0

    def _parse_field(
        self, any_token: bool = False, tokens: Collection[TokenType] | None = None, anonymous_func: bool = False
    ) -> exp.Expr | None:
        field = super()._parse_field(any_token, tokens, anonymous_func)
        # Only a field behind a dot is asked for like this.
        if anonymous_func and isinstance(field, (exp.Func, exp.Window, exp.Filter, exp.WithinGroup)):
            self._method_calls += 1
            return MethodCall(this=field)
        return field

    def _parse_column_ops(self, this: exp.Expr | None) -> exp.Expr | None:
        before = self._method_calls
        parsed = super()._parse_column_ops(this)
        if parsed is None or self._method_calls == before:
            return parsed
        holder = exp.Paren(this=parsed)
        for method in list(holder.find_all(MethodCall)):
            if not _as_call(method):
                self.raise_error("Expected a function call")
        result: exp.Expr = holder.this
        result.pop()
        return result

    def _parse_bracket(self, this: exp.Expr | None = None) -> exp.Expr | None:
        constructor = isinstance(this, exp.Column) and not this.table and _is_word(this.this, "array")
        if constructor and self._curr.token_type == TokenType.L_BRACKET:
            this = None
        return super()._parse_bracket(this)

    def _parse_type(self, parse_interval: bool = True, fallback_to_identifier: bool = False) -> exp.Expr | None:
        first = self._curr
        parsed = super()._parse_type(parse_interval, fallback_to_identifier)
        typed = first.token_type in self.TYPE_TOKENS
        return _type_first(parsed, first.text.lower()) if typed and isinstance(parsed, exp.Cast) else parsed

    def _parse_primary(self) -> exp.Expr | None:
        if self._match_pair(TokenType.DOT, TokenType.NUMBER):
            return exp.Literal.number(f".{self._prev.text}")  # a decimal of other digits than 0.5
        return super()._parse_primary()

    def _parse_map_or_name(self) -> exp.Expr:
        if self._curr.token_type in (TokenType.L_BRACE, TokenType.L_PAREN):
            return self._parse_map()
        return exp.Column(this=exp.Identifier(this=self._prev.text))

    def _parse_star_ops(self) -> exp.Expr | None:
        star = super()._parse_star_ops()
        return star if isinstance(star, exp.Star) or star is None else Unpacked(this=star)

    def _parse_types(self, *args: Any, **kwargs: Any) -> exp.Expr | None:
        first = self._curr
        type_ = super()._parse_types(*args, **kwargs)
        if isinstance(type_, exp.DataType):
            text = self._find_sql(first, self._prev)
            if _PLAIN_TYPE.fullmatch(text):
                type_.meta[TYPE_TEXT] = text
        return type_

    def _parse_interval(self, require_interval: bool = True, parse_function_unit: bool = True) -> exp.Interval | None:
        if self._next.token_type not in _INTERVAL_VALUES or not self._match(TokenType.INTERVAL):
            return None
        value = self._parse_primary()
        known = self._curr.text.upper() in self.dialect.VALID_INTERVAL_UNITS
        return exp.Interval(this=value, unit=self._parse_var() if known else None)

    def _parse_simplified_pivot(self, is_unpivot: bool | None = None) -> Any:
        source = self._parse_table()
        on = self._parse_csv(self._parse_pivot_term) if self._match(TokenType.ON) else []
        into = self._parse_unpivot_columns()
        using = self._parse_csv(self._parse_expression) if self._match(TokenType.USING) else None
        group = self._parse_group()
        pivot = exp.Pivot(this=source, expressions=on, using=using, group=group, unpivot=is_unpivot, into=into)
        # The statement is a query like any other: as such it may be sorted, cut and united.
        query = exp.Select(expressions=[exp.Star()], from_=exp.From(this=exp.Subquery(this=pivot)))
        return self._parse_query_modifiers(self._parse_set_operations(self._parse_query_modifiers(query)))

    def _parse_pivot_term(self) -> exp.Expr | None:
        term = self._parse_bitwise()
        if self._match(TokenType.IN):
            return self._parse_in(term)
        return self._parse_alias(term) if self._match(TokenType.ALIAS, advance=False) else term

    def _parse_extract(self) -> exp.Extract:
        part = self._parse_var_or_string()
        if not self._match(TokenType.FROM):
            self.raise_error("Expected FROM after EXTRACT's part")
        return exp.Extract(this=part, expression=self._parse_bitwise())

    def _parse_cube_or_rollup(self, with_prefix: bool = False) -> exp.Cube | exp.Rollup | None:
        kinds: dict[TokenType, type[exp.Cube | exp.Rollup]] = {
            TokenType.CUBE: exp.Cube,
            TokenType.ROLLUP: exp.Rollup,
        }
        kind = kinds.get(self._curr.token_type)
        if kind is None or with_prefix:
            return super()._parse_cube_or_rollup(with_prefix)
        self._advance()
        return kind(expressions=self._parse_wrapped_csv(self._parse_disjunction))

    def _parse_grouping_set(self) -> exp.Expr | None:
        return self._parse_grouping_sets() or self._parse_cube_or_rollup() or self._parse_disjunction()


def number_marks(tree: exp.Expr) -> None:
    """Name each `?` of `tree` by its position in the text, "1", "2" …: a tree does not keep the order of the text."""
    marks = [node for node in tree.find_all(exp.Placeholder) if _MARK_START in node.meta]
    for number, mark in enumerate(sorted(marks, key=lambda node: int(node.meta[_MARK_START])), start=1):
        mark.set("this", str(number))


def _mark(token: Any) -> exp.Placeholder:
    placeholder = exp.Placeholder()
    placeholder.meta[_MARK_START] = token.start
    return placeholder


def _is_word(node: Any, word: str) -> bool:
    return isinstance(node, exp.Identifier) and not node.quoted and node.name.casefold() == word


def _type_first(cast: exp.Cast, first: str) -> exp.Expr:
    """`DATE '…'::x` as a cast of a date to x, where `cast` is one of `'…'::x` to a date; it begins with `first`."""
    literal: Any = cast.this
    while isinstance(literal, (exp.Cast, exp.Bracket, exp.Dot, exp.Anonymous)):
        if isinstance(literal, exp.Anonymous) and literal.name.lower() == first:
            return cast  # a call of a function that is named like a type: range(3)::x
        literal = literal.expressions[0] if isinstance(literal, exp.Anonymous) else literal.this
    if literal is cast.this or not isinstance(literal, exp.Literal):
        return cast
    rest: exp.Expr = cast.this.pop()
    literal.replace(exp.Cast(this=literal.copy(), to=cast.to))
    return rest


def _as_call(method: MethodCall) -> bool:
    """Make `receiver.f(x)` around `method` the call `f(receiver, x)`; False when there is no call in it."""
    call = method.this
    while isinstance(call, (exp.Window, exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls)):
        call = call.this
    parent = method.parent
    if not isinstance(call, exp.Anonymous) or not isinstance(parent, (exp.Column, exp.Dot)):
        return False
    if isinstance(parent, exp.Dot):
        receiver: exp.Expr = parent.this
    else:
        table, db, catalog = (parent.args.get(part) for part in ("table", "db", "catalog"))
        receiver = exp.Column(this=table, table=db, db=catalog)
    call.set("expressions", [receiver.pop(), *call.expressions])
    parent.replace(method.this)
    return True
