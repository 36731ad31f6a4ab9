"""Owns resolved references: how a column of a tree carries the stream source and target that it means."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from query.sources import StreamSource, Target

_SOURCE: Final = "malamute_source"
_TARGET: Final = "malamute_target"


def source_token(source_id: int) -> str:
    """The table name that stands for a stream source in a resolved tree."""
    return f"__malamute_{source_id}"


def identifier(name: str) -> exp.Identifier:
    """`name` as a quoted identifier."""
    return exp.Identifier(this=name, quoted=True)


def resolved_column(source: StreamSource, target: Target, qualifier: str | None) -> exp.Column:
    """A column that means `target` of `source`, written with the table alias `qualifier` if given."""
    table = identifier(qualifier) if qualifier else None
    column = exp.Column(this=identifier(target.display), table=table)
    column.meta[_SOURCE] = source.id
    column.meta[_TARGET] = (target.path, target.kind, target.system)
    return column


def is_resolved(node: exp.Expr) -> bool:
    """Whether `node` is a column of a stream."""
    return isinstance(node, exp.Column) and _SOURCE in node.meta


def source_of(column: exp.Column) -> int:
    """Id of the stream source of a resolved column."""
    return int(column.meta[_SOURCE])


def target_of(column: exp.Column) -> Target:
    """The target of a resolved column."""
    return Target(*column.meta[_TARGET])


def flatten(node: exp.Expr) -> list[exp.Identifier] | None:
    """The identifiers of a dotted reference (Column, or Dots over one), None for anything else."""
    if isinstance(node, exp.Column):
        parts = [part for part in node.parts if isinstance(part, exp.Identifier)]
        return parts if len(parts) == len(node.parts) else None
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Identifier):
        head = flatten(node.this)
        return [*head, node.expression] if head else None
    return None
