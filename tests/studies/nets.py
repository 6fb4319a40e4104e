"""A network of two small layers, and chips with one field changed."""

import copy
import math

import numpy as np
import torch

from cimsim.chip.cells import device_of
from cimsim.chip.fields import fields
from cimsim.chip.load import build, raw_mapping
from cimsim.errors import CimsimError
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp, Ref, TensorSpec, Window
from cimsim.studies.points import Frames, Point, Seeds

SIZE, MIDDLE = 16, 6
SMALL = {"array.rows": 40, "array.cols": 64, "calibration.frames": 1}
TILES = 12


def network():
    rng = np.random.default_rng(1)

    def conv(name, source, c_in, c_out):
        return MatrixOp(
            name, (source,), TensorSpec((1, c_in, SIZE, SIZE)), TensorSpec((1, c_out, SIZE, SIZE)),
            rng.normal(0, 0.1, (1, 9 * c_in, c_out)).astype(np.float32), None,
            Window((3, 3), padding=(1,) * 4), (c_out, 1, 1),
        )  # fmt: skip

    middle = TensorSpec((1, MIDDLE, SIZE, SIZE))
    relu = DigitalOp("relu", ("a",), middle, "relu", torch.ops.aten.relu.default, (Ref("a"),), {},
                     "pointwise", 1.0)  # fmt: skip
    return LayerGraph(
        "net",
        [InputOp("x", TensorSpec((1, 3, SIZE, SIZE))), conv("a", "x", 3, MIDDLE), relu,
         conv("b", "relu", MIDDLE, 3)],
        ["b"],
    )  # fmt: skip


NET = network()
POINT = Point(frames=Frames(count=1, size=(SIZE, SIZE)))
OTHER_CHIP = Seeds.of_chip(0, 1)


def make(name, changes=None):
    """A shipped chip with small arrays and some values; its sources go, as fields may."""
    new = copy.deepcopy(raw_mapping(name)[1])
    new.pop("sources", None)
    wanted = {**SMALL, "tile.count": max(TILES, new["tile"]["count"]), **(changes or {})}
    for path, value in wanted.items():
        *sections, leaf = path.split(".")
        place = new
        for section in sections:
            if not isinstance(place.get(section), dict):
                place[section] = {}
            place = place[section]
        place[leaf] = value
    if "device" in wanted:
        inside = new.get("included_in", {}).items()
        new["included_in"] = {k: v for k, v in inside if not v.startswith("device.")}
    chip = build(new)
    device_of(chip)
    return chip


def changes_of(field, chip):
    """Other values of a field, as a YAML file has them."""
    try:
        value = field.value(chip)
    except AttributeError:
        value = field.default
    if field.kind in ("choice", "switch"):
        yield from ({field.path: choice} for choice in field.choices if choice != value)
    elif field.kind == "count" and value is not None:
        yield from ({field.path: n} for n in (value + 1, max(1, value - 1), 2 * value))
    elif field.kind == "number" and value:
        for factor in (1.1, 1 / 1.1, 3):
            new = value * factor
            unit = field.unit
            yield {field.path: f"{new!r} {unit}" if unit not in ("", "1") else new}
    elif field.kind == "number" and value == 0 and field.fact.plausible:
        low, high, _ = field.fact.plausible
        yield {field.path: f"{math.sqrt(low * high)!r} {field.unit}"}
    for tried in field.fact.tried:
        whole = isinstance(tried, dict) and field.path != "operating.table"
        yield tried if whole else {field.path: tried}


def flipped(name, only=None):
    """Yield, for each field of a chip, a legal chip with another value of it."""
    plain = make(name)
    for path, field in fields().items():
        if path in ("name", "summary", "sources", "faults.map") or field.fact is None:
            continue
        if only is not None and not only(path):
            continue
        for change in changes_of(field, plain):
            try:
                yield path, make(name, {**field.fact.when, **change})
            except (CimsimError, TypeError):
                continue  # not legal beside the rest: another one
            break
