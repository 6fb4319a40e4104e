"""The study file as a JSON schema, from the same keys that read it: for editors."""

from __future__ import annotations

from pydantic.json_schema import JsonSchemaValue

from cimsim.chip.schema import chip_schema
from cimsim.mapping.strategies import STRATEGIES
from cimsim.placing.by_name import ALLOCATIONS
from cimsim.studies.grid import KEYS

NAME = "study.schema.json"
HEADER = f"# yaml-language-server: $schema={NAME}"
_PLAIN = {"type": ["number", "string", "boolean", "null"]}
_AXIS = {"$ref": "#/$defs/axis"}
_ANY_AXIS = {"anyOf": [_PLAIN, {"type": "array", "items": _PLAIN, "minItems": 1}]}
_NAMES = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"},
                                          "minItems": 1}]}  # fmt: skip
_RANGE = "a value, a list, or a range as text: 4..10, 50..200:50 MHz"


def study_schema() -> JsonSchemaValue:
    """Return the schema of a ``study.yaml`` (JSON schema, draft 2020-12).

    It says which keys there are; whether a range is one and a name exists is said by
    ``cimsim sweep``, before anything takes long.
    """
    network = {
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "required": ["model"],
                "properties": {
                    "model": {"type": "string", "description": "as --model takes it"},
                    "weights": {**_NAMES, "description": "as --weights takes them"},
                    "streaming": {"type": "boolean"},
                    "input_shape": {"type": "string", "description": "such as 1x40x98"},
                },
                "additionalProperties": _AXIS,
                "description": "other keys are options of the network; each may be a range",
            },
        ]
    }
    keys: JsonSchemaValue = {
        "networks": {"anyOf": [network, {"type": "array", "items": network, "minItems": 1}],
                     "description": "names, or {model: NAME, option: value or range}"},
        "chips": {**_NAMES, "description": "names of `cimsim hw list`, or files"},
        "set": {
            "type": "object", "additionalProperties": _AXIS,
            "properties": dict.fromkeys(_chip_fields(), _AXIS),
            "description": f"chip field -> {_RANGE}",
        },
        "mappings": {**_NAMES, "description": f"strategies: {', '.join(STRATEGIES)}; or files"},
        "allocations": {**_NAMES, "description": ", ".join(ALLOCATIONS)},
        "schedule": {"enum": ["pipelined", "sequential"]},
        "clips": {"anyOf": [{"type": ["string", "null"]},
                            {"type": "array", "items": {"type": ["string", "null"]}}],
                  "description": "files; embedded is the built-in one"},
        "sigmas": {**_AXIS, "description": f"noise in 8-bit steps: {_RANGE}"},
        "frames": {"type": "integer", "minimum": 0,
                   "description": "of each clip; 0: time and energy alone"},
        "start": {"type": "integer", "minimum": 0, "description": "first frame"},
        "size": {"type": "string", "pattern": r"^\s*\d+\s*[x×]\s*\d+\s*$",
                 "description": "WIDTHxHEIGHT"},
        "seed": {"type": "integer", "minimum": 0, "description": "of the first chip"},
        "seeds": {"type": "integer", "minimum": 1, "description": "chips on the same frames"},
        "frame_rate": {"type": ["number", "null"], "description": "frames per second"},
    }  # fmt: skip
    grid = {"type": "object", "properties": {key: {"$ref": f"#/properties/{key}"} for key in keys},
            "additionalProperties": False}  # fmt: skip
    own = {
        "name": {"type": "string", "description": "what the study is called"},
        "grids": {"type": "array", "items": grid, "minItems": 1,
                  "description": "each overrides what stands above it"},
    }  # fmt: skip
    assert {*keys, *own} == set(KEYS)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": own | keys,
        "additionalProperties": False,
        "$defs": {"axis": _ANY_AXIS},
        "title": "cimsim: a study",
        "description": "One question with ranges; `cimsim sweep FILE` runs it.",
    }


def _chip_fields() -> list[str]:
    """Return dotted paths of chip fields, for completion."""
    schema = chip_schema()
    paths = []
    for name, part in schema["properties"].items():
        inner = part.get("$ref") or next(
            (one["$ref"] for one in part.get("anyOf", ()) if "$ref" in one), None
        )
        if inner is None:
            continue
        below = schema["$defs"][inner.rpartition("/")[2]].get("properties", {})
        paths += [f"{name}.{field}" for field in below]
    return paths
