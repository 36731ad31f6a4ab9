"""Owns what a person reads when a setting is wrong: key, value and what is allowed. Never validates anything itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml
from annotated_types import Ge, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from cluster.units import age_text, size_text
from core.ids import nearest

MASK: Final = "********"

# What pydantic's error types ask for; ranges and descriptions come from the field.
_EXPECTED: Final = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text (put it in quotes)",
    "string_too_short": "a text that is not empty",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping of settings",
}
_BOUNDS: Final = {"ge": "at least", "le": "at most"}
_CREDENTIALS: Final = re.compile(r"://[^/]*@")


def section_of(field: FieldInfo | None) -> type[BaseModel] | None:
    """The model of a setting that is itself a mapping of settings, else None."""
    annotation = None if field is None else field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def explain(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One pydantic error about `model` as one line: "shards: 0 is not allowed: 1 to 1024"."""
    names = [str(part) for part in error["loc"]]
    field, section = None, model
    for name in names:
        known = section.model_fields.get(name)
        if known is None:
            break
        field, section = known, section_of(known) or section
    if error["type"] == "extra_forbidden":
        return f"{'.'.join(names)}: {_unknown(names, section, model)}"
    line = f"{'.'.join(names)}: {_shown(error['input'], field)} is not allowed: {_allowed(error, field)}"
    if error["type"] == "model_type" and f"{names[-1]}s" in model.model_fields:
        return f"{line}, or did you mean '{names[-1]}s'?"
    return line


def _unknown(names: Sequence[str], section: type[BaseModel], root: type[BaseModel]) -> str:
    *outer, name = names
    for key, field in root.model_fields.items():
        inner = section_of(field)
        if inner is not None and inner is not section and name in inner.model_fields:
            return f"unknown key, did you mean '{key}.{name}'?"
    close = nearest(name, section.model_fields)
    if close is not None:
        return f"unknown key, did you mean {'.'.join([*outer, close])!r}?"
    return f"unknown key, use one of {', '.join(section.model_fields)}"


def _allowed(error: Mapping[str, Any], field: FieldInfo | None) -> str:
    if field is not None and field.description is not None:
        return field.description
    limits = _range(field)
    kind = error["type"]
    if kind == "value_error":
        text = str(error["ctx"]["error"])
    elif kind in ("greater_than_equal", "less_than_equal"):
        return limits or ", ".join(f"{_BOUNDS[name]} {value:g}" for name, value in error["ctx"].items())
    else:
        text = _EXPECTED.get(kind, str(error["msg"]).lower())
    return f"{text}, {limits}" if limits else text


def _range(field: FieldInfo | None) -> str:
    metadata = [] if field is None else field.metadata
    lowest = next((item.ge for item in metadata if isinstance(item, Ge)), None)
    highest = next((item.le for item in metadata if isinstance(item, Le)), None)
    if lowest is None or highest is None:
        return ""
    return f"{_quantity(lowest, metadata)} to {_quantity(highest, metadata)}"


def _quantity(value: Any, metadata: Sequence[Any]) -> str:
    if "size" in metadata:
        return size_text(value)
    return age_text(value) if "age" in metadata else f"{value:g}" if isinstance(value, float) else str(value)


def _shown(value: object, field: FieldInfo | None) -> str:
    """The value as it would stand in YAML; nothing that may hold a secret."""
    is_secret = field is not None and (
        "SecretStr" in str(field.annotation) or (section_of(field) is not None and not isinstance(value, int | float))
    )
    if is_secret or isinstance(value, SecretStr) or (isinstance(value, str) and _CREDENTIALS.search(value)):
        return MASK
    if field is not None and "size" in field.metadata and isinstance(value, int) and not isinstance(value, bool):
        return size_text(value) if value > 0 else str(value)
    if isinstance(value, str):
        return repr(value)
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
    return text if len(text) <= 200 else f"{text[:200]}…"
