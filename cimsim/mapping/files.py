"""Mapping files: every block and every array of a mapping as YAML or JSON, to read, edit and use.

A file says for each layer which arrays its replicas take (``[tile, array]``, with an origin
``[tile, array, word line, column]``) and its blocks, one line each, in the fields of
`cimsim.mapping.layout.Block`. Sizes of matrices and arrays come from the network and the chip it is
read for; ``network`` and ``chip`` only say what it was written for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import yaml

from cimsim.boundary import json_text, yaml_text
from cimsim.boundary.limits import MAPPING, shown
from cimsim.boundary.text import read_text
from cimsim.chip.spec import Chip
from cimsim.errors import MappingError, suggest
from cimsim.files import replacing
from cimsim.graph.ir import LayerGraph, MatrixOp
from cimsim.mapping.layout import Block, Layout
from cimsim.mapping.mapping import Mapping
from cimsim.mapping.placement import Origin, PlacedLayer, Slot

SUFFIXES = (".yaml", ".yml", ".json")
VERSION = 1
_LARGEST = 2**31 - 1  # of places and counts: products stay in 64 bits
TOP = ("schema_version", "network", "chip", "strategy", "allocation", "layers")
ORDERS = ("row_order", "col_order")
# what follows from the network and the chip, or has a place of its own in the file
_FROM_CHIP = {"layer", "blocks", "groups", "group_rows", "group_cols", "array_rows", "array_cols",
              "lines_per_row", "window"}  # fmt: skip
# windows_per_activation, and whatever else a strategy says about one activation
OWN = tuple(field for field in fields(Layout) if field.name not in _FROM_CHIP)
_LAYER = ("name", "ops", *(field.name for field in OWN), *ORDERS, "load", "replicas", "blocks")


def is_file(name: object) -> bool:
    """Whether the name of a mapping is that of a file."""
    return isinstance(name, str | Path) and Path(name).suffix.lower() in SUFFIXES


def check_name(path: str | Path) -> None:
    """Refuse a file name that does not say whether it is YAML or JSON.

    Raises
    ------
    MappingError
        Saying which names do.
    """
    if not is_file(path):
        raise MappingError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")


def save_mapping(mapping: Mapping, path: str | Path) -> None:
    """Write a mapping file; the suffix says whether it is YAML or JSON.

    Raises
    ------
    MappingError
        Another suffix, or a place that cannot be written.
    """
    path = Path(path)
    check_name(path)
    data = to_data(mapping)
    text = json_text.dump(data) if path.suffix.lower() == ".json" else _yaml(data)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as scratch:
            scratch.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MappingError(f"{path}: cannot be written: {error}") from None


def load_mapping(path: str | Path, graph: LayerGraph, chip: Chip) -> Mapping:
    """Read a mapping file for a network on a chip.

    Raises
    ------
    MappingError
        A file that cannot be read, an unknown key, or places that are not legal; the message names
        the file, the layer, the array and the rectangle.
    """
    path = Path(path)
    data = read(path)
    try:
        return from_data(data, graph, chip)
    except MappingError as error:
        raise MappingError(f"{path}: {error}") from None


def read(path: Path) -> dict[str, object]:
    """Return a mapping file as plain data.

    Raises
    ------
    MappingError
        A file that is missing, not readable, or no mapping file.
    """
    try:
        text = read_text(path, MAPPING)
    except (OSError, ValueError) as error:
        raise MappingError(f"{path}: the mapping file cannot be read: {error}") from None
    try:
        is_json = path.suffix.lower() == ".json"
        data = json_text.load(text, MAPPING) if is_json else yaml_text.load(text, MAPPING)
    except ValueError as error:
        raise MappingError(f"{path}: {error}") from None
    if not isinstance(data, dict) or "layers" not in data:
        raise MappingError(
            f"{path}: expected a mapping file with 'layers'; cimsim map --save writes one"
        )
    return data


def to_data(mapping: Mapping) -> dict[str, object]:
    """Return a mapping as plain data."""
    return {
        "schema_version": VERSION,
        "network": mapping.graph.name,
        "chip": mapping.chip.name,
        "strategy": mapping.strategy,
        "allocation": mapping.allocation,
        "layers": [_layer_data(layer) for layer in mapping.layers],
    }


def _layer_data(layer: PlacedLayer) -> dict[str, object]:
    data: dict[str, object] = {"name": layer.name, "ops": list(layer.ops)}
    for field in OWN:
        value = getattr(layer.layout, field.name)
        if value != field.default:
            data[field.name] = list(value) if isinstance(value, tuple) else value
    data["replicas"] = [
        [_place(s, layer.origin(r, i)) for i, s in enumerate(slots)]
        for r, slots in enumerate(layer.slots)
    ]
    if layer.load:
        data["load"] = layer.load
    for what in ORDERS:
        if getattr(layer, what):
            data[what] = [list(order) for order in getattr(layer, what)]
    data["blocks"] = [
        {name: getattr(b, name) for name in Block.__slots__ if name != "window" or b.window}
        for b in layer.layout.blocks
    ]
    return data


def _place(slot: Slot, origin: Origin) -> list[int]:
    return [slot.tile, slot.array, *(origin if origin != (0, 0) else ())]


def from_data(data: dict[str, object], graph: LayerGraph, chip: Chip) -> Mapping:
    """Build a mapping from plain data.

    Raises
    ------
    MappingError
        As `load_mapping`, without the name of a file.
    """
    _known(data, TOP, "mapping")
    if "layers" not in data:
        raise MappingError("layers: missing")
    version = data.get("schema_version", VERSION)
    if version != VERSION:
        raise MappingError(f"schema_version: expected {VERSION}, got {shown(version)}")
    listed = data["layers"]
    if not isinstance(listed, list):
        raise MappingError(f"layers: expected a list, got {type(listed).__name__}")
    layers = tuple(_layer(item, number, graph, chip) for number, item in enumerate(listed))
    strategy, allocation = (
        str(data.get(key, "custom")) for key in ("strategy", "allocation")
    )  # fmt: skip
    return Mapping(graph, chip, strategy, layers, allocation)


def _layer(item: object, number: int, graph: LayerGraph, chip: Chip) -> PlacedLayer:
    head = f"layers[{number}]"
    if not isinstance(item, dict) or "name" not in item:
        raise MappingError(f"{head}: expected a mapping with a 'name'")
    name = str(item["name"])
    head = f"layer {shown(name)}"
    _known(item, _LAYER, head)
    ops = [str(op) for op in _list(item.get("ops", [name]), f"{head}: ops")]
    op = _matrix(ops, head, graph)
    blocks = [
        _block(block, f"{head}: blocks[{i}]")
        for i, block in enumerate(_list(item.get("blocks"), f"{head}: blocks"))
    ]
    own: dict[str, Any] = {  # fields of a layout by name, as `OWN` lists them
        f.name: (_whole if f.type == "int" else _pair)(item[f.name], f"{head}: {f.name}")
        for f in OWN
        if f.name in item
    }
    missing = [f.name for f in OWN if f.name not in own and f.default is MISSING]
    own |= dict.fromkeys(missing, 1)
    lines = chip.lines_per_input(op.signed)
    layout = Layout(
        layer=op.name, blocks=tuple(sorted(blocks)), groups=op.groups, group_rows=op.group_rows,
        group_cols=op.group_cols, array_rows=chip.array.rows // lines,
        array_cols=chip.weight_cols, lines_per_row=lines, window=op.window, **own,
    )  # fmt: skip
    slots, origins = _replicas(item.get("replicas"), head)
    orders = {
        what: tuple(_numbers(o, f"{head}: {what}") for o in _list(item[what], f"{head}: {what}"))
        for what in ORDERS
        if what in item
    }
    moved = any(origin != (0, 0) for row in origins for origin in row)
    load = _whole(item.get("load", 0), f"{head}: load")
    return PlacedLayer(
        name, tuple(ops), layout, slots, origins if moved else (), **orders, load=load
    )


def _matrix(ops: list[str], head: str, graph: LayerGraph) -> MatrixOp:
    known = {op.name: op for op in graph.matrix_ops}
    for name in ops:
        if name not in known:
            raise MappingError(
                f"{head}: ops: network '{graph.name}' has no layer {shown(name)}"
                + suggest(name, known)
            )
    if not ops:
        raise MappingError(f"{head}: ops: expected at least one layer of the network")
    matrices = {known[name].weights_id or name for name in ops}
    if len(matrices) > 1:
        raise MappingError(f"{head}: ops: {', '.join(ops)} do not share their weights")
    return known[ops[0]]


def _block(item: object, head: str) -> Block:
    names = Block.__slots__
    if not isinstance(item, dict):
        raise MappingError(f"{head}: expected {{array: 0, row0: 0, ...}}, got {shown(item)}")
    _known(item, names, head)
    missing = [name for name in names if name not in item and name != "window"]
    if missing:
        raise MappingError(f"{head}: missing {', '.join(missing)}")
    return Block(**{name: _whole(value, f"{head}: {name}") for name, value in item.items()})


def _replicas(
    item: object, head: str
) -> tuple[tuple[tuple[Slot, ...], ...], tuple[tuple[Origin, ...], ...]]:
    slots, origins = [], []
    for r, replica in enumerate(_list(item, f"{head}: replicas")):
        places = []
        for i, place in enumerate(_list(replica, f"{head}: replicas[{r}]")):
            where = f"{head}: replicas[{r}][{i}]"
            numbers = _numbers(place, where)
            if len(numbers) not in (2, 4):
                raise MappingError(
                    f"{where}: expected [tile, array] or [tile, array, word line, column], "
                    f"got {shown(list(numbers))}"
                )
            places.append(numbers)
        slots.append(tuple(Slot(*p[:2]) for p in places))
        origins.append(tuple((p[2], p[3]) if len(p) == 4 else (0, 0) for p in places))
    return tuple(slots), tuple(origins)


def _known(item: dict[str, object], names: Iterable[str], head: str) -> None:
    listed = list(names)
    for key in item:
        if key not in listed:
            raise MappingError(f"{head}: unknown key {shown(key)}{suggest(str(key), listed)}")


def _list(value: object, head: str) -> list[object]:
    if not isinstance(value, list):
        raise MappingError(f"{head}: expected a list, got {shown(value)}")
    return value


def _numbers(value: object, head: str) -> tuple[int, ...]:
    return tuple(_whole(item, head) for item in _list(value, head))


def _pair(value: object, head: str) -> tuple[int, ...]:
    numbers = _numbers(value, head)
    if len(numbers) != 2:
        raise MappingError(f"{head}: expected two numbers, got {shown(list(numbers))}")
    return numbers


def _whole(value: object, head: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise MappingError(f"{head}: expected a whole number, got {shown(value)}")
    if not 0 <= value <= _LARGEST:
        raise MappingError(f"{head}: expected 0 .. {_LARGEST}, got {value}")
    return value


def _yaml(data: dict[str, object]) -> str:
    """YAML with one line for each block and each replica."""
    head = {key: value for key, value in data.items() if key != "layers"}
    lines = [yaml.safe_dump(head, sort_keys=False).rstrip(), "layers:"]
    layers = data["layers"]
    assert isinstance(layers, list)
    for layer in layers:
        mark = "- "
        for key, value in layer.items():
            if key in ("replicas", "blocks", *ORDERS):
                lines.append(f"{mark}{key}:")
                lines += [f"  - {json.dumps(item)}".replace('"', "") for item in value]
            else:
                lines.append(mark + _flow(key, value))
            mark = "  "
    return "\n".join(lines) + "\n"


def _flow(key: str, value: object) -> str:
    """``key: value`` on one line."""
    if isinstance(value, list):
        return f"{key}: {yaml.safe_dump(value, default_flow_style=True, width=10**6).strip()}"
    return yaml.safe_dump({key: value}, default_flow_style=False, width=10**6).strip()
