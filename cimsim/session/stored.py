"""Files of results: what they must hold, and whether they are as cimsim wrote them.

What stands in a file is said once, by the classes of a result: `model_of` makes of each what checks
it. A file names the SHA-256 of its own content (`seal`), so that an edited digit is noticed. That
is no signature: who changes a file on purpose can compute it anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from cimsim.boundary import json_text
from cimsim.boundary.limits import RESULT, shown

SCHEMA_VERSION = 2
SEAL = "sha256"


class Part(BaseModel):
    """A part of a file: nothing is missing, nothing too much, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


def fields_of(kind: type, types: Mapping[str, object] | None = None) -> dict[str, object]:
    """Return the fields of a dataclass with their types, in their order.

    Parameters
    ----------
    kind : type
    types : mapping of str to type, optional
        Instead of those that the class has, where a file differs.
    """
    hints = get_type_hints(kind) | dict(types or {})
    return {field.name: hints[field.name] for field in fields(kind)}


def model_of(name: str, types: Mapping[str, object], optional: Collection[str] = ()) -> type[Part]:
    """Return what checks a part of a file: all fields must be there, and no others.

    Parameters
    ----------
    name : str
        For messages.
    types : mapping of str to type
    optional : collection of str
        Fields that may be missing: those of ``None`` or of a tuple.
    """
    given: dict[str, Any] = {
        field: (kind, _nothing(kind) if field in optional else ...) for field, kind in types.items()
    }
    return create_model(name, __base__=Part, **given)


def _nothing(kind: object) -> tuple[()] | None:
    return () if getattr(kind, "__origin__", None) is tuple else None


def seal(data: Mapping[str, object]) -> str:
    """Return the SHA-256 of a result as plain data, its own ``sha256`` left out."""
    told = {name: value for name, value in data.items() if name != SEAL}
    return hashlib.sha256(json_text.dump(told, indent=None, sort_keys=True).encode()).hexdigest()


def read(text: str, model: type[Part]) -> tuple[dict[str, object], dict[str, object]]:
    """Read the text of a ``result.json``.

    Parameters
    ----------
    text : str
    model : type
        What checks the whole file, see `model_of`.

    Returns
    -------
    dict
        Field -> value; parts that have a class of their own as that which checked them.
    dict
        The same as plain data.

    Raises
    ------
    ValueError
        No JSON, another schema, a field that is missing, too much or of another type, or content
        that is not what was written.
    """
    data = json_text.load(text, RESULT)
    if not isinstance(data, dict) or "schema_version" not in data:
        raise ValueError("no result of a run")
    if data["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"schema_version {shown(data['schema_version'])}, expected {SCHEMA_VERSION}; run it "
            "again with this version"
        )
    try:
        # in JSON mode lists become tuples, and nothing else is converted
        found = dict(model.model_validate_json(json.dumps(data), strict=True))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(
            f"no result of this version: {place}: {first['msg']}, got {shown(first['input'])}"
        ) from None
    if found[SEAL] != seal(data):
        raise ValueError(
            "the content does not have the SHA-256 that it names: it was edited or is damaged; "
            "copy it again, or run it again"
        )
    return found, data
