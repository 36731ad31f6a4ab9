"""Owns what a FROM item can give: a stream's paths, or the columns of anything else. Never walks a query."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from core.batch import HIDDEN_COLUMNS, SYSTEM_COLUMNS, TIMESTAMP
from core.ids import nearest
from query.fragment import ScanColumn
from query.readings import SYSTEM_TYPES, VARCHAR, natural_type, text_in_rest, type_in
from query.shape import StreamShape

_TIME_ATTRIBUTE: Final = "@timestamp"  # what ingest looks for when a stream names none


@dataclass(frozen=True, slots=True)
class Target:
    """What a name means in a stream: a path (of one kind only, when `kind` is given) or a system column."""

    path: str = ""
    kind: str | None = None
    system: str | None = None

    @property
    def display(self) -> str:
        """The name that the target has by itself."""
        return self.system or (f"{self.path}::{self.kind}" if self.kind else self.path)


@dataclass(slots=True)
class OtherSource:
    """A subquery, common table expression or table function; `outputs` are its column names, None = unknown."""

    alias: str
    outputs: list[str] | None

    def output(self, name: str) -> str | None:
        """The output that `name` means, without regard to case."""
        return next((output for output in self.outputs or () if output.casefold() == name.casefold()), None)


@dataclass(slots=True)
class StreamSource:
    """One occurrence of a stream in FROM, and the columns that the query turned out to need of it."""

    id: int
    stream: str
    alias: str
    shape: StreamShape
    time_attribute: str | None
    columns: dict[tuple[Target, str], ScanColumn] = field(default_factory=dict)
    exposes_all: bool = False
    _names: set[str] = field(default_factory=set)

    def known(self, name: str) -> Target | None:
        """What `name` means when the stream holds it: an attribute, a system column or a typed column."""
        if name.casefold() in SYSTEM_COLUMNS:
            return Target(system=name.casefold())
        path = self.shape.find(name)
        if path is not None:
            return Target(path=path)
        if name == (self.time_attribute or _TIME_ATTRIBUTE):
            return Target(system=TIMESTAMP)
        path, separator, kind = name.rpartition("::")
        if separator and kind in self.shape.paths.get(path, ()):
            return Target(path=path, kind=kind)
        return None

    def visible(self) -> list[Target]:
        """What `SELECT *` shows: the timestamp, then all paths by name."""
        return [Target(system=TIMESTAMP), *(Target(path=path) for path in self.shape.paths)]

    def kinds(self, target: Target) -> tuple[str, ...]:
        """The kinds that `target` is read from."""
        return (target.kind,) if target.kind else tuple(self.shape.paths.get(target.path, ()))

    def natural(self, target: Target) -> str:
        """The SQL type of `target` without a context."""
        return SYSTEM_TYPES[target.system] if target.system else natural_type(self.kinds(target))

    def type_in(self, target: Target, context: str) -> str:
        """The SQL type of `target` in `context`."""
        if target.system:
            return SYSTEM_TYPES[target.system]
        if self.shape.has_rest and not target.kind and text_in_rest(self.natural(target), context):
            return VARCHAR
        return type_in(self.kinds(target), context)

    def use(self, target: Target, type_: str) -> ScanColumn:
        """The scan column that gives `target` as `type_`, added when it is the first of its kind."""
        key = (target, type_)
        if key not in self.columns:
            wanted = target.display if type_ == self.natural(target) else f"{target.display} as {type_}"
            name, copy = wanted, 2
            while name.casefold() in self._names:
                name, copy = f"{wanted}~{copy}", copy + 1
            self._names.add(name.casefold())
            natural = self.natural(target)
            through = natural if type_ == VARCHAR and natural != VARCHAR and not target.system else ""
            self.columns[key] = ScanColumn(name, type_, target.path, target.kind, target.system, through)
        return self.columns[key]

    def expose_all(self) -> None:
        """Add everything that `SELECT *` shows, for what the engine expands itself (USING, COLUMNS …)."""
        self.exposes_all = True
        for target in self.visible():
            self.use(target, self.natural(target))

    def hidden_columns(self) -> list[str]:
        """Names of the used columns that `SELECT *` must not show."""
        shown = {(target, self.natural(target)) for target in self.visible()}
        return [column.name for key, column in self.columns.items() if key not in shown]

    def unknown_warning(self, name: str, quoted: bool) -> str | None:
        """The warning for a path that no column holds; None when it may well stand in `_rest`.

        `quoted` says that it was written in double quotes, as some write text.
        """
        names: Iterable[str] = [*self.shape.paths, *HIDDEN_COLUMNS, TIMESTAMP]
        inside = next((path for path in self.shape.paths if path.startswith(name + ".")), None)
        close = inside or nearest(name, names)
        hint = f": did you mean {close!r}?" if close else ""
        if self.shape.has_rest:
            return (
                f"stream {self.stream!r} has no column for {name!r}, only rare paths are searched{hint}"
                if close
                else None
            )
        if quoted and not close:
            hint = f": if it is a text, put it in single quotes, '{name}'"
        return f"stream {self.stream!r} has no path {name!r}, it reads as null{hint}"


Source = StreamSource | OtherSource
