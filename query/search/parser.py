"""Owns the grammar of a search: text to tests. Knows nothing of streams or SQL."""

from __future__ import annotations

import ipaddress
from typing import Final

from core.limits import SEARCH_BYTES_MAX, SEARCH_DEPTH_MAX, SEARCH_TERMS_MAX
from query.dialect import RESERVED
from query.search.scanner import Place, Scanner, place_in, search_error
from query.search.syntax import (
    Between,
    Bound,
    Equals,
    Everything,
    Exists,
    InNetworks,
    Like,
    Node,
    Not,
    Pattern,
    Wild,
    Words,
    all_of,
    any_of,
    plain_text,
)

ANYWHERE: Final = "*"  # what stands for every text attribute in the place of a path
_OPERATORS: Final = (">=", "<=", ">", "<")
_OPEN: Final = "*"
_PATH_STOPS: Final = '()":'
_VALUE_STOPS: Final = '()"'


def parse_search(text: str, place: Place | None = None) -> Node:
    """The tests that `text` asks for; `place` maps offsets to the line and column of errors. Raises InvalidQuery."""
    place = place or place_in(text)
    if len(text) > SEARCH_BYTES_MAX or len(text.encode("utf-8", "replace")) > SEARCH_BYTES_MAX:
        raise search_error(f"the search is too long: at most {SEARCH_BYTES_MAX} bytes", 0, place)
    for at, character in enumerate(text):
        if character == "\0" or "\ud800" <= character <= "\udfff":
            raise search_error("this character cannot be part of a text: take it out", at, place)
    return _Parser(text, place).whole()


