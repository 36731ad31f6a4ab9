"""Owns what a person reads when a setting is wrong: key, value and what is allowed. Never validates anything itself."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from cluster.units import age_text, size_text
from core.ids import nearest

_EXPECTED = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", dict: "a mapping"}


def explain(error: Mapping[str, Any], model: type[BaseModel], sources: Mapping[str, str], path: str | None) -> str:
    """One pydantic error about `model` as one line: "shards: 0 is not allowed: 1 to 1024"."""
    names = [str(part) for part in error["loc"]]
    key = ".".join(names)
    where = f"{path}: " if path is not None and sources.get(key) == "file" else ""
    if error["type"] == "extra_forbidden":
        return f"{where}{key}: {_unknown(names, model)}"
    field, depth = _find_field(names, model)
    key = ".".join(names[:depth])
    if field is None:
        return f"{where}{key}: {error['msg']}"
    if _is_section(field.annotation) and depth == len(names):
        return f"{where}{key}: {_shown(error['input'], field)} is not allowed: a mapping of settings"
    return f"{where}{key}: {_shown(error['input'], field)} is not allowed: {_allowed(key, field, error)}"


def _unknown(names: list[str], model: type[BaseModel]) -> str:
    section = model
    for name in names[:-1]:
        annotation = section.model_fields[name].annotation
        if _is_section(annotation):
            section = annotation  # type: ignore[assignment]
    prefix = ".".join([*names[:-1], ""])
    close = nearest(names[-1], section.model_fields) or nearest_section(names[-1], model)
    if close is None:
        return f"unknown key: use one of {', '.join(section.model_fields)}"
    return f"unknown key, did you mean {prefix + close if close in section.model_fields else close!r}?"


def nearest_section(name: str, model: type[BaseModel]) -> str | None:
    """The dotted key of a setting that is called `name` in another section, or None."""
    for section, field in model.model_fields.items():
        if _is_section(field.annotation) and name in field.annotation.model_fields:  # type: ignore[union-attr]
            return f"{section}.{name}"
    return model.model_fields and (name if name in model.model_fields else None) or None


def _find_field(names: Iterable[str], model: type[BaseModel]) -> tuple[FieldInfo | None, int]:
    field: FieldInfo | None = None
    depth = 0
    section: Any = model
    for name in names:
        if not _is_section(section) or name not in section.model_fields:
            break
        field = section.model_fields[name]
        section = field.annotation
        depth += 1
    return field, depth


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
