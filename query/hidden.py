"""Owns what deletes and retention mean to queries: conditions, what they hide, the scan that finds it. Runs no query.

Until a delete has rewritten the last segment, every scan of its stream leaves out what it means, whether a segment was
rewritten already or not. A value on which the condition fails, as a cast may, does not meet it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from sqlglot import exp

from core.batch import OFFSET, SHARD, TIMESTAMP
from core.clock import Clock
from core.errors import InvalidQuery
from core.limits import SQL_BYTES_MAX
from query.allow import refusal
from query.columns import identifier, is_resolved
from query.conditions import bind_conditions, conjuncts, is_volatile, predicates, words
from query.dialect import quote, render
from query.executor import Executor
from query.fragment import Condition, DistributedPlan, Leaf, ScanColumn, StreamScan, TimeRange
from query.parse import SELECT, Statement, parse
from query.paths import Resolved, resolve
from query.pin import pin_now
from query.readings import SYSTEM_TYPES, TIMESTAMPTZ
from query.shape import StreamShape
from query.simple import has_aggregate
from query.sources import StreamSource
from query.written_times import as_datetime
from storage.deletes import RUNNING, Delete, pending
from storage.retention import Retention, retention_of
from storage.stream_settings import StreamSettings

_PREFIX: Final = "__malamute_deleted"
_REFUSED: Final = (exp.Query, exp.Window, exp.Placeholder, exp.Parameter, exp.Star)


class Catalog(Protocol):
    """Where a query finds what is hidden (storage.catalog.CatalogStore)."""

    def deletes(self) -> Sequence[Delete]: ...

    def retentions(self, tenant: str) -> Mapping[str, Retention]: ...


@dataclass(frozen=True, slots=True)
class HiddenEvents:
    """The events that a delete or retention means: scan columns, the condition on them that such an event meets.

    `kept` is set when all others are those in a range of time.
    """

    stream: str
    columns: tuple[ScanColumn, ...]
    condition: str
    kept: TimeRange | None = None


def parse_where(stream: str, where: str) -> Statement:
    """The statement that counts the events of `stream` that meet `where`. Raises InvalidQuery, with the place in it."""
    if len(where.encode()) > SQL_BYTES_MAX:
        raise InvalidQuery(f"the condition has {len(where.encode())} bytes, {SQL_BYTES_MAX} are allowed: shorten it")
    try:
        statement = parse(counting(stream, where))
        _check(statement, where)
    except InvalidQuery as error:
        raise in_where(error, where) from error
    return statement


def counting(stream: str, where: str) -> str:
    """The query that counts the events of `stream` that meet `where`, which stands on lines of its own."""
    return f'SELECT count(*) FROM "{stream}" WHERE (\n{where}\n)'


def in_where(error: InvalidQuery, where: str) -> InvalidQuery:
    """`error` in the query of counting(), with its place in the condition; what is missing is missing at its end."""
    lines = where.splitlines() or [""]
    line, column = error.line - 1, error.column
    if line > len(lines):
        line, column = len(lines), len(lines[-1]) + 1
    said = str(error).replace("cannot parse the query", "cannot parse the condition")
    if line < 1:
        return InvalidQuery(said)
    place = f"column {column}" if len(lines) < 2 else f"line {line}, column {column}"
    return InvalidQuery(f"{said} (at {place} of the condition)", line=line, column=column)


def _check(statement: Statement, where: str) -> None:
    select = statement.tree
    clauses = {name for name, value in select.args.items() if value} if isinstance(select, exp.Select) else set()
    condition = select.args["where"].this if isinstance(select, exp.Select) and "where" in clauses else None
    if statement.kind != SELECT or clauses != {"expressions", "from_", "where"} or not isinstance(condition, exp.Paren):
        raise InvalidQuery(f"{where!r} is not one condition: write what comes after WHERE, as in usr.id = 42")
    for node in condition.walk():
        if isinstance(node, _REFUSED):
            what = "a subquery" if isinstance(node, exp.Query) else node.key.lower()
            raise refusal(node, f"{what} is not allowed in the condition of a delete: compare paths with values")
    if has_aggregate(condition):
        raise refusal(condition, "an aggregate is not allowed in the condition of a delete: compare paths with values")
    if is_volatile(condition) or pin_now(condition.copy(), 0):
        raise refusal(condition, "the condition of a delete must mean the same tomorrow: write times and values out")


def referenced(statement: Statement, shape: StreamShape, attribute: str | None) -> StreamShape:
    """What the condition of a statement of parse_where() reads of a stream of `shape`: Delete.paths and .has_rest."""
    source = _resolved(statement, shape, attribute).sources[0]
    read = {column.path for column in source.columns.values()}
    return StreamShape(
        paths={path: kinds for path, kinds in shape.paths.items() if path in read}, has_rest=shape.has_rest
    )


def _resolved(statement: Statement, shape: StreamShape, attribute: str | None) -> Resolved:
    assert statement.tree is not None
    (stream,) = statement.streams
    return resolve(statement.tree, {stream: shape}, {stream: attribute})


def _condition(delete: Delete, attribute: str | None) -> tuple[StreamSource, exp.Expr]:
    """The stream as a source of the columns that the condition reads, and the condition on these."""
    shape = StreamShape(
        paths={path: dict.fromkeys(kinds, 1) for path, kinds in delete.paths.items()}, has_rest=delete.has_rest
    )
    resolved = _resolved(parse_where(delete.stream, delete.where), shape, attribute)
    condition = resolved.tree.args["where"].this
    for column in condition.find_all(exp.Column):
        column.set("table", None)
    return resolved.sources[0], condition


def hidden_events(delete: Delete, attribute: str | None) -> HiddenEvents:
    """What `delete` hides of a stream whose times come from `attribute`."""
    source, condition = _condition(delete, attribute)
    prefix = f"{_PREFIX}_{delete.id}"
    columns = {column.name: replace(column, name=f"{prefix}_{n}") for n, column in enumerate(source.columns.values())}
    for node in condition.find_all(exp.Column):
        if is_resolved(node):
            node.set("this", identifier(columns[node.name].name))
    shard, offset = (ScanColumn(prefix + name, SYSTEM_TYPES[name], system=name) for name in (SHARD, OFFSET))
    bounds = " ".join(f"WHEN {origin} THEN {bound}" for origin, bound in sorted(delete.bounds.items()))
    below = f"{quote(offset.name)} < CASE {quote(shard.name)} {bounds} ELSE 0 END" if bounds else "FALSE"
    meets = f"coalesce(TRY(CAST({render(condition)} AS BOOLEAN)), FALSE)"
    return HiddenEvents(delete.stream, (*columns.values(), shard, offset), f"{meets} AND {below}")


def expired_events(stream: str, cut_us: int) -> HiddenEvents:
    """The events of `stream` before `cut_us` (UTC microseconds)."""
    column = ScanColumn(f"{_PREFIX}_before", TIMESTAMPTZ, system=TIMESTAMP)
    offset = ScanColumn(f"{_PREFIX}_before{OFFSET}", SYSTEM_TYPES[OFFSET], system=OFFSET)
    condition = f"{quote(column.name)} < TIMESTAMPTZ '{as_datetime(cut_us).isoformat()}'"
    return HiddenEvents(stream, (column, offset), condition, TimeRange(start_us=cut_us))


def _both(one: TimeRange | None, other: TimeRange | None) -> TimeRange | None:
    if one is None or other is None or other.start_us is None:
        return one or other
    return replace(one, start_us=max(other.start_us, other.start_us if one.start_us is None else one.start_us))


def check_hidden(events: HiddenEvents, executor: Executor) -> None:
    """Raise InvalidQuery when the engine does not take the condition, which it would then say of every query."""
    columns = ", ".join(f"CAST(NULL AS {column.type}) AS {quote(column.name)}" for column in events.columns)
    with executor.session() as session:
        session.bind(f"SELECT 1 FROM (SELECT {columns}) WHERE {events.condition}")


def hide(plan: DistributedPlan, hidden: Sequence[HiddenEvents]) -> DistributedPlan:
    """`plan` without the events that are hidden."""

    def of_scan(scan: StreamScan) -> StreamScan:
        for events in hidden:
            if events.stream == scan.stream:
                condition = Condition(f"NOT ({events.condition})", events.kept)
                scan = replace(scan, columns=(*scan.columns, *events.columns), conditions=(*scan.conditions, condition))
                scan = replace(scan, time_range=_both(scan.time_range, events.kept))
        return scan

    def of(leaf: Leaf) -> Leaf:
        return replace(leaf, scans=tuple(map(of_scan, leaf.scans)))

    return replace(plan, leaf=of(plan.leaf), alone=plan.alone and of(plan.alone)) if hidden else plan


class Hiding:
    """What is hidden of each stream now, as the catalog says. Thread-safe."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog, self._clock = catalog, clock
        self._known: dict[int, HiddenEvents] = {}

    def of(self, tenant: str, streams: Mapping[str, StreamSettings], *, in_snapshot: bool) -> tuple[HiddenEvents, ...]:
        """What deletes hide of the `streams` of a tenant; those of a named snapshot are hidden for longer."""
        deletes = pending(self._catalog.deletes())
        found = {}
        for delete in deletes:
            if delete.tenant == tenant and delete.stream in streams and (in_snapshot or delete.state == RUNNING):
                attribute = streams[delete.stream].timestamp
                found[delete.id] = self._known.get(delete.id) or hidden_events(delete, attribute)
        self._known = {delete.id: known for delete in deletes if (known := {**self._known, **found}.get(delete.id))}
        return (*found.values(), *(() if in_snapshot else self._expired(tenant, streams)))

    def _expired(self, tenant: str, streams: Iterable[str]) -> Iterator[HiddenEvents]:
        own = self._catalog.retentions(tenant)
        for stream in streams if own else ():
            retention = retention_of(own, stream)
            cut_us = None if retention is None else retention.cut_us(self._clock.now_us())
            if cut_us is not None:
                yield expired_events(stream, cut_us)


def finding(delete: Delete, attribute: str | None, executor: Executor) -> Leaf:
    """The leaf that gives the offsets of what `delete` means, of the segments that it is run over."""
    source, condition = _condition(delete, attribute)
    events = hidden_events(delete, attribute)
    with executor.session() as session:
        _, range_ = bind_conditions(conjuncts(condition), session)
    scan = StreamScan(
        stream=delete.stream,
        alias=source.alias,
        columns=events.columns,
        items=_offset_of(events),
        conditions=(Condition(events.condition),),
        time_range=range_,
        predicates=predicates(conjuncts(condition), source),
        words=words(conjuncts(condition), source),
    )
    return Leaf((scan,))


def finding_expired(stream: str, cut_us: int) -> Leaf:
    """The leaf that gives the offsets of the events before `cut_us`, of the segments that it is run over."""
    events = expired_events(stream, cut_us)
    conditions = (Condition(events.condition),)
    return Leaf((StreamScan(stream, stream, events.columns, _offset_of(events), conditions),))


def _offset_of(events: HiddenEvents) -> str:
    return f"{quote(events.columns[-1].name)} AS c0"
