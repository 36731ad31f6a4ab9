"""Owns how large values and expressions get that a query puts together of others: `s || s` over `s || s` and so on.

Counts, before anything is bound, of how many values one is made at most. Where these are more than people ask for, and
only there, the value is looked at as soon as it is made. Never knows types, never looks at data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from sqlglot import exp

from core.limits import SQL_ALIASED_NODES_MAX
from query.allow import refusal
from query.bounded_functions import BOUNDED_CALLS, LOOK
from query.columns import is_resolved
from query.dialect import call_name, words

_UNSEEN_MAX: Final = 32  # values that one is made of without a look at it; people put together a dozen
_MADE: Final = 16  # what a value counts whose length is bounded already
_REPLACED_MAX: Final = 64  # what another text may take the place of: see query.bounded_functions

_JOINING_NODES: Final = (exp.DPipe, exp.Array, exp.Struct)
_JOINING_CALLS: Final = words(
    """
    concat concat_ws format printf list_value list_pack struct_pack struct_insert struct_concat row
    list_concat list_cat array_concat array_cat list_append array_append list_prepend array_prepend array_push_back
    array_push_front list_zip array_zip map_concat array_to_string json_object json_array json_merge_patch
    """
)
_REDUCING_CALLS: Final = words("list_reduce reduce array_reduce")
# How many times longer than its argument a text gets.
_GROWING_CALLS: Final = {
    **dict.fromkeys(words("hex to_hex base64 to_base64 to_json json_quote array_to_json row_to_json"), 2),
    "url_encode": 3,
    **dict.fromkeys(words("bin to_binary"), 8),
}
_REPLACING_CALLS: Final = words("replace regexp_replace")
_PATTERN_MARKS: Final = {"format": "{", "printf": "%"}
_FROM: Final = ("from_", "joins", "laterals")

_Ctes = Mapping[str, int]


def check_aliases(tree: exp.Expr) -> None:
    """Raise InvalidQuery when the select lists of the resolved query `tree` are endless with their aliases written out.

    The engine writes them out to bind a query: where each names the one before twice, 18 of them took it 30 s.
    """
    for select in tree.find_all(exp.Select):
        sizes: dict[str, int] = {}
        total = 0
        for item in (child for child in select.iter_expressions() if child.arg_key not in ("with_", *_FROM)):
            columns = [column for column in item.find_all(exp.Column) if not is_resolved(column)]
            named = sum(sizes.get(column.name.casefold(), 0) for column in columns)
            total += named
            if total > SQL_ALIASED_NODES_MAX:
                raise refusal(item, "aliases of the select list are used too often in it: put a subquery between them")
            if isinstance(item, exp.Alias):
                sizes[item.alias.casefold()] = named + sum(1 for _ in item.walk())


def bound_growth(tree: exp.Expr) -> None:
    """Have each value in the resolved query `tree` that is made of too many others looked at; changes `tree`."""
    _query(tree, {}, 1)


def _query(node: exp.Expr, ctes: _Ctes, outer: int) -> int:
    """How many values one of the result is made of at most; `outer` is that of the columns around the query."""
    clause = node.args.get("with_")
    if clause is not None:
        known = dict(ctes)
        for cte in clause.expressions:
            # What a recursive one adds to its own rows has no end.
            seen = {**known, cte.alias.casefold(): _UNSEEN_MAX} if clause.recursive else known
            known[cte.alias.casefold()] = _query(cte.this, seen, outer)
        ctes = known
    if not isinstance(node, exp.Select):
        rest = [child for child in node.iter_expressions() if child is not clause]
        return max((_values(child, ctes, outer, {}) for child in rest), default=1)
    columns = outer
    for table in (table for part in _FROM for table in _listed(node.args.get(part))):
        columns = max(columns, _values(table, ctes, columns, {}))
    aliases: dict[str, int] = {}
    most = 1
    for item in list(node.expressions):
        values = _values(item, ctes, columns, aliases)
        most = max(most, values)
        if isinstance(item, exp.Alias):
            aliases[item.alias.casefold()] = values
    for child in list(node.iter_expressions()):
        if child.arg_key not in ("expressions", "with_", *_FROM):
            _values(child, ctes, columns, aliases)
    return most


def _values(node: exp.Expr, ctes: _Ctes, columns: int, aliases: Mapping[str, int]) -> int:
    """How many values that of `node` is made of at most, 0 for one that stands in the query.

    `columns` is that of columns which are no stream's, `aliases` those of the select list.
    """
    if isinstance(node, exp.Query):
        return _query(node, ctes, columns)
    if isinstance(node, exp.Column):
        return 1 if is_resolved(node) else max(columns, aliases.get(node.name.casefold(), 1))
    if isinstance(node, (exp.Identifier, exp.Star)):
        return columns
    if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
        below = [ctes.get(node.name.casefold(), 1)]
    else:
        below = []
    name = call_name(node)
    inside = _UNSEEN_MAX if name in _REDUCING_CALLS else columns  # each step takes what the one before made
    below += [_values(child, ctes, inside, aliases) for child in list(_parts(node))]
    if name in _JOINING_CALLS or isinstance(node, _JOINING_NODES):
        values = sum(below) * _marks(node, name)
    elif name in _REPLACING_CALLS:
        values = max(below, default=0) * _replaced(node)
    elif name in _GROWING_CALLS:
        values = max(below, default=0) * _GROWING_CALLS[name]
    else:
        return _MADE if name in BOUNDED_CALLS else max(below, default=0)
    if values <= _UNSEEN_MAX:
        return values
    look = exp.Anonymous(this=LOOK)
    node.replace(look)
    look.append("expressions", node)
    return _MADE


def _parts(node: exp.Expr) -> Iterator[exp.Expr]:
    """What the value of `node` may be made of: no names."""
    for child in node.iter_expressions():
        named = child.arg_key == "alias" or (isinstance(node, exp.PropertyEQ) and child.arg_key == "this")
        if not named and not isinstance(child, (exp.DataType, exp.TableAlias)):
            yield child


def _marks(node: exp.Expr, name: str) -> int:
    """How often a pattern may name one of the arguments."""
    return max(1, node.expressions[0].name.count(_PATTERN_MARKS[name])) if name in _PATTERN_MARKS else 1


def _replaced(call: exp.Expr) -> int:
    """How many times longer a text gets in which others are put in the place of some."""
    old, new = [*call.expressions, None, None, None][1:3]
    if not isinstance(new, exp.Literal):
        return _REPLACED_MAX
    if call_name(call) == "regexp_replace":
        return 1 + len(new.name)  # also where nothing was
    shortest = max(1, len(old.name)) if isinstance(old, exp.Literal) else 1
    return max(1, -(-len(new.name) // shortest))


def _listed(part: Any) -> Iterable[exp.Expr]:
    return [] if part is None else part if isinstance(part, list) else [part]
