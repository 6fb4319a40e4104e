"""No number that nobody reads: each field moves what it says that it moves, or says why it cannot.

Every field of every shipped chip is changed, on a network of two layers, and the numbers of the
payers that it declares are compared: energy by component, area by part, cycles, values on the chip,
mapping, writing. Whatever takes effect only beside other choices is tried beside them.
"""

import math
from functools import cache
from typing import Annotated

import numpy as np
import pytest
import torch
from pydantic import Field, create_model

from cimsim.chip.area import area
from cimsim.chip.fact import Fact
from cimsim.chip.fields import fields
from cimsim.chip.load import raw_mapping, shipped
from cimsim.chip.parts.base import Energy
from cimsim.chip.parts.converters import Adc
from cimsim.chip.spec import Chip
from cimsim.energy.idle import working
from cimsim.energy.model import energy, programming
from cimsim.errors import CimsimError
from cimsim.graph.ir import DigitalOp, Ref
from cimsim.mapping.mapping import map_graph
from cimsim.session.functional import FunctionalRun
from cimsim.timing.simulate import simulate
from cimsim.units import format_si
from tests.changed_chips import changed, two_layers

SIZE, MIDDLE = 10, 12
# small arrays, so that two layers fill several of them, and as many as that takes
SMALL = {"array.rows": 40, "array.cols": 64}
TILES = 12
# what hides a field on some chip: stages of a tile pipeline, tiles that hold everything, converters
# that lose nothing
HIDES = {"tile.t_stage": "0 s", "tile.arrays": 1, "adc.bits": 4}


def with_product(graph):
    """The same, and its result multiplied with itself, as attention does."""
    (name,) = graph.outputs
    made = graph[name].output
    product = DigitalOp(
        "product", (name,), made, "matmul", torch.ops.aten.matmul.default, (Ref(name), Ref(name)),
        ops_per_element=2.0 * SIZE, macs_per_element=SIZE,
    )  # fmt: skip
    return graph.with_ops([*graph, product], ["product"])


NET = with_product(two_layers(SIZE, MIDDLE))
CLIP = np.random.default_rng(2).random((1, SIZE, SIZE, 3)).astype(np.float32)


class Numbers:
    """What one chip says of the network, each part worked out when it is asked for."""

    def __init__(self, chip):
        self.chip = chip

    @property
    @cache  # noqa: B019 - few and short-lived
    def mapping(self):
        return map_graph(NET, self.chip)

    @property
    @cache  # noqa: B019
    def timeline(self):
        return simulate(self.mapping)

    def of(self, payer):
        head, _, part = payer.partition(".")
        if head == "energy":
            line = self.timeline
            period = 2 * line.interval_s(self.chip.process.clock_hz)  # tiles wait in between
            spent = energy(
                self.mapping, period, None, working(self.mapping, line), spilled=line.spilled
            )
            return spent.by_component[part]
        if head == "area":
            return area(self.chip)[part.replace("_", " ")]
        if head == "cycles":
            line = self.timeline
            return (
                line.cycles_first_frame,
                line.interval,
                line.interval_s(self.chip.process.clock_hz),
            )
        if head == "mapping":
            return repr(self.mapping.to_dict()), self.mapping.total, self.mapping.arrays_used
        if head == "programming":
            plan = self.chip.programming
            return programming(self.mapping), plan.endurance_cycles
        assert head == "frames", payer
        run = FunctionalRun(self.mapping, CLIP, 15.0, 0, 1)
        run.prepare(None, lambda *_: None)
        run.execute(lambda *_: None)
        return run.frames["chip"].tobytes()


