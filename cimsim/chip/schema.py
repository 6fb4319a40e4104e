"""The chip description as a JSON schema, from the same fields that read it: for editors."""

from __future__ import annotations

from pydantic.json_schema import JsonSchemaValue

from cimsim.chip.spec import Chip

NAME = "chip.schema.json"
HEADER = f"# yaml-language-server: $schema={NAME}"  # first line of a YAML file that uses it


def chip_schema() -> JsonSchemaValue:
    """Return the schema of a chip's YAML file (JSON schema, draft 2020-12).

    It says which keys there are, their units, choices and meanings. What only all fields together
    decide (a dimension, a range, an estimator that is missing) is said by ``cimsim hw check``.
    """
    made = Chip.model_json_schema(by_alias=True, mode="validation")
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | made
    schema["description"] = "A hardware description of cimsim; `cimsim hw check FILE` says more."
    for part in (schema, *schema["$defs"].values()):
        part.pop("title", None)
        for field in part.get("properties", {}).values():
            field.pop("title", None)
            _tell_unit(field)
    return schema | {"title": "cimsim: a computing-in-memory chip"}


def _tell_unit(field: JsonSchemaValue) -> None:
    """Say the unit where editors show it, and leave out defaults, which are in SI units."""
    for one in (field, *field.get("anyOf", ())):
        if "x-unit" in one:
            field.pop("default", None)
            unit = {"1": "share"}.get(one["x-unit"], one["x-unit"])
            text = f"{unit}, such as {one['examples'][0]}"
            known = field.get("description")
            field["description"] = f"{known} ({text})" if known else text
