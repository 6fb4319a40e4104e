"""A network of two small layers, and chips with one field changed."""

import math

from cimsim.chip.fields import fields
from cimsim.chip.load import raw_mapping
from cimsim.errors import CimsimError
from cimsim.studies.points import Frames, Point, Seeds
from tests.changed_chips import changed, two_layers

SIZE, MIDDLE = 16, 6
SMALL = {"array.rows": 40, "array.cols": 64, "calibration.frames": 1}
TILES = 12


NET = two_layers(SIZE, MIDDLE)
POINT = Point(frames=Frames(count=1, size=(SIZE, SIZE)))
OTHER_CHIP = Seeds.of_chip(0, 1)


def make(name, changes=None):
    """A shipped chip with small arrays and some values; its sources go, as fields may."""
    raw = raw_mapping(name)[1]
    count = max(TILES, raw["tile"]["count"])
    return changed(raw, {**SMALL, "tile.count": count, **(changes or {})})


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
