"""Owns the query's one instant: `now()` and its like become the same literal on every leaf."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlglot import exp

from query.dialect import DIALECT, call_name

_MOMENTS: Final = frozenset({"now", "get_current_timestamp", "transaction_timestamp", "current_timestamp"})
_LOCAL_MOMENTS: Final = frozenset({"current_localtimestamp", "localtimestamp"})
_TIMES: Final = frozenset({"get_current_time", "current_time"})
_LOCAL_TIMES: Final = frozenset({"current_localtime", "localtime"})
_DAYS: Final = frozenset({"today", "current_date"})
_NODES: Final = (exp.CurrentTimestamp, exp.Localtimestamp, exp.CurrentTime, exp.Localtime, exp.CurrentDate)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def pin_now(tree: exp.Expr, now_us: int) -> bool:
    """Replace every call for the current time in `tree` by `now_us` (UTC microseconds); whether there was one."""
    found = False
    moment = (_EPOCH + timedelta(microseconds=now_us)).replace(tzinfo=None)
    texts = {"DATE": moment.date().isoformat(), "TIMESTAMP": moment.isoformat(" "), "TIME": moment.time().isoformat()}
    texts |= {"TIMESTAMPTZ": texts["TIMESTAMP"] + "+00", "TIMETZ": texts["TIME"] + "+00"}
    for node in list(tree.find_all(exp.Anonymous, *_NODES)):
        type_ = _type(node)
        if type_:
            text = texts[type_]
            node.replace(exp.cast(exp.Literal.string(text), type_, dialect=DIALECT))
            found = True
    return found


def _type(node: exp.Expr) -> str:
    name = call_name(node)
    if isinstance(node, exp.CurrentTimestamp) or name in _MOMENTS:
        return "TIMESTAMPTZ"
    if isinstance(node, exp.Localtimestamp) or name in _LOCAL_MOMENTS:
        return "TIMESTAMP"
    if isinstance(node, exp.CurrentTime) or name in _TIMES:
        return "TIMETZ"
    if isinstance(node, exp.Localtime) or name in _LOCAL_TIMES:
        return "TIME"
    return "DATE" if isinstance(node, exp.CurrentDate) or name in _DAYS else ""
