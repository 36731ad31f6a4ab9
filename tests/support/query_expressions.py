"""Owns random expressions over the columns in sight. Each is of the kind that was asked for, and deterministic.

Pure. Whatever depends on the order of rows or of additions is left out, or ordered by the unique path `id`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.support.query_data import BIG, LIST, MIXED, MOMENT, NUMBER, TEXT, TRUTH, Path

_MINUTES: Final = (0, 1, 3, 8, 30)
_LITERALS: Final = {
    TEXT: ("'web'", "'info'", "'x'", "'7'", "''", "'12.5'", "'größe ½ 東京 🐕'", "'u1'", "'many'", "'it''s'"),
    NUMBER: ("0", "1", "7", "-3", "12.5", "200", "404", "1e2", "0.125"),
}
_PATTERNS: Final = ("'%e%'", "'w%'", "'%'", "''", "'_n%'", "'%reset%'", "'%0\\%%' ESCAPE '\\'", "'%\"%'", "'ERR%'")


@dataclass(frozen=True, slots=True)
class Column:
    """A column in sight. `marked` when it is a path, whose place may be marked; else `name` is plain SQL.

    `rest` when values of it may stand in `_rest`, so that a place for text reads it as text.
    """

    name: str
    use: str
    whole: bool = False
    qualifier: str = ""
    marked: bool = True
    rest: bool = False

    def sql(self, mark: str = "") -> str:
        name = f'"{mark}{self.name}"' if self.marked else self.name
        return f"{self.qualifier}.{name}" if self.qualifier else name


def columns_of(paths: Sequence[Path], qualifier: str = "", rest: bool = False) -> list[Column]:
    """The paths of a stream and its event time as columns."""
    found = [Column(path.name, path.use, path.whole, qualifier, rest=rest) for path in paths]
    return [*found, Column("timestamp", MOMENT, False, qualifier)]


class Expressions:
    """Makes expressions over `columns` with `rng`."""

    def __init__(self, rng: random.Random, columns: Sequence[Column]) -> None:
        self.rng = rng
        self.columns = columns

    def pick(self, *uses: str, whole: bool = False) -> Column | None:
        """A column of one of these uses, None when there is none."""
        fit = [c for c in self.columns if c.use in uses and (c.whole or not whole)]
        return self.rng.choice(fit) if fit else None

    def of(self, use: str, depth: int = 2) -> str:
        """An expression of the kind `use`."""
        makers: dict[str, Callable[[int], str]] = {
            NUMBER: self.number,
            TEXT: self.text,
            TRUTH: self.truth,
            MOMENT: self.moment,
            LIST: self.list_,
        }
        return makers[use](depth)

    def whole(self, depth: int) -> str:
        """A BIGINT that no operation here takes out of its range."""
        column = self.pick(NUMBER, whole=True)
        if column is None or self.rng.random() < 0.1:
            return self.rng.choice(["3", "10", "1"])
        forms = [f"{{}} % {self.rng.choice([2, 3, 7])}", "{} // 4", "{} + 1", "-{}", "abs({})", "{} & 6"]
        text = column.sql()
        return self.rng.choice(forms).format(text) if depth > 0 and self.rng.random() < 0.5 else text

    def number(self, depth: int) -> str:
        """A number: whole or a float."""
        rng = self.rng
        if depth <= 0 or rng.random() < 0.35:
            column = self.pick(NUMBER)
            return column.sql() if column is not None else rng.choice(_LITERALS[NUMBER])
        form = rng.randrange(9)
        if form == 0:
            return self.whole(depth)
        if form == 1:
            return f"({self.number(depth - 1)} {rng.choice('+-*')} {self.number(depth - 1)})"
        if form == 2:
            return f"({self.number(depth - 1)} / {rng.choice([2, 4, 0.5])})"
        if form == 3:
            return f"CASE WHEN {self.truth(depth - 1)} THEN {self.number(0)} ELSE {self.number(0)} END"
        if form == 4:
            return f"coalesce({self.number(depth - 1)}, {rng.choice(_LITERALS[NUMBER])})"
        if form == 5:
            return f"{rng.choice(['length', 'ascii'])}({self.text(depth - 1)})"
        if form == 6:
            return self._mixed_number() or self.whole(depth)
        if form == 7:
            part = rng.choice(["minute", "second", "hour"])
            return f"extract({part} FROM {self.moment(depth - 1)})"
        return rng.choice(
            [
                f"round({self.number(0)}, 1)",
                f"floor({self.number(0)})",
                f"greatest({self.number(0)}, 5, {self.number(0)})",
            ]
        )

    def _mixed_number(self) -> str | None:
        column = self.pick(MIXED)
        if column is None:
            return None
        if not column.marked:
            return f"TRY_CAST({column.sql()} AS DOUBLE)"
        return self.rng.choice(["({} + 1)", "abs({})", "({} * 0.5)", "-{}", "round({})"]).format(column.sql("#"))

    def as_text(self, column: Column) -> str:
        """`column` as text, wherever its values stand."""
        if column.use in (TEXT, MIXED):
            return column.sql()
        return f"CAST({column.sql('$' if column.rest else '')} AS VARCHAR)"

    def text(self, depth: int) -> str:
        """A text."""
        rng = self.rng
        if depth <= 0 or rng.random() < 0.35:
            column = self.pick(TEXT, MIXED)
            return column.sql() if column is not None else rng.choice(_LITERALS[TEXT])
        form = rng.randrange(8)
        if form == 0:
            return f"{rng.choice(['upper', 'lower', 'trim', 'reverse'])}({self.text(depth - 1)})"
        if form == 1:
            return f"({self.text(depth - 1)} || {self.text(0)})"
        if form == 2:
            return f"coalesce({self.text(depth - 1)}, {rng.choice(_LITERALS[TEXT])})"
        if form == 3:
            return f"CASE WHEN {self.truth(depth - 1)} THEN {self.text(0)} ELSE {rng.choice(_LITERALS[TEXT])} END"
        if form == 4:
            column = self.pick(NUMBER, TRUTH, BIG, MOMENT)
            return self.as_text(column) if column is not None else "'none'"
        if form == 5:
            return f"substring({self.text(0)}, {rng.randrange(1, 4)}, {rng.randrange(4)})"
        if form == 6:
            return f"replace({self.text(0)}, {rng.choice(_LITERALS[TEXT])}, '_')"
        return f"strftime({self.moment(0)}, '%H:%M')"

    def moment(self, depth: int) -> str:
        """A time with its zone."""
        column = self.pick(MOMENT)
        text = column.sql() if column is not None else "now()"
        if depth <= 0 or self.rng.random() < 0.5:
            return text
        minutes = self.rng.choice(_MINUTES)
        return self.rng.choice(
            [
                f"date_trunc('{self.rng.choice(['minute', 'hour', 'day'])}', {text})",
                f"time_bucket(INTERVAL '{minutes or 2} minutes', {text})",
                f"{text} + INTERVAL '{minutes} minutes'",
                f"coalesce({text}, now())",
            ]
        )

    def list_(self, depth: int) -> str:
        """A list of texts."""
        column = self.pick(LIST)
        if column is None:
            return f"[{self.text(0)}, 'b']"
        return self.rng.choice(["{}", "list_sort({})", "list_transform({}, lambda x: x || '!')"]).format(column.sql())

    def truth(self, depth: int) -> str:
        """A condition: a tree of AND, OR and NOT over comparisons."""
        rng = self.rng
        if depth > 0 and rng.random() < 0.45:
            joined = f" {rng.choice(['AND', 'OR'])} ".join(self.truth(depth - 1) for _ in range(rng.choice([2, 2, 3])))
            return rng.choice(["({})", "({})", "NOT ({})"]).format(joined)
        return rng.choice([self._compared, self._known, self._text_test, self._member, self._time_range, self._other])()

    def _compared(self) -> str:
        rng = self.rng
        sign = rng.choice(["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM"])
        form = rng.randrange(6)
        mixed = self.pick(MIXED)
        if form == 0 and mixed is not None and mixed.marked:
            return f"{mixed.sql('#')} {sign} {rng.choice(_LITERALS[NUMBER])}"
        if form == 1:
            return f"{self.text(1)} {sign} {rng.choice(_LITERALS[TEXT])}"
        if form == 2:
            return f"{rng.choice(_LITERALS[NUMBER])} {sign} {self.number(0)}"
        big = self.pick(BIG)
        if form == 3 and big is not None:
            return f"{big.sql()} {sign} {rng.choice(['0', '9223372036854775808', '-4611686018427387902'])}"
        return f"{self.number(1)} {sign} {self.number(0) if rng.random() < 0.3 else rng.choice(_LITERALS[NUMBER])}"

    def _known(self) -> str:
        column = self.rng.choice(self.columns)
        return f"{column.sql()} IS {self.rng.choice(['', 'NOT '])}NULL"

    def _text_test(self) -> str:
        rng = self.rng
        column = self.rng.choice([c for c in self.columns if c.use in (TEXT, MIXED, NUMBER, TRUTH)] or self.columns)
        text = self.as_text(column)
        pattern = rng.choice(_PATTERNS)
        word = rng.choice(["LIKE", "NOT LIKE", "ILIKE"])
        calls = [
            f"contains({text}, 'e')",
            f"starts_with({text}, 'w')",
            f"regexp_matches({text}, '^[a-w]+')",
            f"{text} ~ '.*e'",
        ]
        return rng.choice([f"{text} {word} {pattern}", f"{text} {word} {pattern}", *calls])

    def _member(self) -> str:
        rng = self.rng
        negated = rng.choice(["", "", "NOT "])
        form = rng.randrange(4)
        if form == 0:
            values = rng.sample(_LITERALS[TEXT], rng.randrange(1, 4))
            column = self.pick(TEXT)
            return f"{column.sql() if column else self.text(1)} {negated}IN ({', '.join(values)})"
        mixed = self.pick(MIXED)
        text = mixed.sql("#") if form == 1 and mixed is not None and mixed.marked else self.number(0)
        if form == 2:
            return f"{text} {negated}BETWEEN {rng.choice(['-3', '0', '3.5'])} AND {rng.choice(['5', '20.25', '404'])}"
        return f"{text} {negated}IN ({', '.join(rng.sample(_LITERALS[NUMBER], rng.randrange(1, 4)))})"

    def _time_range(self) -> str:
        rng = self.rng
        column = self.pick(MOMENT)
        text = column.sql() if column is not None else "now()"
        minutes = rng.choice(_MINUTES)
        return rng.choice(
            [
                f"{text} >= now() - INTERVAL '{60 - minutes} minutes'",
                f"{text} < now() - INTERVAL '{55 - minutes} minutes'",
                f"{text} BETWEEN '2026-01-01 00:01:00' AND '2026-01-01 00:0{1 + minutes % 9}:30'",
                f"{text} > TIMESTAMPTZ '2026-01-01 00:05:00+00'",
                f"{text} <= '2026-01-01T00:0{minutes % 10}:00Z'",
                f"{text} > '2027-01-01'",
            ]
        )

    def _other(self) -> str:
        rng = self.rng
        truth = self.pick(TRUTH)
        list_ = self.pick(LIST)
        big = self.pick(BIG, MOMENT, TEXT)
        forms = ["true", f"({self.number(1)} > 3) IS NOT TRUE"]
        if truth is not None:
            forms += [truth.sql(), f"NOT {truth.sql()}", f"{truth.sql()} IS TRUE", f"{truth.sql()} = false"]
        if list_ is not None:
            forms += [f"list_contains({list_.sql()}, 'a')", f"len({list_.sql()}) > 1", f"{list_.sql()}[1] = 'b'"]
        if big is not None:
            forms.append(f"{big.sql()} >= {big.sql()}")
        return rng.choice(forms)
