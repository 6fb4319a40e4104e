"""What pydantic finds wrong with a description, in our words."""

from __future__ import annotations

from collections.abc import Callable

from pydantic_core import ErrorDetails

from cimsim.boundary import limits
from cimsim.errors import suggest


def describe(item: ErrorDetails, known: Callable[[], list[str]]) -> str:
    """Say in our words what pydantic found; ``known`` gives the keys that are allowed there."""
    match item["type"]:
        case "extra_forbidden":
            wrong = str(item["loc"][-1])
            return f"unknown key '{wrong}'{suggest(wrong, known())}"
        case "missing":
            return "missing; it has no default"
        case "value_error":
            return str(item["ctx"]["error"])
        case "model_type":
            return f"expected a mapping of fields, got {limits.shown(item['input'])}"
        case _:
            expected = item["msg"].removeprefix("Input should be ")
            return f"expected {expected}, got {limits.shown(item['input'])}"
