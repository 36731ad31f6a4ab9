"""Owns the split of a query that gives rows: filter, project, sort and cut at the leaves, once more at the top."""

from __future__ import annotations

from query.dialect import render
from query.executor import Executor, Session
from query.fragment import PROJECT, TOP_N
from query.simple import SimpleSelect, constant_count, has_aggregate, ordered
from query.split import INPUT, Split, stand_ins


def split_rows(select: SimpleSelect, executor: Executor, session: Session) -> Split | None:
    """The two halves of `select`, None when it aggregates or its LIMIT is not a plain number of rows."""
    limit, offset = constant_count(select.limit), constant_count(select.offset)
    if select.keys is not None or select.having is not None or select.distinct or limit is None or offset is None:
        return None
    if any(has_aggregate(node) for node in (*select.items, *(term.expression for term in select.order))):
        return None
    texts = [render(item) for item in select.items]
    shipped = list(texts)
    order: list[str] = []
    for term in select.order:
        text = render(term.expression)
        if text not in shipped:
            shipped.append(text)
        order.append(render(ordered(term, f"c{shipped.index(text)}")))
    items = ", ".join(f"{text} AS c{index}" for index, text in enumerate(shipped))
    types = executor.bind(session, stand_ins([select.source]), f"SELECT {items} FROM {INPUT}").types
    if len(types) != len(shipped):
        return None  # the engine makes several columns of one item, such as of an unnested struct
    sorting = f" ORDER BY {', '.join(order)}" if order else ""
    tail = f"{sorting} LIMIT {limit + offset}" if select.limit is not None else ""
    result = ", ".join(f"c{index}" for index in range(len(texts)))
    sql = f"SELECT {result} FROM {INPUT}{sorting}"
    sql += f" LIMIT {limit}" if select.limit is not None else ""
    sql += f" OFFSET {offset}" if offset else ""
    kind = TOP_N if select.limit is not None else PROJECT
    return Split(kind, items, tail.strip(), sql, types, piecewise=kind == PROJECT and not order and not offset)
