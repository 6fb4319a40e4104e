"""The mapping file as a JSON schema, from the same lists that read it: for editors."""

from __future__ import annotations

from pydantic.json_schema import JsonSchemaValue

from cimsim.mapping import files
from cimsim.mapping.layout import Block

NAME = "mapping.schema.json"
HEADER = f"# yaml-language-server: $schema={NAME}"
_WHOLE = {"type": "integer", "minimum": 0}
_TOLD = {
    "name": "the programmed matrix; the name of the first operation that uses it",
    "ops": "operations of the network that use this matrix",
    "windows_per_activation": "windows of the input that one activation answers",
    "window_shape": "windows of an activation along y and x, where they form a rectangle",
    "row_order": "which row of the matrix each row of a local array holds",
    "col_order": "which column of the matrix each column of a local array holds",
    "load": "in which load a chip that is rewritten within a frame holds it",
    "replicas": "copies: for each local array [tile, array], or [tile, array, word line, column]",
    "blocks": "rectangles of the matrix and where they lie in the local arrays, in weights",
    "array": "local array, from 0",
    "row0": "upper edge in the local array",
    "col0": "left edge in the local array",
    "rows": "height",
    "cols": "width",
    "group": "group of a grouped convolution, from 0",
    "src_row0": "first row of the group's matrix; rows are kernel y, kernel x, input channel",
    "src_col0": "first column of the group's matrix",
    "window": "which window of the activation these columns answer, from 0",
    "schema_version": "of this format",
    "network": "what it was written for; text for people",
    "chip": "what it was written for; text for people",
    "strategy": "what cut the matrices; text for people",
    "allocation": "what gave them their arrays; text for people",
}


def mapping_schema() -> JsonSchemaValue:
    """Return the schema of a mapping file (JSON schema, draft 2020-12).

    It says which keys there are and what they hold. Whether every weight has one place, and no two
    the same, is said when the file is used.
    """
    pair = {"type": "array", "items": _WHOLE, "minItems": 2, "maxItems": 2}
    place = {
        "type": "array", "items": _WHOLE,
        "oneOf": [{"minItems": 2, "maxItems": 2}, {"minItems": 4, "maxItems": 4}],
    }  # fmt: skip
    order = {"type": "array", "items": {"type": "array", "items": _WHOLE}}
    block = _object(
        {name: _told(name, _WHOLE) for name in Block.__slots__},
        [name for name in Block.__slots__ if name != "window"],
    )
    own = {field.name: _told(field.name, _WHOLE if field.type == "int" else pair)
           for field in files.OWN}  # fmt: skip
    layer = _object(
        {
            "name": _told("name", {"type": "string"}),
            "ops": _told("ops", {"type": "array", "items": {"type": "string"}, "minItems": 1}),
            **own,
            **{name: _told(name, order) for name in files.ORDERS},
            "load": _told("load", _WHOLE),
            "replicas": _told("replicas", {
                "type": "array", "minItems": 1, "items": {"type": "array", "items": place},
            }),
            "blocks": _told("blocks", {"type": "array", "items": block, "minItems": 1}),
        },
        ["name", "replicas", "blocks"],
    )  # fmt: skip
    top = {name: _told(name, {"type": "string"}) for name in files.TOP}
    top |= {
        "schema_version": _told("schema_version", {"const": files.VERSION}),
        "layers": {"type": "array", "items": layer},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_object(top, ["layers"]),
        "title": "cimsim: where each layer lies on a chip",
        "description": "A mapping file; `cimsim map --save` writes one.",
    }


def _object(properties: JsonSchemaValue, required: list[str]) -> JsonSchemaValue:
    return {
        "type": "object", "properties": properties, "required": required,
        "additionalProperties": False,
    }  # fmt: skip


def _told(name: str, what: JsonSchemaValue) -> JsonSchemaValue:
    return what | ({"description": _TOLD[name]} if name in _TOLD else {})
