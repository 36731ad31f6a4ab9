"""Owns ClickHouse's own functions as the engine's: those that sqlglot passes on by their names. Never parses."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

_CASTS: Final = {
    "todate": "DATE",
    "todatetime": "TIMESTAMP",
    "todatetime64": "TIMESTAMP",
    "tostring": "TEXT",
    "toint32": "INT",
    "toint64": "BIGINT",
    "touint64": "UBIGINT",
    "tofloat64": "DOUBLE",
}
_MINUTES: Final = {"tostartoffiveminutes": 5, "tostartoftenminutes": 10, "tostartoffifteenminutes": 15}
_AGGREGATES: Final = {
    "uniq": "approx_count_distinct",
    "grouparray": "list",
    "argmax": "arg_max",
    "argmin": "arg_min",
    "any": "any_value",
    "anylast": "last",
}
_IF: Final = "If"


def as_engine_calls(node: exp.Expr) -> exp.Expr:
    """`node` with the engine's function in the place of ClickHouse's, where that has another one."""
    if isinstance(node, exp.ParameterizedAgg):
        return _parameterized(node)
    if isinstance(node, (exp.CombinedAggFunc, exp.Anonymous, exp.AnonymousAggFunc)):
        name, arguments = node.name, node.expressions
        if name == "multiIf":
            return _case(arguments)
        if name.endswith(_IF) and name != _IF and len(arguments) > 1:
            *arguments, condition = arguments
            return exp.Filter(this=_aggregate(name[: -len(_IF)], arguments), expression=exp.Where(this=condition))
        return _call(name, arguments) or (_aggregate(name, arguments) if isinstance(node, exp.AggFunc) else node)
    return node


def _parameterized(node: exp.ParameterizedAgg) -> exp.Expr:
    """`topK(3)(x)` and its like: sqlglot calls the first brackets the expressions."""
    name, arguments, values = str(node.this), list(node.args["params"]), node.expressions
    condition = arguments.pop() if name.endswith(_IF) and len(arguments) > 1 else None
    name = name.removesuffix(_IF).lower()
    if name == "topk":
        call = exp.Anonymous(this="approx_top_k", expressions=[*arguments, *values])
    elif name.startswith("quantiles"):
        call = exp.Anonymous(this="quantile_cont", expressions=[*arguments, exp.Array(expressions=values)])
    elif name.startswith("quantile"):
        call = exp.Anonymous(this="quantile_cont", expressions=[*arguments, *values])
    else:
        return node
    return call if condition is None else exp.Filter(this=call, expression=exp.Where(this=condition))


def _aggregate(name: str, arguments: list[exp.Expr]) -> exp.Expr:
    if name.lower() == "uniqexact":
        return exp.Count(this=exp.Distinct(expressions=arguments))
    return exp.Anonymous(this=_AGGREGATES.get(name.lower(), name), expressions=arguments)


def _call(name: str, arguments: list[exp.Expr]) -> exp.Expr | None:
    name = name.lower()
    if name in _CASTS and arguments:
        return exp.cast(arguments[0], _CASTS[name])
    if name in _MINUTES and len(arguments) == 1:
        length = exp.Interval(this=exp.Literal.string(str(_MINUTES[name])), unit=exp.Var(this="MINUTE"))
        return exp.Anonymous(this="time_bucket", expressions=[length, arguments[0]])
    if name == "tostartofinterval" and len(arguments) == 2:
        return exp.Anonymous(this="time_bucket", expressions=[arguments[1], arguments[0]])
    if name == "tounixtimestamp" and len(arguments) == 1:
        return exp.Anonymous(this="epoch", expressions=arguments)
    return None


def _case(arguments: list[exp.Expr]) -> exp.Expr:
    pairs = zip(arguments[0:-1:2], arguments[1::2], strict=False)
    default = arguments[-1] if len(arguments) % 2 else None
    return exp.Case(ifs=[exp.If(this=condition, true=value) for condition, value in pairs], default=default)