class _Parser:
    def __init__(self, text: str, place: Place) -> None:
        self._scan = Scanner(text, place)
        self._terms = 0
        self._depth = 0

    def whole(self) -> Node:
        self._scan.skip_spaces()
        if not self._scan.next:
            return Everything()
        node = self._any(None)
        if self._scan.next:
            self._scan.fail("this ')' closes nothing: take it out, or put text with parentheses in quotes")
        return node

    def _any(self, path: str | None) -> Node:
        terms = [self._all(path)]
        while self._operator("OR"):
            terms.append(self._all(path, after="OR"))
        return any_of(terms)

    def _all(self, path: str | None, after: str = "") -> Node:
        terms = [self._unary(path, after)]
        while True:
            after = "AND" if self._operator("AND") else ""
            self._scan.skip_spaces()
            if not after and (self._scan.next in ("", ")") or self._scan.at_word("OR")):
                return all_of(terms)
            terms.append(self._unary(path, after))

    def _operator(self, word: str) -> bool:
        self._scan.skip_spaces()
        return self._scan.at_word(word) and bool(self._scan.take(word))

    def _unary(self, path: str | None, after: str = "") -> Node:
        negated = False
        self._scan.skip_spaces()
        while True:
            if self._operator("NOT"):
                after = "NOT"
                self._scan.skip_spaces()
            elif sign := self._sign(path):
                after = sign
            else:
                break
            negated = not negated
        self._check_term(after)
        node = self._primary(path)
        return Not(node) if negated else node

    def _sign(self, path: str | None) -> str:
        """The sign of negation that comes next; a number behind one is a value inside of `path:(…)`."""
        scan = self._scan
        sign = scan.take("-", "!")
        if sign and path is not None and sign == "-" and scan.next.isdigit():
            scan.at -= 1
            return ""
        if sign and (not scan.next or scan.next.isspace()):
            scan.fail(f"expected a term right behind this {sign!r}", scan.at - 1)
        return sign

    def _check_term(self, after: str) -> None:
        scan = self._scan
        where = f" after {after}" if after else ""
        if scan.next in ("", ")"):
            scan.fail(f"expected a term{where}, not the end" if not scan.next else f"expected a term{where}, not ')'")
        for word in ("AND", "OR"):
            if scan.at_word(word):
                scan.fail(f"expected a term{where or ' before'}{'' if where else f' {word}'}, not the operator {word}")
        self._terms += 1
        if self._terms > SEARCH_TERMS_MAX:
            scan.fail(f"too many terms: at most {SEARCH_TERMS_MAX}, search for fewer things at a time")

    def _primary(self, path: str | None) -> Node:
        scan = self._scan
        if scan.take("("):
            return self._group(path)
        if path is not None:
            return self._value(path)
        at = scan.at
        if scan.take('"'):
            return self._phrase(at)
        pattern = scan.run(_PATH_STOPS)
        if scan.next == ":":
            return self._attribute(pattern, at)
        if scan.next == "(":
            return self._call(pattern, at)
        return self._words(pattern, at)

    def _group(self, path: str | None) -> Node:
        scan = self._scan
        opened = scan.at - 1
        self._depth += 1
        if self._depth > SEARCH_DEPTH_MAX:
            scan.fail(f"parentheses nest too deep: at most {SEARCH_DEPTH_MAX}", opened)
        node = self._any(path)
        self._depth -= 1
        if not scan.take(")"):
            scan.fail("this '(' is not closed: write ')' behind the group", opened)
        return node

    def _phrase(self, at: int, anywhere: bool = False) -> Node:
        text = self._scan.quoted()
        if not text:
            self._scan.fail("expected words between these quotes", at)
        return Words((text,), at, anywhere)

    def _words(self, pattern: Pattern, at: int, anywhere: bool = False) -> Node:
        return Everything() if all(part is Wild.ANY for part in pattern) else Words(pattern, at, anywhere)

    def _attribute(self, pattern: Pattern, at: int) -> Node:
        scan = self._scan
        if not pattern:
            scan.fail("expected a path before this ':'")
        path = self._path(pattern, at)
        scan.take(":")
        if not scan.next or scan.next.isspace() or scan.next == ")":
            scan.fail(f"expected a value right behind '{path}:', or put text with a colon in quotes")
        return self._group(path) if scan.take("(") else self._value(path)

    def _path(self, pattern: Pattern, at: int) -> str:
        if pattern == (Wild.ANY,):
            return ANYWHERE
        text = plain_text(pattern)
        if text is None:
            self._scan.fail("a path has no wildcards: name one path, or write *:text for all of them", at)
        text = text.removeprefix("@")
        if not text:
            self._scan.fail("expected a path behind this '@'", at)
        if text.lower().startswith(RESERVED):
            self._scan.fail(f"the path {text!r} is reserved: use another one", at)
        return text

    def _value(self, path: str) -> Node:
        scan = self._scan
        at = scan.at
        if path == ANYWHERE:
            if scan.next in ("[", "{", "<", ">"):
                scan.fail("a comparison needs a path: write it in the place of '*'")
            return self._phrase(at, True) if scan.take('"') else self._words(self._run(_VALUE_STOPS), at, True)
        if opened := scan.take("[", "{"):
            return self._range(path, opened == "[", at)
        if operator := scan.take(*_OPERATORS):
            scan.skip_spaces()
            bound_at = scan.at
            bound = Bound(self._bound(_VALUE_STOPS, f"behind {operator!r}"), "=" in operator, bound_at)
            return Between(path, bound, None, at) if operator[0] == ">" else Between(path, None, bound, at)
        if scan.take('"'):
            return Equals(path, (scan.quoted(),), at)
        pattern = self._run(_VALUE_STOPS)
        text = plain_text(pattern)
        if text is not None:
            return Equals(path, (text,), at)
        return Exists(path, at) if all(part is Wild.ANY for part in pattern) else Like(path, pattern, at)

    def _run(self, stops: str) -> Pattern:
        at = self._scan.at
        pattern = self._scan.run(stops)
        if not pattern:
            self._scan.fail("expected a value here", at)
        if self._scan.next == "(":
            self._scan.fail("expected a space before '(', or quotes around text with parentheses")
        return pattern

    def _bound(self, stops: str, where: str) -> str:
        scan = self._scan
        at = scan.at
        if scan.take('"'):
            return scan.quoted()
        text = plain_text(scan.run(stops))
        if text is None:
            scan.fail(f"expected a value {where}, without wildcards", at)
        if not text:
            scan.fail(f"expected a value {where}", at)
        return text

    def _end(self, inclusive: bool, where: str) -> Bound | None:
        """One end of a range, None when it is open."""
        scan = self._scan
        scan.skip_spaces()
        at = scan.at
        if scan.at_word("TO"):
            scan.fail(f"expected a value {where}, or '*' for an open end")
        if scan.take(_OPEN):
            if scan.next and not scan.next.isspace() and scan.next not in "]}":
                scan.fail("expected a value or a single '*' for an open end", at)
            return None
        return Bound(self._bound('[]{}()"', where), inclusive, at)

    def _range(self, path: str, inclusive: bool, at: int) -> Node:
        scan = self._scan
        low = self._end(inclusive, "as the lower end of the range")
        scan.skip_spaces()
        if not scan.take("TO"):
            scan.fail("expected TO here: a range is [low TO high], with { or } for an end that does not belong to it")
        high = self._end(True, "as the upper end of the range")
        scan.skip_spaces()
        closed = scan.take("]", "}")
        if not closed:
            scan.fail("expected ']' or '}' here, the end of the range")
        if high is not None and closed == "}":
            high = Bound(high.value, False, high.at)
        return Exists(path, at) if low is None and high is None else Between(path, low, high, at)

    def _call(self, pattern: Pattern, at: int) -> Node:
        scan = self._scan
        name = plain_text(pattern) or ""
        if name.upper() != "CIDR":
            scan.fail(f"{name!r} is no function: there is CIDR(path, network); quote text with parentheses", at)
        opened = scan.at
        scan.take("(")
        arguments: list[tuple[str, int]] = []
        while True:
            scan.skip_spaces()
            where = "as a network such as 10.0.0.0/8" if arguments else "as the path with the address"
            start = scan.at
            arguments.append((self._bound(',()"', where), start))
            scan.skip_spaces()
            if scan.take(")"):
                break
            if not scan.take(","):
                if not scan.next:
                    scan.fail("this '(' is not closed: write ')' behind the networks", opened)
                scan.fail("expected ',' or ')' here")
        (path, path_at), *networks = arguments
        if not networks:
            scan.fail("expected a network behind the path: CIDR(path, 10.0.0.0/8)", scan.at - 1)
        return InNetworks(self._path((path,), path_at), tuple(map(self._network, networks)), at)

    def _network(self, argument: tuple[str, int]) -> str:
        text, at = argument
        try:
            return str(ipaddress.ip_network(text, strict=False))
        except ValueError:
            self._scan.fail(f"{text!r} is no network: expected one such as 10.0.0.0/8 or 2001:db8::/32", at)
