"""Owns random queries over random data: a seed becomes a data set and queries about it. Pure.

Queries are templates, see tests.support.query_oracle.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from tests.support.query_data import BIG, LIST, MIXED, MOMENT, NUMBER, TEXT, TRUTH, Data, Stream, random_data
from tests.support.query_expressions import Column, Expressions, columns_of
from tests.support.query_forms import aggregate, window

_SIMPLE_USES: Final = (NUMBER, TEXT, TRUTH, MOMENT, LIST)


@dataclass(frozen=True, slots=True)
class Query:
    """A template; `ordered` when its rows come in one order only."""

    template: str
    ordered: bool = False


def generate(seed: int, queries: int) -> tuple[Data, list[Query]]:
    """The data set of `seed` and its first `queries` queries."""
    data = random_data(seed)
    writer = Writer(random.Random(f"queries {seed}"), data)
    return data, [writer.query() for _ in range(queries)]


class Writer:
    """Writes queries over `data` with `rng`."""

    def __init__(self, rng: random.Random, data: Data) -> None:
        self.rng = rng
        self.streams = {stream.name: stream for stream in data.streams}

    def query(self) -> Query:
        """The next query."""
        forms = {
            self.aggregation: 30,
            self.rows: 18,
            self.star: 4,
            self.join: 12,
            self.subquery: 10,
            self.derived: 10,
            self.windows: 7,
            self.union: 6,
            self.mistake: 3,
        }
        (form,) = self.rng.choices(list(forms), list(forms.values()))
        return form()

    def _stream(self) -> Stream:
        return self.streams[self.rng.choice(["logs", "logs", "logs", "traces"])]

    def _columns(self, name: str, qualifier: str) -> list[Column]:
        stream = self.streams[name]
        return columns_of(stream.paths, qualifier, stream.has_rest)

    def _single(self) -> tuple[str, Expressions]:
        """FROM one stream, and what is in sight then."""
        stream = self._stream()
        qualifier = self.rng.choice(["", "", "m"])
        from_ = f'FROM "{stream.name}"{" AS m" if qualifier else ""}'
        return from_, Expressions(self.rng, self._columns(stream.name, qualifier))

    def _where(self, expressions: Expressions, share: float = 0.5) -> str:
        if self.rng.random() > share:
            return ""
        return " WHERE " + " AND ".join(
            expressions.truth(self.rng.randrange(3)) for _ in range(self.rng.choice([1, 1, 2]))
        )

    def _limit(self) -> str:
        if self.rng.random() > 0.4:
            return ""
        offset = f" OFFSET {self.rng.randrange(6)}" if self.rng.random() < 0.4 else ""
        return f" LIMIT {self.rng.choice([0, 1, 3, 10, 40])}{offset}"

    def _direction(self) -> str:
        return self.rng.choice(["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"])

    # -- forms

    def aggregation(self) -> Query:
        """Aggregates of one stream, by up to three keys."""
        from_, expressions = self._single()
        return self._grouped(from_, expressions, ids=True)

    def _grouped(self, from_: str, expressions: Expressions, ids: bool) -> Query:
        rng = self.rng
        keys = list(dict.fromkeys(self._key(expressions) for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3]))))
        names = [f"k{number}" for number in range(len(keys))]
        items = [f"{key} AS {name}" for key, name in zip(keys, names, strict=True)]
        items += [f"{aggregate(expressions, ids)} AS a{number}" for number in range(rng.choice([1, 1, 2, 3, 6]))]
        text = f"SELECT {', '.join(items)} {from_}{self._where(expressions)}"
        if keys:
            text += f" GROUP BY {self._group_by(keys, names)}"
        if rng.random() < 0.25:
            having = ["count(*) > 2", "count(*) BETWEEN 1 AND 9", f"min({expressions.number(0)}) < 9"]
            text += f" HAVING {rng.choice(having)}"
        if keys and rng.random() < 0.5 and "(" not in text.rpartition(" GROUP BY ")[2].partition(" HAVING ")[0]:
            by = rng.choice([["count(*) DESC"], [], []]) + [name + self._direction() for name in names]
            return Query(f"{text} ORDER BY {', '.join(by)}{self._limit()}", ordered=True)
        return Query(text)

    def _key(self, expressions: Expressions) -> str:
        column = expressions.pick(TEXT, MIXED, TRUTH, BIG, NUMBER)
        if column is not None and self.rng.random() < 0.65:
            return column.sql()
        return (
            expressions.of(self.rng.choice([TEXT, MOMENT, TRUTH]), 1)
            if self.rng.random() < 0.6
            else expressions.whole(1)
        )

    def _group_by(self, keys: list[str], names: list[str]) -> str:
        chance = self.rng.random()
        if chance < 0.08:
            return f"{self.rng.choice(['ROLLUP', 'CUBE'])} ({', '.join(keys)})"
        if chance < 0.12:
            return f"GROUPING SETS (({', '.join(keys)}), ({keys[0]}), ())"
        if chance < 0.5:
            return ", ".join(str(position + 1) for position in range(len(keys)))
        return ", ".join(keys) if chance < 0.8 else ", ".join(names)

    def _items(self, expressions: Expressions, prefix: str = "c") -> list[tuple[str, str, str]]:
        """(expression, name, use) of some columns of a result."""
        rng = self.rng
        found = []
        for number in range(rng.randrange(1, 5)):
            if rng.random() < 0.4:
                column = rng.choice(list(expressions.columns))
                use = TEXT if column.use == MIXED else column.use
                found.append((column.sql(), f"{prefix}{number}", use))
            else:
                use = rng.choice(_SIMPLE_USES)
                found.append((expressions.of(use), f"{prefix}{number}", use))
        return found

    def rows(self) -> Query:
        """Rows of one stream, perhaps the first of an order."""
        from_, expressions = self._single()
        rng = self.rng
        items = self._items(expressions)
        names = [name for _, name, _ in items]
        selected = ", ".join(f"{text} AS {name}" for text, name, _ in items)
        where = self._where(expressions)
        if rng.random() < 0.2:
            text = f"SELECT DISTINCT {selected} {from_}{where}"
            return Query(f"{text} ORDER BY ALL{self._limit()}", True) if rng.random() < 0.5 else Query(text)
        id_ = next(column for column in expressions.columns if column.name == "id").sql()
        text = f"SELECT {selected}, {id_} AS i {from_}{where}"
        if rng.random() < 0.3:
            return Query(text)
        by = [
            rng.choice([*names, expressions.of(rng.choice([NUMBER, TEXT, TRUTH, MOMENT]), 1)]) + self._direction()
            for _ in range(rng.randrange(3))
        ]
        # A constant would be the position of a column.
        by = [term for term in by if not term[:1].isdigit() and term[:1] not in "-'"]
        return Query(f"{text} ORDER BY {', '.join([*by, 'i' + self._direction()])}{self._limit()}", ordered=True)

    def star(self) -> Query:
        """All columns."""
        stream = self._stream()
        shown = [path for path in stream.paths if not path.hidden]
        expressions = Expressions(self.rng, [c for c in columns_of(shown) if c.use != MIXED])
        dropped = self.rng.choice([path.name for path in shown if path.name != "id"])
        star = self.rng.choice(["*", "*", f'* EXCLUDE ("{dropped}")'])
        # Marks name columns that a star does not show.
        where = " WHERE " + self.rng.choice(["true", '"id" % 3 = 1', expressions._known(), expressions._time_range()])
        return Query(f'SELECT {star} FROM "*{stream.name}"{where} ORDER BY "id"{self._limit()}', ordered=True)

    def join(self) -> Query:
        """Two streams, or one with itself."""
        rng = self.rng
        right = self.streams[rng.choice(["traces", "traces", "logs"])]
        columns = self._columns("logs", "l") + self._columns(right.name, "r")
        on = rng.choice(['l."id" = r."id"', 'l."id" = r."id" + 1', 'l."id" = r."id" AND l."service" = r."service"'])
        if rng.random() < 0.2:
            on += f" AND {Expressions(rng, columns).truth(1)}"
        kind = rng.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN"])
        if kind[:4] in ("SEMI", "ANTI"):
            columns = self._columns("logs", "l")
        from_ = f'FROM "logs" AS l {kind} "{right.name}" AS r ON {on}'
        expressions = Expressions(rng, columns)
        if rng.random() < 0.6:
            return self._grouped(from_, expressions, ids=False)
        items = ", ".join(f"{text} AS {name}" for text, name, _ in self._items(expressions))
        return Query(f"SELECT {items} {from_}{self._where(expressions)}")

    def subquery(self) -> Query:
        """A stream whose rows another query chooses."""
        rng = self.rng
        outer = Expressions(rng, self._columns("logs", "l"))
        inner_stream = self.streams[rng.choice(["traces", "logs"])]
        inner = Expressions(rng, self._columns(inner_stream.name, "r"))
        from_ = f'FROM "{inner_stream.name}" AS r'
        same = f'r."{(key := rng.choice(["id", "service"]))}" = l."{key}"'
        scalar = f"(SELECT {rng.choice(['max', 'min', 'count'])}({inner.number(0)}) {from_} WHERE {same})"
        condition = rng.choice(
            [
                f'l."id" {rng.choice(["", "NOT "])}IN (SELECT r."id" {from_}{self._where(inner)})',
                f'l."service" IN (SELECT r."service" {from_}{self._where(inner)} GROUP BY 1 HAVING count(*) > 3)',
                f"{rng.choice(['', 'NOT '])}EXISTS (SELECT 1 {from_} WHERE {same} AND {inner.truth(1)})",
                f"{outer.number(0)} > (SELECT avg({inner.whole(0)}) {from_})",
                f"{outer.number(0)} >= {scalar}",
                f'l."id" > ANY (SELECT {inner.whole(0)} {from_})',
            ]
        )
        where = f' FROM "logs" AS l WHERE {condition}' + (f" AND {outer.truth(1)}" if rng.random() < 0.4 else "")
        if rng.random() < 0.5:
            return Query(f"SELECT count(*) AS n, {aggregate(outer, True)} AS a{where}")
        return Query(f'SELECT l."id" AS i, {scalar} AS s, {outer.text(1)} AS t{where} ORDER BY i', ordered=True)

    def derived(self) -> Query:
        """A query over the result of another one: a common table expression or a subquery in FROM."""
        rng = self.rng
        from_, expressions = self._single()
        items = self._items(expressions)
        id_ = next(column for column in expressions.columns if column.name == "id")
        items.append((id_.sql(), "id", NUMBER))
        body = f"SELECT {', '.join(f'{text} AS {name}' for text, name, _ in items)} {from_}{self._where(expressions)}"
        if rng.random() < 0.3:
            body += f" ORDER BY id{self._direction()} LIMIT {rng.choice([1, 5, 20])}"
        columns = [Column(name, use, name == "id", "q", marked=False) for _, name, use in items]
        over = Expressions(rng, columns)
        if rng.random() < 0.5:
            done = self._grouped("FROM q", over, ids=True)
            return Query(f"WITH q AS ({body}) {done.template}", done.ordered)
        return self._grouped(f"FROM ({body}) AS q", over, ids=True)

    def windows(self) -> Query:
        """Window functions over one stream."""
        from_, expressions = self._single()
        rng = self.rng
        id_ = next(column for column in expressions.columns if column.name == "id").sql()
        items = [f"{window(expressions, id_)} AS w{number}" for number in range(rng.randrange(1, 4))]
        text = f"SELECT {id_} AS i, {', '.join(items)} {from_}{self._where(expressions, 0.4)}"
        if rng.random() < 0.3:
            text += f" QUALIFY row_number() OVER (PARTITION BY {self._key(expressions)} ORDER BY {id_}) <= 3"
        return Query(f"{text} ORDER BY i", ordered=True)

    def union(self) -> Query:
        """Two results as sets."""
        rng = self.rng
        uses = [rng.choice([NUMBER, TEXT, TRUTH, MOMENT]) for _ in range(rng.randrange(1, 4))]
        sides = []
        for _ in range(2):
            from_, expressions = self._single()
            items = [f"{expressions.of(use, 1)} AS c{number}" for number, use in enumerate(uses)]
            sides.append(f"SELECT {', '.join(items)} {from_}{self._where(expressions)}")
        word = rng.choice(["UNION", "UNION ALL", "EXCEPT", "INTERSECT", "EXCEPT ALL", "INTERSECT ALL", "UNION BY NAME"])
        return Query(f" {word} ".join(sides) + " ORDER BY ALL", ordered=True)

    def mistake(self) -> Query:
        """What the engine refuses."""
        from_, expressions = self._single()
        key, other = (expressions.pick(TEXT) or expressions.columns[0]).sql(), expressions.columns[0].sql()
        forms = [
            f"SELECT {key}, count(*) {from_} GROUP BY {other}",
            f"SELECT {other} {from_} WHERE count(*) > 1",
            f"SELECT sum(count(*)) {from_}",
            f"SELECT no_such_function({other}) {from_}",
            f"SELECT {other} {from_} WHERE row_number() OVER () = 1",
            f"SELECT {key} * [1] {from_}",
            f"SELECT {other} {from_} HAVING {other} > 1",
            f"SELECT CAST({key} || 'x' AS INTEGER) {from_} WHERE {key} IS NOT NULL",
            f"SELECT (SELECT {other}, {other} {from_}) {from_}",
            f"SELECT {other} {from_} UNION SELECT {other}, {other} {from_}",
            "SELECT zz.c FROM (SELECT 1 AS c) AS z",
            f"SELECT {other} {from_} ORDER BY 9",
            f"SELECT {other} {from_} LIMIT -1",
        ]
        return Query(self.rng.choice(forms))
