"""Owns the operators: which binds tighter, as the engine has it. Never parses what stands between them.

From loose to tight: -> | OR | AND | NOT | IS tests | IS DISTINCT FROM | comparisons | BETWEEN, IN, LIKE, ~ and their
kind | || ->> @> <@ && ^@ and their kind | bits | + - | * / // % | ** ^ | COLLATE | AT TIME ZONE | signs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from sqlglot import exp
from sqlglot.parser import build_json_extract, build_json_extract_scalar
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokenizer_core import TokenType

# Metadata of a NOT that was written behind its operand: `a NOT IN b` is another expression to the engine than
# `NOT a IN b`, by its name and by what may follow it.
INFIX_NOT: Final = "malamute_infix"

_Build = Callable[[Any, Any, Any], Any]


class Infix(exp.Expression, exp.Binary):
    """`this sign expression` for an operator that sqlglot has only as a function, or not at all."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "expression": True, "sign": True}


class Absolute(exp.Unary):
    """`@x`."""


class Caret(exp.Pow):
    """`x ^ y`."""


def _of(class_: type[exp.Expr], **arguments: Any) -> _Build:
    return lambda parser, this, other: class_(this=this, expression=other, **arguments)


def _infix(sign: str) -> _Build:
    return lambda parser, this, other: Infix(this=this, expression=other, sign=sign)


_OTHERS: Final[dict[TokenType, _Build]] = {
    TokenType.DPIPE: _of(exp.DPipe, safe=True),
    TokenType.DARROW: build_json_extract_scalar,
    TokenType.AT_GT: _of(exp.ArrayContainsAll),
    TokenType.LT_AT: _of(exp.ArrayContainedBy),
    TokenType.DAMP: _of(exp.ArrayOverlaps),
    TokenType.CARET_AT: _infix("^@"),
    TokenType.LR_ARROW: _infix("<->"),
    TokenType.NULLSAFE_EQ: _infix("<=>"),
}


class Operators(DuckDBParser):
    """The levels of expressions, each asking the next tighter one for its operands."""

    LAMBDAS: ClassVar[dict[Any, Any]] = {
        token: parser for token, parser in DuckDBParser.LAMBDAS.items() if token != TokenType.ARROW
    }
    EQUALITY: ClassVar[dict[Any, Any]] = {
        token: class_ for token, class_ in DuckDBParser.EQUALITY.items() if token not in _OTHERS
    }
    RANGE_PARSERS: ClassVar[dict[Any, Any]] = {
        token: parser
        for token, parser in DuckDBParser.RANGE_PARSERS.items()
        if token
        in (
            TokenType.BETWEEN,
            TokenType.FOR,
            TokenType.GLOB,
            TokenType.ILIKE,
            TokenType.IN,
            TokenType.IS,
            TokenType.LIKE,
            TokenType.SIMILAR_TO,
            TokenType.TILDE,
        )
    }
    TERM: ClassVar[dict[Any, Any]] = {
        token: class_ for token, class_ in DuckDBParser.TERM.items() if token != TokenType.COLLATE
    }
    FACTOR: ClassVar[dict[Any, Any]] = {
        token: class_ for token, class_ in DuckDBParser.FACTOR.items() if not issubclass(class_, exp.Func)
    }
    EXPONENT: ClassVar[dict[Any, Any]] = {**DuckDBParser.EXPONENT, TokenType.CARET: Caret}

    def _parse_disjunction(self) -> exp.Expr | None:
        this = super()._parse_disjunction()
        while this is not None and self._match(TokenType.ARROW):
            this = build_json_extract(self, this, _present(super()._parse_disjunction()))
        return this

    def _parse_is(self, this: exp.Expr | None) -> exp.Expr | None:
        test = super()._parse_is(this)
        if isinstance(test, exp.Not) and isinstance(test.this, exp.Is):
            test = test.this
            test.set("negate", True)
        return test

    def _parse_is_rhs(self, distinct: bool = False) -> exp.Expr | None:
        return super()._parse_is_rhs(distinct) if distinct else self._parse_null() or self._parse_boolean()

    def _negate_range(self, this: exp.Expr | None = None) -> exp.Expr | None:
        negated = super()._negate_range(this)
        if isinstance(negated, exp.Not):
            negated.meta[INFIX_NOT] = True
        return negated

    def _parse_bitwise(self) -> exp.Expr | None:
        this = self._parse_bits()
        while this is not None and self._match_set(_OTHERS):
            this = _OTHERS[self._prev.token_type](self, this, self._parse_bits())
        return this

    def _parse_bits(self) -> exp.Expr | None:
        this = self._parse_term()
        while this is not None:
            if self._match(TokenType.AMP):
                class_: type[exp.Expr] = exp.BitwiseAnd
            elif self._match(TokenType.PIPE):
                class_ = exp.BitwiseOr
            elif self._match_pair(TokenType.LT, TokenType.LT):
                class_ = exp.BitwiseLeftShift
            elif self._match_pair(TokenType.GT, TokenType.GT):
                class_ = exp.BitwiseRightShift
            else:
                break
            this = self.expression(class_(this=this, expression=self._parse_term()))
        return this

    def _parse_unary(self) -> exp.Expr | None:
        this = super()._parse_unary()
        while this is not None and self._is_factorial():
            self._advance()
            this = exp.Anonymous(this="factorial", expressions=[this])
        this = self._parse_at_time_zone(this)
        while this is not None and self._match(TokenType.COLLATE):
            this = exp.Collate(this=this, expression=self._parse_id_var() or self._parse_string())
        return this

    def _is_factorial(self) -> bool:
        # "!~" and "!~~" come as two tokens.
        negates = self._next.text.startswith("~") and self._next.start == self._curr.end + 1
        return self._curr.token_type == TokenType.NOT and self._curr.text == "!" and not negates


def _present(node: exp.Expr | None) -> Any:
    return exp.Null() if node is None else node
