"""Owns scopes: which FROM items a name can mean at a place of a query. Never changes the tree."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from core.batch import HIDDEN_COLUMNS
from core.errors import InvalidQuery
from query.allow import refusal
from query.sources import OtherSource, Source, StreamSource, Target


@dataclass(slots=True)
class Scope:
    """The FROM items of one SELECT by lower-case alias, its select-list aliases and its USING columns."""

    sources: dict[str, Source] = field(default_factory=dict)
    aliases: set[str] = field(default_factory=set)
    using: set[str] = field(default_factory=set)
    natural_join: bool = False

    def add(self, source: Source) -> None:
        """Take in a FROM item; raises InvalidQuery when its alias is taken."""
        key = source.alias.casefold()
        if key in self.sources and key:
            raise InvalidQuery(f"the table alias {source.alias!r} is used twice: give one of them another alias")
        self.sources[key or f" {len(self.sources)}"] = source

    def streams(self) -> list[StreamSource]:
        """The streams among the FROM items, in order."""
        return [source for source in self.sources.values() if isinstance(source, StreamSource)]

    def merges_columns(self, name: str) -> bool:
        """Whether a join makes one column of the same-named columns of its sides."""
        return name.casefold() in self.using or self.natural_join


@dataclass(frozen=True, slots=True)
class Hit:
    """What a reference means: a target of a stream, or its whole row; without a stream, what the engine resolves.

    `output` is then the quoted name to use for a dotted reference, if it needs one.
    """

    source: StreamSource | None = None
    target: Target | None = None
    qualifier: str | None = None
    output: str | None = None


def look_up(parts: list[exp.Identifier], scope: Scope) -> Hit | None:
    """What the dotted reference `parts` means in `scope`, None when nothing there is known by that name.

    An alias of a FROM item wins over a path of the same name. Raises InvalidQuery for an ambiguous name.
    """
    names = [part.name for part in parts]
    first = scope.sources.get(names[0].casefold())
    if first is not None and len(names) > 1:
        rest = ".".join(names[1:])
        if isinstance(first, StreamSource):
            return Hit(first, first.known(rest) or Target(path=rest), names[0])
        return Hit(qualifier=names[0], output=first.output(rest) if len(names) > 2 else None)
    name = ".".join(names)
    hits = [(source, target) for source in scope.streams() if (target := source.known(name))]
    others = [source for source in scope.sources.values() if isinstance(source, OtherSource)]
    outputs = [output for source in others if (output := source.output(name))]
    hidden = len(hits) == 1 and hits[0][1].system in HIDDEN_COLUMNS  # never merged by a NATURAL JOIN
    if scope.merges_columns(name) and (hits or outputs) and not (hidden and scope.natural_join):
        return Hit()
    if len(hits) + len(outputs) > 1:
        where = ", ".join(sorted(alias for alias in scope.sources if alias.strip()))
        raise refusal(parts[0], f"{name!r} is ambiguous: put one of {where} before it")
    if hits:
        return Hit(*hits[0])
    if outputs:
        return Hit(output=outputs[0] if len(names) > 1 else None)
    if len(names) == 1 and name.casefold() in scope.aliases:
        return Hit()
    if len(names) == 1 and first is not None:
        return Hit(first if isinstance(first, StreamSource) else None)  # the row as a struct
    if any(source.outputs is None for source in others):
        return Hit()
    return None
