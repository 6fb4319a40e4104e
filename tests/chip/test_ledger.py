"""What a description says of the parts of its energy, and that every shipped one says it."""

import pytest

from cimsim.chip.ledger import LEDGER, contradictions, left_out, sourced_zeros, state, unsaid
from cimsim.chip.load import load_hw, raw_mapping, shipped
from cimsim.energy.model import COMPONENTS
from cimsim.errors import ConfigError
from cimsim.report.chip.provenance import findings

SHIPPED = sorted(shipped())


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_chip_states_or_leaves_out_every_part(name):
    chip = load_hw(name)
    assert not unsaid(chip)
    assert not contradictions(chip)
    assert not sourced_zeros(chip)


def test_each_part_is_a_component_of_the_energy():
    assert set(LEDGER) <= set(COMPONENTS)
    # writing arrays anew has an energy of its own in the section programming
    assert set(COMPONENTS) - set(LEDGER) == {"programming"}


def test_the_states_of_a_part():
    chip = load_hw("eflash40nm")
    assert state(chip, "control") == "stated"
    assert state(chip, "processor") == "included"
    assert state(chip, "conversion") == "left out"
    assert state(load_hw("wtm2101"), "dram") == "absent"
    assert left_out(chip) == ("power conversion",)
    bare = load_hw("eflash40nm", {"tile.clock_power": "0 W", "included_in": {}})
    assert unsaid(bare) == ("control", "processor")
    # given, it is counted, whatever the file left out before
    lossy = load_hw("eflash40nm", {"power_conversion.efficiency": 0.9})
    assert not left_out(lossy)
    assert len(contradictions(lossy)) == 1


def test_doubts_name_what_is_not_said_and_how_to_say_it():
    origin, raw = raw_mapping("eflash40nm")
    raw = raw | {"leaves_out": [], "included_in": {}}
    from cimsim.chip.load import build

    found = findings(build(raw), raw, origin)
    assert any("power_conversion.efficiency, or say leaves_out: [conversion]" in f for f in found)
    assert any("leaves_out: [processor]" in f for f in found)


def test_a_zero_whose_source_speaks_of_something_is_told():
    chip = load_hw("eflash40nm", {"tile.clock_power": "0 W"})
    assert list(sourced_zeros(chip)) == ["tile.clock_power"]
    left = load_hw("eflash40nm", {"tile.clock_power": "0 W", "leaves_out": ["control"]})
    assert not sourced_zeros(left)


def test_wrong_names_are_refused():
    with pytest.raises(ConfigError, match=r"leaves_out.0: expected 'array'"):
        load_hw("eflash40nm", {"leaves_out": ["procesor"]})
    with pytest.raises(ConfigError, match=r"included_in.io: 'tile.clok' names no field"):
        load_hw("eflash40nm", {"included_in": {"io": "tile.clok"}})
