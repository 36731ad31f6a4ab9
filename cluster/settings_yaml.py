"""Owns the bytes of a settings file: plain YAML, one mapping, no key twice. Never knows what a key means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from core.errors import InvalidSettings, NotFound


class _Loader(yaml.SafeLoader):
    """YAML's safe subset; a key that stands twice in a mapping is an error and not a silent choice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key_node, _ in node.value:
        if key_node.tag != "tag:yaml.org,2002:merge" and key_node.value in seen:
            raise yaml.MarkedYAMLError(
                problem=f"key {key_node.value!r} stands there twice", problem_mark=key_node.start_mark
            )
        if isinstance(key_node, yaml.ScalarNode):
            seen.add(key_node.value)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_mapping(path: str) -> dict[str, Any]:
    """The mapping in the file; {} when it is empty. NotFound, or InvalidSettings with line and column from 1."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"settings file {path!r} is not there: name another, or none for the defaults") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"settings file {path!r} cannot be read: {error}") from error
    try:
        loader = _Loader(text)
        try:
            content = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise InvalidSettings(f"{path}: {_where(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InvalidSettings(f"{path}: a settings file is one mapping of names to values, see ray_config.yaml")
    return content


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else f"not valid yaml: {problem}"
