"""Owns contexts: whether the place of a reference asks for a number, a moment, a truth value or anything.

Looks at the tree only; which type comes of it is decided in query.readings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlglot import exp

from query.dialect import call_name, words
from query.numeric_text import is_numeric
from query.operators import Absolute, Infix
from query.readings import LIST, MOMENT, NUMBER, PLAIN, TEXT, TRUTH, WORD

_COMPARISONS: Final = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ)
_ARITHMETIC: Final = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Pow, exp.Neg, Absolute)
_EQUALITIES: Final = (exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ)
_TEXT_PLACES: Final = (
    exp.Like,
    exp.ILike,
    exp.SimilarTo,
    exp.Glob,
    exp.RegexpLike,
    exp.DPipe,
    exp.Trim,
    exp.Substring,
    exp.StrPosition,
    exp.JSONExtract,
    exp.JSONExtractScalar,
)
_TRANSPARENT: Final = (exp.Paren,)

# Functions whose first argument is a number (the others of them are constants or numbers too).
_NUMBER_CALLS: Final = words(
    """
    sum avg mean favg fsum kahan_sum sumkahan sum_no_overflow stddev stddev_pop stddev_samp variance var_pop var_samp
    median quantile quantile_cont approx_quantile reservoir_quantile mad kurtosis kurtosis_pop skewness sem product
    geomean geometric_mean corr covar_pop covar_samp regr_avgx regr_avgy regr_count regr_intercept regr_r2
    regr_slope regr_sxx regr_sxy regr_syy wavg weighted_avg
    abs round round_even trunc floor ceil ceiling sqrt cbrt ln log log2 log10 exp pow power sign degrees radians sin cos
    tan asin acos atan atan2 mod divide isnan isinf isfinite to_timestamp make_timestamp epoch_ms bar
    """
)
_MOMENT_CALLS: Final = words(
    """
    date_trunc datetrunc date_part datepart date_diff datediff date_sub datesub time_bucket strftime
    year month day hour minute second quarter week dayofweek dayofyear epoch epoch_us epoch_ns dayname monthname
    """
)
_MOMENT_VALUES: Final = words(
    "now today current_date get_current_timestamp transaction_timestamp to_timestamp make_timestamp make_timestamptz "
    "date_trunc time_bucket current_localtimestamp"
)
_NUMBER_VALUES: Final = _NUMBER_CALLS - {"to_timestamp", "make_timestamp", "isnan", "isinf", "isfinite", "bar"} | words(
    "count length len strlen date_part datediff date_diff year month day hour minute second epoch epoch_us"
)
_SAME_TYPE_CALLS: Final = frozenset({"min", "max", "any_value", "first", "last", "coalesce", "greatest", "least"})
_TEXT_CALLS: Final = words(
    """
    upper lower ucase lcase length len strlen contains starts_with ends_with prefix suffix replace translate reverse
    trim ltrim rtrim substr substring left right lpad rpad split_part string_split str_split split string_to_array
    string_split_regex instr strpos position regexp_matches regexp_full_match regexp_extract regexp_extract_all
    regexp_replace regexp_split_to_array like_escape ilike_escape not_like_escape concat concat_ws string_agg listagg
    group_concat levenshtein editdist3 hamming jaccard jaro_similarity jaro_winkler_similarity md5 sha1 sha256 ascii
    unicode nfc_normalize strip_accents to_base64 url_encode url_decode json_extract json_extract_string
    """
)
_LIST_CALLS: Final = frozenset({"unnest"})
_NUMBER_TYPES: Final = exp.DataType.NUMERIC_TYPES
_TEXT_TYPES: Final = exp.DataType.TEXT_TYPES
_MOMENT_TYPES: Final = exp.DataType.TEMPORAL_TYPES

KindOf = Callable[[exp.Column], str | None]


def context_of(column: exp.Column, kind_of: KindOf) -> str:
    """The context of `column`; `kind_of` gives NUMBER, MOMENT or TRUTH for columns of a certain type, else None."""
    node: exp.Expr = column
    parent = node.parent
    while isinstance(parent, _TRANSPARENT):
        node, parent = parent, parent.parent
    if parent is None:
        return PLAIN
    if isinstance(parent, _ARITHMETIC):
        return _arithmetic(node, parent, kind_of)
    if isinstance(parent, _COMPARISONS):
        other = parent.expression if parent.this is node else parent.this
        return _type_of(other, kind_of) or (WORD if isinstance(parent, _EQUALITIES) and _is_word(other) else PLAIN)
    if isinstance(parent, (exp.Between, exp.In)):
        return _member(node, parent, kind_of)
    if isinstance(parent, (exp.And, exp.Or, exp.Not, exp.Where, exp.Having)) or (
        isinstance(parent, exp.If) and node.arg_key == "this"
    ):
        return TRUTH
    if isinstance(parent, exp.Is):
        return TRUTH if isinstance(parent.expression, exp.Boolean) else PLAIN
    if isinstance(parent, exp.Extract):
        return MOMENT
    if isinstance(parent, _TEXT_PLACES) or (
        isinstance(parent, (exp.Cast, exp.TryCast)) and parent.to.this in _TEXT_TYPES
    ):
        return TEXT
    if isinstance(parent, Infix):
        return TEXT if parent.args["sign"] == "^@" else PLAIN
    return _call(node, parent)


def _arithmetic(node: exp.Expr, parent: exp.Expr, kind_of: KindOf) -> str:
    if isinstance(parent, exp.Binary):
        other = parent.expression if parent.this is node else parent.this
        if isinstance(other, exp.Interval) or _type_of(other, kind_of) == MOMENT:
            return MOMENT
    return NUMBER


def _member(node: exp.Expr, parent: exp.Between | exp.In, kind_of: KindOf) -> str:
    others = list(parent.iter_expressions())
    kinds = {_type_of(other, kind_of) for other in others if other is not node}
    if isinstance(parent, exp.In) and parent.expressions and all(map(_is_word, parent.expressions)):
        return WORD
    return (kinds.pop() or PLAIN) if len(kinds) == 1 else PLAIN


def _is_word(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and node.is_string and not is_numeric(node.name)


def _call(node: exp.Expr, parent: exp.Expr) -> str:
    if isinstance(parent, (exp.Distinct, exp.Order, exp.Ordered, exp.Filter)):
        if isinstance(parent, exp.Distinct) and isinstance(parent.parent, exp.Anonymous):
            return NUMBER if call_name(parent.parent) in _NUMBER_CALLS else PLAIN
        within = parent.parent.parent if isinstance(parent, exp.Ordered) and parent.parent is not None else None
        if isinstance(within, exp.WithinGroup) and call_name(within.this) == "percentile_cont":
            return NUMBER
        return PLAIN
    name = call_name(parent)
    if name == "if" and parent.expressions and parent.expressions[0] is node:
        return TRUTH
    if name in _NUMBER_CALLS:
        return NUMBER
    if name in _MOMENT_CALLS:
        return MOMENT
    if name in _TEXT_CALLS:
        return TEXT
    return LIST if name in _LIST_CALLS or isinstance(parent, exp.Unnest) else PLAIN


def _type_of(node: exp.Expr, kind_of: KindOf) -> str | None:
    """NUMBER, MOMENT or TRUTH when that is certain from the expression itself, else None."""
    while isinstance(node, _TRANSPARENT):
        node = node.this
    if isinstance(node, exp.Column):
        return kind_of(node)
    if isinstance(node, exp.Literal):
        return None if node.is_string else NUMBER
    if isinstance(node, exp.Boolean):
        return TRUTH
    if isinstance(node, (exp.Cast, exp.TryCast)):
        kind = node.to.this
        return NUMBER if kind in _NUMBER_TYPES else MOMENT if kind in _MOMENT_TYPES else None
    if isinstance(node, (exp.CurrentTimestamp, exp.CurrentDate, exp.Localtimestamp)):
        return MOMENT
    if isinstance(node, _ARITHMETIC):
        sides = [_type_of(side, kind_of) for side in node.iter_expressions()]
        return MOMENT if MOMENT in sides else NUMBER
    if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Select):
        return _type_of(node.this.expressions[0].unalias(), kind_of)
    name = call_name(node)
    if name in _SAME_TYPE_CALLS and node.expressions:
        return _type_of(node.expressions[0], kind_of)
    return MOMENT if name in _MOMENT_VALUES else NUMBER if name in _NUMBER_VALUES else None
