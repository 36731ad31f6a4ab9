"""Owns how the path of a search is read as text, as a number, as a time, element by element. Never sees a query."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from core.columns import JSON, STR
from query.columns import identifier, resolved_column
from query.dialect import DIALECT
from query.readings import BOOLEAN, DOUBLE, NUMERIC_TYPES, TIMESTAMPTZ, VARCHAR
from query.search.conditions import Operand, all_hold, call, one_holds, some_element, text
from query.sources import StreamSource, Target

_NUMBER: Final = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_DIGITS_MAX: Final = 38  # of the widest exact number of the engine
_PLAIN_IN_JSON: Final = re.compile(r"[ !#-\[\]-~]+")

_Test = Callable[[Operand], exp.Expr]


def number(value: str) -> exp.Expr | None:
    """The SQL number that `value` is, None when it is none."""
    if len(value) > _DIGITS_MAX or not value.isascii() or not _NUMBER.fullmatch(value):
        return None
    digits = value.lstrip("+-")
    exact = digits.replace(".", "", 1).isdigit()
    if not exact and float(digits) == float("inf"):
        return None
    whole, point, fraction = digits.partition(".")
    written = f"{int(whole or 0)}{point}{fraction or '0'}" if point else str(int(whole)) if exact else ""
    literal = exp.Literal.number(written if exact else repr(float(digits)))
    return exp.Neg(this=literal) if value.startswith("-") else literal


@dataclass(frozen=True, slots=True)
class PathReading:
    """What a path of a search means: `target` of the stream `source`, else the column `name` of something else."""

    name: str
    source: StreamSource | None = None
    target: Target | None = None
    qualifier: str | None = None

    def column(self, kind: str | None = None) -> exp.Column:
        """A new column that means the path, or only its values of `kind`."""
        if self.source is None or self.target is None:
            table = identifier(self.qualifier) if self.qualifier else None
            return exp.Column(this=identifier(self.name), table=table)
        target = Target(path=self.target.path, kind=kind) if kind else self.target
        return resolved_column(self.source, target, self.qualifier)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that columns hold of the path."""
        return self.source.kinds(self.target) if self.source is not None and self.target is not None else ()

    @property
    def type(self) -> str:
        """The natural type, "" when it is not known."""
        return self.source.natural(self.target) if self.source is not None and self.target is not None else ""

    @property
    def in_rest(self) -> bool:
        """Whether further values may stand in `_rest`."""
        stored = self.target is not None and not self.target.system and not self.target.kind
        return stored and self.source is not None and self.source.shape.has_rest

    @property
    def only_text(self) -> bool:
        """Whether every value in a column is text."""
        return bool(self.kinds) and all(kind == STR for kind in self.kinds)

    @property
    def _may_hold_json_lists(self) -> bool:
        """Whether lists may be stored as JSON: as a column's kind, or in `_rest` where columns hold no plain values."""
        return JSON in self.kinds or (self.in_rest and all(kind.endswith("[]") for kind in self.kinds))

    def is_a(self, type_: str) -> bool:
        """Whether the path is read as `type_` or as a list of it."""
        return self.type.removesuffix("[]") == type_

    def texts(self, test: _Test, *, as_whole: bool = False, value: str | None = None) -> exp.Expr:
        """A value of the path, read as text, passes `test`; of a list, one of its elements.

        `as_whole` takes lists that stand beside other values as one text each. `value` is given when `test` is equality
        with it.
        """
        if self.type.endswith("[]"):
            return self._elements(self.column(), self.type, test, value)
        plain = test(self._text)
        if self.type != VARCHAR or as_whole:
            return plain
        lists = [kind for kind in self.kinds if kind.endswith("[]")]
        if lists and value is None:
            # The text of a list is no value of its own.
            plain = all_hold([plain, *(exp.Is(this=self.column(kind), expression=exp.Null()) for kind in lists)])
        found = [plain, *(self._elements(self.column(kind), "", test, value) for kind in lists)]
        if self._may_hold_json_lists:
            found.append(self._json_elements(test, value))
        return one_holds(found)

    def numbers(self, test: _Test) -> exp.Expr:
        """A value of the path, read as a number, passes `test`; of a list, one of its elements."""
        element = self.type.removesuffix("[]")
        if element not in (*NUMERIC_TYPES, VARCHAR, ""):
            return exp.false()
        if self.type.endswith("[]"):
            if element != VARCHAR:
                return some_element(self.column(), test)
            return some_element(self.column(), lambda operand: test(lambda: _as_number(operand())))
        if self.type == "":
            return test(lambda: _as_number(self.column()))
        found = [test(self.column)]
        if self.type == VARCHAR:
            lists = [kind for kind in self.kinds if kind.endswith("[]")]
            found += [some_element(self._as_texts(self.column(kind)), _of_numbers(test)) for kind in lists]
            if self._may_hold_json_lists:
                found.append(some_element(self._json_list(), _of_numbers(test)))
        return one_holds(found)

    def values(self, test: _Test) -> exp.Expr:
        """A value of the path, as it is, passes `test`; of a list, one of its elements."""
        return some_element(self.column(), test) if self.type.endswith("[]") else test(self.column)

    def _text(self) -> exp.Expr:
        return self.column() if self.type == VARCHAR else _cast(exp.Cast, self.column(), VARCHAR)

    def _as_texts(self, column: exp.Expr) -> exp.Expr:
        return _cast(exp.Cast, column, f"{VARCHAR}[]")

    def _elements(self, column: exp.Expr, type_: str, test: _Test, value: str | None) -> exp.Expr:
        elements = column if type_ == f"{VARCHAR}[]" else self._as_texts(column)
        return some_element(elements, test) if value is None else call("list_contains", elements, text(value))

    def _json_list(self) -> exp.Expr:
        return _cast(exp.TryCast, _cast(exp.TryCast, self._text(), "JSON"), f"{VARCHAR}[]")

    def _json_elements(self, test: _Test, value: str | None) -> exp.Expr:
        test_elements = some_element(self._json_list(), test)
        if value is None or number(value) is not None or value.lower() in ("true", "false"):
            return exp.And(this=self._begins_list(), expression=test_elements)
        if not _PLAIN_IN_JSON.fullmatch(value):
            return exp.And(this=self._begins_list(), expression=test_elements)
        # Only as a text of its own can the value be an element: cheap, and says which words there are.
        return exp.And(this=call("contains", self._text(), text(f'"{value}"')), expression=test_elements)

    def _begins_list(self) -> exp.Expr:
        return call("starts_with", self._text(), text("["))


def _of_numbers(test: _Test) -> _Test:
    return lambda operand: test(lambda: _as_number(operand()))


def _as_number(node: exp.Expr) -> exp.Expr:
    return _cast(exp.TryCast, node, DOUBLE)


def _cast(class_: type[exp.Cast], node: exp.Expr, type_: str) -> exp.Expr:
    return class_(this=node, to=exp.DataType.build(type_, dialect=DIALECT))


def is_moment(reading: PathReading) -> bool:
    """Whether the path is a time; one whose type is not known is by its name."""
    return reading.is_a(TIMESTAMPTZ) or (reading.type == "" and reading.name.casefold() == "timestamp")


def is_truth(reading: PathReading) -> bool:
    """Whether the path is a truth value."""
    return reading.is_a(BOOLEAN)
