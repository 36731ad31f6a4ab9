"""Owns the way from the text of a search to a tree: connectives as SQL, tests as nodes that resolution expands.

What a test means in SQL depends on the kinds of its path, which only resolution knows: see query.search.expand.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlglot import exp

from query.search.conditions import all_hold, is_not, one_holds
from query.search.parser import parse_search
from query.search.scanner import Place, place_in
from query.search.syntax import All, AnyOf, Everything, Node, Not


class SearchTest(exp.Expression):
    """One test of a search: `test` of query.search.syntax over the FROM item `qualifier`, None = the only one.

    `line` and `column` are its place in the text that errors are about.
    """

    arg_types: ClassVar[dict[str, bool]] = {"test": True, "qualifier": False, "line": False, "column": False}


def compile_search(text: str, qualifier: str | None = None, place: Place | None = None) -> exp.Expr | None:
    """The condition that `text` asks for, None when it asks for nothing.

    The tree is put where a condition stands in a SELECT, and resolved with it. It is null or false for an event that
    does not match. `qualifier` is the alias of the stream where there are several. Raises InvalidQuery with the line
    and column of `place`, else those in `text`.
    """
    place = place or place_in(text)
    node = parse_search(text, place)
    return None if isinstance(node, Everything) else _compile(node, qualifier, place)


def _compile(node: Node, qualifier: str | None, place: Place) -> exp.Expr:
    if isinstance(node, Everything):
        return exp.true()
    if isinstance(node, Not):
        return is_not(_compile(node.term, qualifier, place))
    if isinstance(node, (All, AnyOf)):
        terms = [_compile(term, qualifier, place) for term in node.terms]
        return all_hold(terms) if isinstance(node, All) else one_holds(terms)
    line, column = place(node.at)
    arguments: dict[str, Any] = {"test": node, "qualifier": qualifier, "line": line, "column": column}
    return SearchTest(**arguments)
