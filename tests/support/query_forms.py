"""Owns random aggregates and window functions for query generators: each has one answer, whatever the order of rows."""

from __future__ import annotations

from tests.support.query_data import BIG, LIST, MIXED, MOMENT, NUMBER, TEXT, TRUTH
from tests.support.query_expressions import Expressions


def aggregate(expressions: Expressions, ids: bool) -> str:
    """One aggregate; `ids` when the column `id` is unique, so that it can order values."""
    rng = expressions.rng
    if rng.random() < 0.12:
        return _sums(expressions)
    text = _plain(expressions, ids)
    if rng.random() < 0.25:
        text += f" FILTER (WHERE {expressions.truth(1)})"
    return text


def _sums(expressions: Expressions) -> str:
    """Several aggregates in one expression."""
    number = expressions.number(1)
    return expressions.rng.choice(
        [
            f"sum({number}) / count(*)",
            f"max({number}) - min({number})",
            f"count(*) FILTER (WHERE {expressions.truth(1)}) * 100.0 / count(*)",
            f"coalesce(sum({number}), 0) + count(*)",
            f"CASE WHEN count(*) > 5 THEN max({expressions.text(1)}) ELSE 'few' END",
            f"round(avg({number}), 3)",
        ]
    )


def _plain(expressions: Expressions, ids: bool) -> str:
    rng = expressions.rng
    column = rng.choice(list(expressions.columns))
    number, text = expressions.number(1), expressions.text(1)
    forms = ["count(*)", f"count({column.sql()})", f"count(DISTINCT {column.sql()})", f"count(DISTINCT {number})"]
    forms += [f"{name}({number})" for name in ("sum", "avg", "min", "max")]
    forms += [f"min({text})", f"max({text})", f"max({expressions.moment(1)})", f"min({expressions.moment(1)})"]
    forms += [f"sum(DISTINCT {expressions.whole(1)})", f"count(DISTINCT {text})", f"count_if({expressions.truth(1)})"]
    forms += [f"bool_and({expressions.truth(0)})", f"bool_or({expressions.truth(0)})"]
    forms += [f"bit_xor({expressions.whole(0)})", f"var_pop({expressions.whole(0)})", f"stddev({expressions.whole(0)})"]
    forms += [f"approx_count_distinct({column.sql()})"]
    if rng.random() < 0.3:
        # What no leaf can do alone.
        forms += [f"quantile_cont({number}, {rng.choice([0, 0.25, 0.9, 1])})", f"quantile_disc({text}, 0.5)"] * 3
        forms += [f"histogram({expressions.whole(0)})", f"median({number})"] * 2
        forms += _by_id(expressions, text) if ids else []
    mixed, big, list_ = expressions.pick(MIXED), expressions.pick(BIG), expressions.pick(LIST)
    if mixed is not None and mixed.marked:
        forms += [f"{name}({mixed.sql('#')})" for name in ("sum", "avg")] * 3 + [f"min({mixed.sql()})"] * 2
    if big is not None:
        forms += [f"{name}({big.sql()})" for name in ("min", "max", "count")]
    if list_ is not None:
        forms += [f"max({list_.sql()})", f"count(DISTINCT {list_.sql()})"]
    if ids:
        forms += [f"arg_max({text}, {_id(expressions)})", f"min_by({number}, {_id(expressions)})"]
    return rng.choice(forms)


def _by_id(expressions: Expressions, text: str) -> list[str]:
    id_ = _id(expressions)
    return [
        f"string_agg({text}, ',' ORDER BY {id_})",
        f"list({expressions.number(0)} ORDER BY {id_} DESC)",
        f"first({text} ORDER BY {id_})",
        f"max({id_})",
    ]


def _id(expressions: Expressions) -> str:
    return next(column for column in expressions.columns if column.name == "id").sql()


def window(expressions: Expressions, id_: str) -> str:
    """One window function."""
    rng = expressions.rng
    key = expressions.of(rng.choice([TEXT, TRUTH]), 0) if rng.random() < 0.6 else ""
    partition = f"PARTITION BY {key} " if key else ""
    number, text = expressions.number(1), expressions.text(1)
    total = f"{partition}ORDER BY {expressions.of(rng.choice([NUMBER, TEXT, MOMENT]), 0)}, {id_}"
    by_value = f"{partition}ORDER BY {expressions.number(1)}{rng.choice(['', ' DESC', ' NULLS FIRST'])}"
    frame = rng.choice(["ROWS 2 PRECEDING", "ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING", "GROUPS 1 PRECEDING", ""])
    return rng.choice(
        [
            f"row_number() OVER ({total})",
            f"rank() OVER ({by_value})",
            f"dense_rank() OVER ({by_value})",
            f"percent_rank() OVER ({by_value})",
            f"ntile(3) OVER ({total})",
            f"lag({text}) OVER ({total})",
            f"lead({number}, 2, 0) OVER ({total})",
            f"sum({number}) OVER ({total} {frame})",
            f"count(*) OVER ({partition})",
            f"max({text}) OVER ({partition})",
            f"first_value({text}) OVER ({total})",
            f"last_value({text} IGNORE NULLS) OVER ({total})",
            f"avg({number}) FILTER (WHERE {expressions.truth(0)}) OVER ({total} {frame})",
        ]
    )
