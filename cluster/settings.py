"""Owns reading settings: a YAML file, the environment and arguments become one validated tree that knows its sources.

Later sources win: default, file, environment, argument. Never imports ray, never prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import yaml
from pydantic import BaseModel, SecretStr, ValidationError

from cluster.settings_errors import MASK, explain, section_of
from cluster.settings_tree import (
    ActorResources,
    Flush,
    Limits,
    Query,
    RayOptions,
    Section,
    Settings,
    StorageOptions,
)
from cluster.settings_yaml import read_mapping
from core.errors import InvalidSettings, NotFound

__all__ = [
    "ENVIRONMENT",
    "ActorResources",
    "Flush",
    "Limits",
    "Query",
    "RayOptions",
    "Settings",
    "StorageOptions",
    "describe",
    "launcher_yaml",
    "load_settings",
]

# Only what differs between machines or must not stand in a file.
ENVIRONMENT: Final = {
    "MALAMUTE_STORAGE": "storage",
    "MALAMUTE_WAL_DIRECTORY": "wal_directory",
    "MALAMUTE_ACCESS_KEY_ID": "storage_options.access_key_id",
    "MALAMUTE_SECRET_ACCESS_KEY": "storage_options.secret_access_key",
}


def load_settings(path: str | None, overrides: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """The settings of a deployment.

    `path` names a YAML file (None = defaults); `overrides` are arguments, nested or with dotted keys, in which None
    counts as not given; `environ` is a process environment, of which only ENVIRONMENT is read.
    Raises NotFound when the file is not there and InvalidSettings, naming key, value and what is allowed.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if path is not None:
        _merge(values, sources, _flat(read_mapping(path)), "file")
    variables = {key: environ[name] for name, key in ENVIRONMENT.items() if environ.get(name)}
    _merge(values, sources, variables, "environment")
    given = {key: value for key, value in _flat(overrides).items() if value is not None}
    _merge(values, sources, given, "argument")
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise InvalidSettings("; ".join(explain(item, Settings) for item in error.errors())) from None
    settings._sources.update(sources)
    return settings


def describe(settings: Settings) -> list[tuple[str, str, str]]:
    """(dotted key, value as text, source) of every setting; secrets are masked.

    A source is "default", "file", "environment" or "argument"; of settings that were made in Python, "argument"
    is what was given.
    """
    rows: list[tuple[str, str, str]] = []
    _describe(settings, "", settings._sources, rows)
    return rows


def launcher_yaml(settings: Settings) -> str:
    """The body of `launcher:` as a YAML file for `ray up`; NotFound when there is none."""
    if settings.launcher is None:
        raise NotFound(f"deployment {settings.name!r} has no 'launcher': add one, ray_config.yaml shows an example")
    return yaml.safe_dump(settings.launcher, sort_keys=False, default_flow_style=False)


def _describe(section: Section, prefix: str, sources: Mapping[str, str], rows: list[tuple[str, str, str]]) -> None:
    for name in type(section).model_fields:
        key, value = f"{prefix}{name}", getattr(section, name)
        if isinstance(value, Section):
            _describe(value, f"{key}.", sources, rows)
            continue
        source = sources.get(key) or ("default" if sources or name not in section.model_fields_set else "argument")
        rows.append((key, _value_text(key, value), source))


def _value_text(key: str, value: object) -> str:
    if value is None:
        return "null"
    if key == "launcher":
        return "given"
    return MASK if isinstance(value, SecretStr) else str(value)


def _flat(values: Mapping[str, Any], prefix: str = "", model: type[BaseModel] = Settings) -> dict[str, Any]:
    """Dotted keys of the sections of `model`; what is no section, or not a mapping as it should be, stays as it is."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        section = section_of(model.model_fields.get(name))
        if section is not None and isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{name}.", section))
        elif section is None or value is not None:  # a section of which every line is a comment is not given
            flat[f"{prefix}{name}"] = value
    return flat


def _merge(values: dict[str, Any], sources: dict[str, str], flat: Mapping[str, Any], source: str) -> None:
    """Put dotted keys into the nested `values` and note where they came from."""
    for key, value in flat.items():
        *sections, name = key.split(".")
        target = values
        for section in sections:
            inner = target.setdefault(section, {})
            if not isinstance(inner, dict):
                raise InvalidSettings(f"{section}: {inner!r} is not allowed: a mapping of settings")
            target = inner
        target[name] = value
        sources[key] = source
