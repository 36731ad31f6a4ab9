"""Owns name resolution: every reference of a query to a stream's path becomes one quoted column of that stream.

Works in two passes: first each reference finds its stream and path (query.scope), then its place decides the
reading (query.contexts). What is not a stream's is left to the engine. Never looks at data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from query.allow import ENGINE_NAMES, refusal
from query.choice import choose_readings
from query.columns import flatten, identifier, is_resolved, resolved_column, source_token
from query.dialect import call_name
from query.parse import stream_name
from query.scope import Hit, Scope, look_up
from query.search.compile import SearchTest
from query.search.expand import expand_test
from query.shape import StreamShape
from query.sources import OtherSource, StreamSource, Target
from query.stars import engine_star, expand_stars, replace_by_row, replace_position
from query.wraps import as_query, as_subquery, column_aliases, needs_subquery, pivot_items, renamed

_Ctes = Mapping[str, "list[str] | None"]


@dataclass(slots=True)
class Resolved:
    """A query whose references are resolved. Tables of streams stand in `tree` under source_token(source.id)."""

    tree: exp.Expr
    sources: list[StreamSource]
    warnings: tuple[str, ...]


def resolve(tree: exp.Expr, shapes: Mapping[str, StreamShape], time_attributes: Mapping[str, str | None]) -> Resolved:
    """Resolve a copy of `tree`. `time_attributes` names for each stream the attribute that `timestamp` comes from.

    Raises InvalidQuery for ambiguous names.
    """
    resolver = _Resolver(shapes, time_attributes)
    copy = tree.copy()
    resolver.query(copy, {}, ())
    choose_readings(copy, resolver.sources)
    return Resolved(copy, resolver.sources, tuple(resolver.warnings))


class _Resolver:
    def __init__(self, shapes: Mapping[str, StreamShape], time_attributes: Mapping[str, str | None]) -> None:
        self._shapes = shapes
        self._time_attributes = time_attributes
        self.sources: list[StreamSource] = []
        self.warnings: dict[str, None] = {}

    def query(self, node: exp.Expr, ctes: _Ctes, outer: tuple[Scope, ...]) -> list[str] | None:
        """Resolve a query and all below it; its output names, None when unknown."""
        ctes = self._with(node, ctes, outer)
        if isinstance(node, exp.Select):
            return self._select(node, ctes, outer)
        outputs: list[str] | None = None
        if isinstance(node, exp.SetOperation):
            outputs = self.query(node.this, ctes, outer)
            self.query(node.expression, ctes, outer)
        elif isinstance(node, (exp.Describe, exp.Summarize)):
            # Their columns are of the engine's choosing.
            self.query(as_query(node.this) if isinstance(node.this, exp.Table) else node.this, ctes, outer)
            return None
        elif isinstance(node, exp.Subquery):
            outputs = self.query(node.this, ctes, outer)
        scope = Scope({"": OtherSource("", outputs)})
        for child in list(node.iter_expressions()):
            if child.arg_key not in ("this", "expression", "with_", "alias") or isinstance(node, exp.Values):
                self._visit(child, scope, ctes, outer)
        return outputs

    def _with(self, node: exp.Expr, ctes: _Ctes, outer: tuple[Scope, ...]) -> _Ctes:
        clause = node.args.get("with_")
        if clause is None:
            return ctes
        seen = dict(ctes)
        for cte in clause.expressions:
            names = column_aliases(cte)
            if clause.recursive:
                seen[cte.alias.casefold()] = names or None
            outputs = self.query(cte.this, seen, outer)
            seen[cte.alias.casefold()] = renamed(outputs, names)
        return seen

    def _select(self, select: exp.Select, ctes: _Ctes, outer: tuple[Scope, ...]) -> list[str] | None:
        scope = Scope(aliases={item.alias.casefold() for item in select.expressions if isinstance(item, exp.Alias)})
        from_ = select.args.get("from_")
        tables = [from_.this] if from_ is not None else []
        joins = [*select.args.get("joins", ()), *select.args.get("laterals", ())]
        for table in tables:
            self._add_table(table, scope, ctes, outer)
        for join in joins:
            self._add_join(join, scope, ctes, outer)
        expand_stars(select, scope)
        for child in list(select.iter_expressions()):
            if child.arg_key not in ("from_", "with_", "joins", "laterals"):
                self._visit(child, scope, ctes, outer)
        _use_merged(scope)
        return _output_names(select)

    def _add_join(self, join: exp.Expr, scope: Scope, ctes: _Ctes, outer: tuple[Scope, ...]) -> None:
        if not isinstance(join, exp.Join):
            self._add_table(join, scope, ctes, outer)
            return
        scope.using |= {name.name.casefold() for name in join.args.get("using") or ()}
        if join.method == "NATURAL":
            scope.natural_join = True
        before = dict(scope.sources)
        self._add_table(join.this, scope, ctes, outer)
        condition = join.args.get("on")
        if condition is not None:
            self._visit(condition, scope, ctes, outer)
        if join.kind in ("SEMI", "ANTI"):
            # Its columns are in reach of the condition only.
            _use_merged(scope)
            scope.sources = before

    def _add_table(self, table: exp.Expr, scope: Scope, ctes: _Ctes, outer: tuple[Scope, ...]) -> None:
        if isinstance(table, exp.Table) and _is_stream(table, ctes) and needs_subquery(table):
            table = as_subquery(table)
        joins = table.args.get("joins") or ()
        if isinstance(table, exp.Table):
            self._add_named(table, scope, ctes, outer)
        elif isinstance(table, exp.Subquery) and isinstance(table.this, exp.Table) and table.alias:
            as_query(table.this)
            self._add_table(table, scope, ctes, outer)
            return
        elif isinstance(table, exp.Subquery) and isinstance(table.this, (exp.Table, exp.Lateral)):
            self._add_table(table.this, scope, ctes, outer)
        elif isinstance(table, exp.Subquery) and isinstance(table.this, exp.Pivot):
            self._pivot(table.this, ctes, outer)
            scope.add(OtherSource(table.alias, None))
        elif isinstance(table, exp.Subquery):
            outputs = self.query(table, ctes, (scope, *outer))
            scope.add(_other_source(table, outputs))
        elif isinstance(table, exp.Lateral) and isinstance(table.this, exp.Subquery):
            outputs = self.query(table.this, ctes, (scope, *outer))
            scope.add(_other_source(table, outputs))
        else:
            self._visit_children(table, scope, ctes, outer)
            scope.add(OtherSource(table.alias, column_aliases(table) or None))
        for join in joins:
            self._add_join(join, scope, ctes, outer)

    def _pivot(self, pivot: exp.Pivot, ctes: _Ctes, outer: tuple[Scope, ...]) -> None:
        """Resolve a PIVOT or UNPIVOT statement; it reads a stream as the table of all its paths."""
        source = pivot.this
        if isinstance(source, exp.Table) and _is_stream(source, ctes):
            source = as_subquery(source, pivot_items(pivot))
        scope = Scope()
        self._add_table(source, scope, ctes, outer)
        for child in list(pivot.iter_expressions()):
            if child is not source:
                self._visit(child, scope, ctes, outer)

    def _add_named(self, table: exp.Table, scope: Scope, ctes: _Ctes, outer: tuple[Scope, ...]) -> None:
        if not isinstance(table.this, exp.Identifier):
            self._visit_children(table.this, scope, ctes, outer)
            scope.add(OtherSource(table.alias or call_name(table.this), column_aliases(table) or None))
            return
        if not _is_stream(table, ctes):
            outputs = ctes[table.name.casefold()]
            scope.add(_other_source(table, outputs))
            inner = Scope({"": OtherSource("", outputs)})
            for pivot in table.args.get("pivots") or ():
                self._visit(pivot, inner, ctes, ())
            return
        stream = stream_name(table)
        source = StreamSource(
            id=len(self.sources),
            stream=stream,
            alias=table.alias_or_name,
            shape=self._shapes.get(stream, StreamShape()),
            time_attribute=self._time_attributes.get(stream),
        )
        self.sources.append(source)
        scope.add(source)
        table.set("alias", exp.TableAlias(this=identifier(source.alias)))
        table.set("this", identifier(source_token(source.id)))

    def _visit(self, node: exp.Expr, scope: Scope, ctes: _Ctes, outer: tuple[Scope, ...]) -> None:
        if isinstance(node, (exp.Select, exp.SetOperation, exp.Subquery)):
            self.query(node, ctes, (scope, *outer))
            return
        if isinstance(node, exp.PositionalColumn) and not isinstance(node.parent, (exp.Ordered, exp.Group)):
            replace_position(node, scope)
            return
        if isinstance(node, SearchTest):
            node.replace(expand_test(node, (scope, *outer), self.warnings))
            return
        parts = flatten(node)
        if parts is not None and not is_resolved(node):
            self._reference(node, parts, scope, outer)
        elif isinstance(node, exp.Comprehension):
            bound = {name.name.casefold() for name in node.args["expression"].find_all(exp.Identifier)}
            inner = Scope({"": OtherSource("", sorted(bound))})
            self._visit(node.args["iterator"], scope, ctes, outer)
            for key in ("this", "condition"):
                if node.args.get(key) is not None:
                    self._visit(node.args[key], inner, ctes, (scope, *outer))
        elif parts is None:
            self._visit_children(node, scope, ctes, outer)

    def _visit_children(self, node: exp.Expr, scope: Scope, ctes: _Ctes, outer: tuple[Scope, ...]) -> None:
        for child in list(node.iter_expressions()):
            if child.arg_key != "joins":
                self._visit(child, scope, ctes, outer)

    def _reference(self, node: exp.Expr, parts: list[exp.Identifier], scope: Scope, outer: tuple[Scope, ...]) -> None:
        if len(parts) == 1 and _in_order_by(node) and parts[0].name.casefold() in scope.aliases:
            return
        for candidate in (scope, *outer):
            hit = look_up(parts, candidate)
            if hit is not None:
                self._apply(node, parts, hit)
                return
        name = ".".join(part.name for part in parts)
        streams = next((found for place in (scope, *outer) if (found := place.streams())), None)
        if streams:
            self._apply(node, parts, Hit(streams[0], Target(path=name)))
        elif name.lower() in ENGINE_NAMES and not parts[0].quoted:
            raise refusal(node, f"{name} is not allowed in a query: it is not about events")

    def _apply(self, node: exp.Expr, parts: list[exp.Identifier], hit: Hit) -> None:
        if hit.source is None or hit.target is None:
            if hit.source is not None:
                replace_by_row(node, hit.source)
            elif hit.output is not None:
                table = identifier(hit.qualifier) if hit.qualifier else None
                node.replace(exp.Column(this=identifier(hit.output), table=table))
            return
        source, target = hit.source, hit.target
        written = ".".join(part.name for part in (parts[1:] if hit.qualifier else parts))
        if target.path and target.path not in source.shape.paths:
            warning = source.unknown_warning(written, quoted=len(parts) == 1 and parts[0].quoted)
            if warning is not None:
                self.warnings[warning] = None
        column = resolved_column(source, target, hit.qualifier)
        projected = isinstance(node.parent, exp.Select) and node.arg_key == "expressions"
        if projected and written.casefold() != target.display.casefold():
            node.replace(exp.Alias(this=column, alias=identifier(written)))
        else:
            node.replace(column)


def _use_merged(scope: Scope) -> None:
    """Have every stream give the columns that USING names."""
    for name in scope.using if not scope.natural_join else ():
        for source in scope.streams():
            if (target := source.known(name)) is not None:
                source.use(target, source.natural(target))


def _is_stream(table: exp.Table, ctes: _Ctes) -> bool:
    return isinstance(table.this, exp.Identifier) and table.name.casefold() not in ctes


def _other_source(node: exp.Expr, outputs: list[str] | None) -> OtherSource:
    """The source that `node` in FROM is when it gives `outputs` before it is pivoted and renamed."""
    pivots = node.args.get("pivots")
    if pivots:
        return OtherSource(pivots[-1].alias or node.alias, None)
    return OtherSource(node.alias_or_name, renamed(outputs, column_aliases(node)))


def _output_names(select: exp.Select) -> list[str] | None:
    names = []
    for item in select.expressions:
        if engine_star(item):
            return None
        names.append(item.alias_or_name)
    return names


def _in_order_by(node: exp.Expr) -> bool:
    return isinstance(node.parent, exp.Ordered) and not isinstance(node.parent.parent, (exp.Window, exp.Anonymous))
