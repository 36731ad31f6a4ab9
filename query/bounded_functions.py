"""Owns the bounds of what one call makes of small arguments: texts and lists of any length, work without an end.

The engine neither counts such values as its memory nor stops while it makes one. So it has macros in the place of these
functions, which refuse what is too large; calls keep their names and the names of their columns.
"""

from __future__ import annotations

import re
from typing import Final

from sqlglot import exp

from core.limits import MADE_ELEMENTS_MAX, MADE_TEXT_MAX, TEXTS_COMPARED_MAX
from query.dialect import RESERVED, call_name, words

_PATTERN_CALLS: Final = words("format printf")
# A width of many digits, or one that is an argument.
_WIDE: Final = re.compile(r"\d{5}|\*|\{[^}]*\{")
_VOLATILE_CALLS: Final = words("random uuid gen_random_uuid uuidv4 uuidv7")
_LITERAL_IN_LAMBDA_MAX: Final = 1_000
_REFUSAL: Final = re.compile(r"(\w+\(\) may make|what is put together may have) at most \d+ \w+ of one value")

# Of numbers or of times; a month counts as 30 days.
_STEPS: Final = (
    "abs(COALESCE((TRY_CAST(CAST(stop AS VARCHAR) AS DOUBLE) - TRY_CAST(CAST(start AS VARCHAR) AS DOUBLE)) "
    "/ TRY_CAST(CAST(step AS VARCHAR) AS DOUBLE), "
    "(epoch(TRY_CAST(CAST(stop AS VARCHAR) AS TIMESTAMP)) - epoch(TRY_CAST(CAST(start AS VARCHAR) AS TIMESTAMP))) "
    "/ epoch(TRY_CAST(CAST(step AS VARCHAR) AS INTERVAL))))"
)
# Short texts in the place of others do not let a value grow much, and constants are looked at once.
_REPLACED: Final = "CASE WHEN len(new) > 64 THEN CAST(len(value) AS DOUBLE) * len(new) ELSE 0 END"
# Name → for each number of parameters: these, and how large the value gets. In the place of the
# parameter between them stands the check: the engine computes constant calls before it looks at a CASE around them.
_Forms = tuple[tuple[str, str, str], ...]
_LISTS: Final[dict[str, _Forms]] = {
    **dict.fromkeys(
        ("range", "generate_series"),
        (("stop", "stop", "stop"), ("start, stop", "stop", "stop - start"), ("start, stop, step", "stop", _STEPS)),
    ),
    **dict.fromkeys(
        ("list_resize", "array_resize"), (("list, size", "size", "size"), ("list, size, value", "size", "size"))
    ),
}
_TEXTS: Final[dict[str, _Forms]] = {
    "repeat": (("value, times", "times", "CAST(len(CAST(value AS VARCHAR)) AS DOUBLE) * times"),),
    "lpad": (("value, size, filling", "size", "size"),),
    "rpad": (("value, size, filling", "size", "size"),),
    "bitstring": (("value, size", "size", "size"),),
    "replace": (("value, old, new", "new", _REPLACED),),
    "regexp_replace": (("value, old, new", "new", _REPLACED), ("value, old, new, how", "new", _REPLACED)),
}
_STEPS_COMPARED: Final = "CAST(len(left_) AS DOUBLE) * len(right_)"
_PAIR: Final = ("left_, right_", "right_", _STEPS_COMPARED)
_CUT_PAIR: Final = ("left_, right_, cutoff", "right_", _STEPS_COMPARED)
_COMPARISONS: Final[dict[str, _Forms]] = {
    **dict.fromkeys(("levenshtein", "editdist3", "damerau_levenshtein"), (_PAIR,)),
    **dict.fromkeys(("jaro_similarity", "jaro_winkler_similarity"), (_PAIR, _CUT_PAIR)),
}
_RANGES: Final = words("range generate_series")
BOUNDED_CALLS: Final = frozenset({*_LISTS, *_TEXTS})
# What query.growth puts around a value that may be made of too many others: 0.3 µs each time, measured. Two uses of its
# argument would double the expression at each level.
LOOK: Final = f"{RESERVED}_look"
_TOO_LONG: Final = f"what is put together may have at most {MADE_TEXT_MAX} bytes of one value"
_LOOK_MACRO: Final = (
    f"CREATE MACRO {LOOK}(made) AS list_transform([made], lambda {LOOK}ed: list_extract([{LOOK}ed], "
    f"CASE WHEN strlen(CAST({LOOK}ed AS VARCHAR)) > {MADE_TEXT_MAX} THEN CAST('{_TOO_LONG}' AS INTEGER) ELSE 1 END))[1]"
)


def macros() -> list[str]:
    """Statements that put the bounded functions in the place of the engine's own."""
    return [
        *(_macro(name, forms, MADE_ELEMENTS_MAX, "elements") for name, forms in _LISTS.items()),
        *(_macro(name, forms, MADE_TEXT_MAX, "characters") for name, forms in _TEXTS.items()),
        *(_macro(name, forms, TEXTS_COMPARED_MAX, "steps") for name, forms in _COMPARISONS.items()),
        _LOOK_MACRO,
    ]


def _macro(name: str, forms: _Forms, most: int, unit: str) -> str:
    why = f"{name}() may make at most {most} {unit} of one value"
    bodies = []
    for names, checked, size in forms:
        # error() is volatile, which keys of windows must not be. A text that is no number fails as well, and as an
        # index it lets what is checked be of any type.
        bounded = f"list_extract([{checked}], CASE WHEN {size} > {most} THEN CAST('{why}' AS INTEGER) ELSE 1 END)"
        given = ", ".join(bounded if parameter == checked else parameter for parameter in names.split(", "))
        bodies.append(f"({names}) AS system.main.{name}({given})")
    return f"CREATE MACRO {name} {', '.join(bodies)}"


def bound_passed(message: str) -> str:
    """What a macro refused with, out of the engine's `message`; "" when it is about something else."""
    found = _REFUSAL.search(message)
    return found[0] if found else ""


def growth_mistake(call: exp.Expr) -> str:
    """What is wrong with a call whose size no macro can know, "" when nothing is."""
    name = call_name(call)
    if name in _PATTERN_CALLS:
        pattern = call.expressions[0] if call.expressions else None
        if not isinstance(pattern, exp.Literal) or _WIDE.search(pattern.name):
            return f"the pattern of {name}() has to be a plain text with widths of at most 4 digits"
    if name in BOUNDED_CALLS:
        if any(call_name(inner) in _VOLATILE_CALLS for inner in call.find_all(exp.Anonymous)):
            return f"the arguments of {name}() must not be random"
        sizes = call.expressions if name in _RANGES else call.expressions[1:]
        if _is_repeated(call) and not all(map(_is_small, sizes)):
            return f"{name}() in a lambda takes plain numbers of at most {_LITERAL_IN_LAMBDA_MAX}"
    return ""


def _is_repeated(call: exp.Expr) -> bool:
    """Whether `call` runs for each element of a list."""
    node = call
    while node.parent is not None:
        if isinstance(node.parent, exp.Lambda) or (
            isinstance(node.parent, exp.Comprehension) and node.arg_key != "iterator"
        ):
            return True
        node = node.parent
    return False


def _is_small(node: exp.Expr) -> bool:
    if not isinstance(node, exp.Literal):
        return False
    return node.is_string or (node.name.isdigit() and len(node.name) < 10 and int(node.name) <= _LITERAL_IN_LAMBDA_MAX)