def others(field, value):
    """Other values of a field, as a YAML file has them, the small change first."""
    if field.kind in ("choice", "switch"):
        yield from (choice for choice in field.choices if choice != value)
    elif field.kind == "count" and value is not None:
        yield from (value + max(1, round(value / 10)), max(1, value - 1), 2 * value, 8 * value)
        yield from (max(1, value // 8), 1)
    elif field.kind == "number" and value:
        # whole cycles and whole codes may hide a tenth
        for factor in (1.1, 1 / 1.1, 3, 1 / 3, 100):
            new = value * factor
            yield f"{new!r} {field.unit}" if field.unit not in ("", "1") else new
    elif field.kind == "number" and value == 0 and field.fact.plausible:
        low, high, _ = field.fact.plausible
        yield f"{math.sqrt(low * high)!r} {field.unit}"
    yield from field.fact.tried


def held(field, chip):
    """Return what a chip has there; the default of a field that only a synthetic model has."""
    try:
        return field.value(chip)
    except AttributeError:
        return field.default


def try_beside(raw, field):
    """Chips without and with a change of the field alone, and what was changed."""
    small = {**SMALL, "tile.count": max(TILES, raw["tile"]["count"])}
    for beside in (small, {**small, **HIDES}):
        yield from _beside(raw, field, beside)
        if field.fact.when:
            yield from _beside(raw, field, {**beside, **field.fact.when})


def _beside(raw, field, beside):
    """The same beside certain choices; nothing if the chip does not allow them."""
    try:
        before = changed(raw, beside)
    except CimsimError:
        return
    for value in others(field, held(field, before)):
        changes = value if isinstance(value, dict) and field.path != "operating.table" else {
            field.path: value
        }  # fmt: skip
        try:
            yield before, changed(raw, {**beside, **changes}), changes
        except CimsimError:
            continue  # not legal beside the rest: another one


def moves(raw, field):
    """Return the payer whose number moved and with what, or None."""
    for before, after, changes in try_beside(raw, field):
        first, second = Numbers(before), Numbers(after)
        for payer in sorted(field.by, key=lambda who: who == "frames"):  # the dear one last
            if told(first, payer) != told(second, payer):
                return payer, changes
    return None


def told(numbers, payer):
    """A number, or None from a chip that refuses the network: that is an answer, too."""
    try:
        return numbers.of(payer)
    except CimsimError:
        return None


def unread(model, raw, only=None):
    """Return the fields of a chip model that neither move anything nor say why not."""
    found = []
    for path, field in fields(model).items():
        if only is not None and path not in only:
            continue
        if field.fact is None:
            found.append(f"{path}: declares neither who reads it nor why nobody does")
        elif not field.fact.because and moves(raw, field) is None:
            found.append(f"{path}: says {', '.join(field.by)}, and none of it moved")
    return found


def test_every_field_of_the_default_chip_moves_what_costs():
    """All fields that move more than values; those of values alone take minutes: below."""
    cheap = {path for path, field in fields().items() if set(field.by) != {"frames"}}
    assert unread(Chip, raw_mapping("eflash40nm")[1], cheap) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_field_of_every_chip_moves_something(name):
    assert unread(Chip, raw_mapping(name)[1]) == []


def test_a_field_that_nobody_reads_is_found():
    """The test of the test: one field without a declaration, one with a false one."""
    idle = create_model(
        "IdleAdc", __base__=Adc, standby_energy_j=(Energy, Field(default=0.0, alias="standby"))
    )
    says = Annotated[Energy, Fact("energy.adc", tried=("1 pJ",))]
    false = create_model(
        "FalseAdc", __base__=Adc, standby_energy_j=(says, Field(default=0.0, alias="standby"))
    )
    raw = raw_mapping("eflash40nm")[1]
    for adc, part in ((idle, "declares neither"), (false, "none of it moved")):
        model = create_model("Other", __base__=Chip, adc=(adc, ...))
        paths = set(fields(model)) - set(fields())
        assert paths == {"adc.standby"}
        found = unread(model, raw, paths)
        assert len(found) == 1
        assert found[0].startswith("adc.standby: ")
        assert part in found[0]


def test_reasons_are_words_and_units_are_known():
    for path, field in fields().items():
        assert field.fact is not None, path
        if field.fact.because:
            assert len(field.fact.because.split()) > 3, path
        if field.fact.plausible:
            low, high, what = field.fact.plausible
            assert 0 < low < high, path
            assert what, path
        if field.unit and field.kind == "number":
            assert format_si(1.0, field.unit), path
        assert not math.isnan(len(field.by)), path
