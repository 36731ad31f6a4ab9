"""An independent, slow reading of what shredding may change about a JSON event. Shares no code with ingest."""

from __future__ import annotations

from typing import Any


def flat(event: dict[str, Any]) -> dict[str, Any]:
    """Dotted path → value of an event as json.loads gives it: null absent, last one wins, {} and arrays as they are."""
    found: dict[str, Any] = {}

    def visit(path: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for key, item in value.items():
                visit(f"{path}.{key}", item)
        elif value is not None:
            found[path] = value

    for key, value in event.items():
        visit(key, value)
    return found


def typed(value: Any) -> Any:
    """`value` in a form in which 1, 1.0 and True, and 0.0 and -0.0 differ, and NaN equals NaN."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return (type(value).__name__, repr(value))
