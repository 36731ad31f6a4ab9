"""Owns the aggregates whose partial states can be shipped: how a leaf exports one and a coordinator finishes it.

A state does not say what it is a state of, and the engine believes whatever it is told. So arguments are cast
explicitly at the leaf, their types travel in the plan, and a signature is used only when the finished type equals
the plain aggregate's. Never decides whether a query may be split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.errors import InvalidQuery
from query.dialect import literal, quote, words
from query.executor import Session

# name → number of arguments. Each is tested against the plain aggregate in tests/unit/test_query_aggregates.py.
# Not here: count(DISTINCT) and its like (shipped as rows), histogram, mode, entropy (no states), approx_top_k (its
# merge loses values where parts hold different ones, as sorted segments do: 6 to 9 of the true top 10 over 50 parts,
# and the first in the fifth place). The state of an exact quantile is every value, without its group: measured for 3 M
# values of 4 groups, 24 MB instead of 64 MB to send, and 66 ms instead of 130 ms to merge.
EXPORTABLE: Final = {
    "count": (0, 1),
    "count_star": (0,),
    "count_if": (1,),
    "countif": (1,),
    "sum": (1,),
    "avg": (1,),
    "mean": (1,),
    "min": (1,),
    "max": (1,),
    "fsum": (1,),
    "sumkahan": (1,),
    "kahan_sum": (1,),
    "favg": (1,),
    "product": (1,),
    "stddev": (1,),
    "stddev_pop": (1,),
    "stddev_samp": (1,),
    "variance": (1,),
    "var_pop": (1,),
    "var_samp": (1,),
    "sem": (1,),
    "skewness": (1,),
    "kurtosis": (1,),
    "kurtosis_pop": (1,),
    "corr": (2,),
    "covar_pop": (2,),
    "covar_samp": (2,),
    "regr_avgx": (2,),
    "regr_avgy": (2,),
    "regr_count": (2,),
    "regr_intercept": (2,),
    "regr_r2": (2,),
    "regr_slope": (2,),
    "regr_sxx": (2,),
    "regr_sxy": (2,),
    "regr_syy": (2,),
    "bool_and": (1,),
    "bool_or": (1,),
    "bit_and": (1,),
    "bit_or": (1,),
    "bit_xor": (1,),
    "any_value": (1,),
    "first": (1,),
    "last": (1,),
    "arbitrary": (1,),
    "arg_min": (2,),
    "arg_max": (2,),
    "min_by": (2,),
    "max_by": (2,),
    "argmin": (2,),
    "argmax": (2,),
    "list": (1,),
    "array_agg": (1,),
    "approx_count_distinct": (1,),
    "approx_quantile": (2,),
    "median": (1,),
    "mad": (1,),
    "quantile": (2,),
    "quantile_cont": (2,),
    "quantile_disc": (2,),
}

# Aggregates whose second argument is a constant, or a list of constants, of this type.
FRACTIONS: Final = {
    "approx_quantile": "FLOAT",
    "quantile": "DOUBLE",
    "quantile_cont": "DOUBLE",
    "quantile_disc": "DOUBLE",
}

_WHOLE: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_NUMBERS: Final = (*_WHOLE, "HUGEINT", "DECIMAL", "FLOAT")

# Every aggregate of the engine, to tell a grouped value from an aggregate's argument.
AGGREGATE_NAMES: Final = frozenset(EXPORTABLE) | words(
    """
    approx_top_k arg_max_null arg_max_nulls_last arg_min_null arg_min_nulls_last bitstring_agg decimal_average entropy
    group_concat histogram histogram_exact listagg lttb mad median mode quantile quantile_cont quantile_disc
    percentile_cont percentile_disc reservoir_quantile string_agg sum_no_overflow variant_group_object
    variant_group_array geomean geometric_mean wavg weighted_avg json_group_array json_group_object
    json_group_structure grouping grouping_id
    """
)


@dataclass(frozen=True, slots=True)
class Signature:
    """An aggregate with the exact SQL types of its arguments; `constants` is the SQL of its constant ones, or ""."""

    name: str
    types: tuple[str, ...]
    constants: tuple[str, ...] = ()

    def export(self, arguments: list[str], filter_: str) -> str:
        """The leaf's expression over argument expressions; `filter_` is a FILTER clause or ""."""
        return f"{self.call(arguments)}{filter_} EXPORT_STATE"

    def call(self, arguments: list[str]) -> str:
        """The plain aggregate over argument expressions, each cast to its type."""
        if self.name == "count_star":
            return "count(*)"
        casts = [
            constant or f"CAST({argument} AS {type_})"
            for argument, type_, constant in zip(arguments, self.types, self.constants, strict=True)
        ]
        return f"{self.name}({', '.join(casts)})"

    def finish(self, column: str) -> str:
        """The coordinator's expression over the states in `column`."""
        types = ", ".join(literal(type_) for type_ in self.types)
        signature = f"{literal(self.name)}, [{types}]"
        if any(self.constants):
            signature += f", [{', '.join(constant or 'NULL' for constant in self.constants)}]"
        return f"finalize(combine_aggr(to_aggregate_state({quote(column)}, {signature})))"


def find_signature(
    name: str,
    types: tuple[str, ...],
    constants: tuple[str, ...],
    session: Session,
    known: dict[Signature, Signature | None],
) -> Signature | None:
    """The signature to ship states of `name` over arguments of `types` with, None when there is none.

    The engine casts arguments that no overload takes as they are (a BIGINT to stddev), but knows states only by the
    overloads' own types. Answers are kept in `known`.
    """
    asked = Signature(name, types, constants)
    if asked not in known:
        nulls = ["NULL"] * len(types)
        plain = session.bind(f"SELECT {asked.call(nulls)}").types
        candidates = (asked, _widened(asked, _WHOLE, "HUGEINT"), _widened(asked, _NUMBERS, "DOUBLE"))
        known[asked] = next((found for found in candidates if _finished_types(found, session) == plain), None)
    return known[asked]


def _finished_types(signature: Signature, session: Session) -> tuple[str, ...] | None:
    nulls = ["NULL"] * len(signature.types)
    inner = f'SELECT {signature.export(nulls, "")} AS "s"'
    try:
        return session.bind(f"SELECT {signature.finish('s')} FROM ({inner})").types
    except InvalidQuery:
        return None  # no states for these types: the next candidate, or rows are gathered


def _widened(signature: Signature, from_: tuple[str, ...], type_: str) -> Signature:
    types = tuple(type_ if held.startswith(from_) else held for held in signature.types)
    return Signature(signature.name, types, signature.constants)
