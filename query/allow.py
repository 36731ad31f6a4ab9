"""Owns what a query may contain: one read-only statement over streams. Never resolves names, never runs anything.

The engine itself is locked as well (query.executor): this is the first of two walls, and the one that explains.
"""

from __future__ import annotations

import re
from typing import Final

from sqlglot import exp

from core.errors import InvalidQuery
from query.bounded_functions import growth_mistake
from query.dialect import RESERVED, call_name, words

TABLE_FUNCTIONS: Final = frozenset({"unnest", "generate_series", "range", "repeat", "json_each", "json_tree"})

# Names that stand for something of the engine where no column is called so.
ENGINE_NAMES: Final = words("user current_user current_role session_user current_catalog current_schema")
# What reads files, settings or the catalog, changes state, waits, or takes bytes for a trusted internal structure.
_REFUSED_CALLS: Final = words(
    """
    getenv getvariable current_setting set_config current_database current_catalog current_schema current_schemas
    current_query current_query_id current_connection_id current_transaction_id current_user current_role
    session_user user nextval currval setval setseed sleep_ms write_log parse_duckdb_log_message txid_current version
    add_parquet_key in_search_path index_key stats vector_type query query_table glob sniff_csv which_secret
    json_serialize_sql json_deserialize_sql json_serialize_plan json_execute_serialized_sql
    to_aggregate_state combine combine_aggr finalize col_description obj_description shobj_description
    get_block_size map_to_pg_oid format_pg_type checkpoint force_checkpoint arrow_scan arrow_scan_dumb pandas_scan
    python_arrow_scan python_map_function seq_scan summary repeat_row copy_database import_database
    """
)
_REFUSED_PREFIXES: Final = re.compile(
    r"__internal|pg_(?!typeof$|size_pretty$)|has_\w+_privilege$|inet_(client|server)_|duckdb_|pragma_|read_|parquet_"
    r"|test_|enable_|disable_|register_|deregister_|create_external|destroy_external|truncate_|icu_calendar"
)

_ROOTS: Final = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values, exp.Describe, exp.Summarize)
_REFUSED_NODES: Final = (
    exp.DDL,
    exp.DML,
    exp.Command,
    exp.Into,
    exp.Lock,
    exp.Set,
    exp.Use,
    exp.Pragma,
    exp.Attach,
    exp.Detach,
    exp.Copy,
    exp.Install,
    exp.Alter,
    exp.Drop,
    exp.Show,
    exp.Transaction,
    exp.Commit,
    exp.Rollback,
    exp.CurrentUser,
    exp.CurrentRole,
    exp.CurrentCatalog,
    exp.SessionUser,
    exp.MatchRecognize,
    exp.Version,
    exp.HistoricalData,
)


def check_allowed(tree: exp.Expr) -> None:
    """Raise InvalidQuery, with the position when known, unless `tree` only reads streams."""
    if isinstance(tree, exp.Command):
        raise other_statement(tree.name)
    if not isinstance(tree, _ROOTS):
        raise other_statement(tree.key)
    for node in tree.walk():
        if isinstance(node, _REFUSED_NODES) and not isinstance(node, _ROOTS):
            raise refusal(node, f"{node.key.lower()} is not allowed in a query: a query only reads, leave it out")
        if isinstance(node, (exp.Describe, exp.Summarize)) and not isinstance(node.this, (exp.Table, *_ROOTS)):
            raise refusal(node, f"{node.key} takes a stream or a SELECT: it does not read files")
        if isinstance(node, exp.Table):
            _check_table(node)
        elif isinstance(node, (exp.Anonymous, exp.Func)):
            _check_call(node)
        elif isinstance(node, exp.Alias) and node.alias.lower() == "export_state" and not node.args["alias"].quoted:
            raise refusal(node, "EXPORT_STATE is not allowed in a query: states are kept for you")
        elif isinstance(node, exp.Identifier) and node.name.startswith(RESERVED):
            raise refusal(node, f"the name {node.name!r} is reserved: use another one")


def other_statement(word: str) -> InvalidQuery:
    """The refusal of a statement that begins with `word`."""
    return InvalidQuery(
        f"{word.lower()} statements are not allowed: a query only reads, send one SELECT", line=1, column=1
    )


def _check_table(table: exp.Table) -> None:
    if table.args.get("db") or table.args.get("catalog"):
        name = ".".join(part.name for part in table.parts)
        raise refusal(table, f"table {name!r} is not allowed: streams have no schema or catalog, use the stream's name")
    if isinstance(table.this, exp.Identifier):
        return
    name = call_name(table.this) or table.this.key.lower()
    if name not in TABLE_FUNCTIONS:
        allowed = ", ".join(sorted(TABLE_FUNCTIONS))
        raise refusal(table, f"table function {name!r} is not allowed: use a stream or one of {allowed}")


def _check_call(node: exp.Expr) -> None:
    name = call_name(node)
    if name and (name in _REFUSED_CALLS or _REFUSED_PREFIXES.match(name)):
        raise refusal(node, f"function {name!r} is not allowed in a query: it is not about events")
    mistake = growth_mistake(node)
    if mistake:
        raise refusal(node, mistake)


def refusal(node: exp.Expr, message: str) -> InvalidQuery:
    """InvalidQuery with the position of the first token of `node` that knows one."""
    for part in node.walk():
        if "line" in part.meta:
            width = int(part.meta["end"]) - int(part.meta["start"])
            return InvalidQuery(message, line=int(part.meta["line"]), column=max(1, int(part.meta["col"]) - width))
    return InvalidQuery(message)
