"""Doubts of a chip and of a run: each with its way out, none where there is no reason."""

import pytest

from cimsim.chip.differences import differences
from cimsim.chip.load import load_hw, raw_mapping, shipped
from cimsim.display.doubts import Doubt, refuse
from cimsim.engine.statistics import OpStatistics
from cimsim.errors import ConfigError
from cimsim.report.chip.provenance import rows
from cimsim.session.doubts import chip_doubts, loss_doubts, run_doubts
from cimsim.session.parts import Quality
from cimsim.tasks.measures import Measure


def codes(chip):
    return [doubt.code for doubt in chip_doubts(chip)]


def test_a_zero_whose_source_speaks_of_watts_is_doubted():
    text = "clock and control of a tile take tens of mW and are not modelled"
    chip = load_hw("eflash40nm", {
        "tile.static_power": "0 W",
        "sources": {"tile.static_power": {"kind": "estimate", "text": text}},
    })  # fmt: skip
    assert "tens of mW" in text
    found = [doubt for doubt in chip_doubts(chip) if doubt.code == "zero-with-source"]
    assert len(found) == 1
    assert found[0].text.startswith("tile.static_power: 0 W, although its source says: ")
    assert "--set tile.static_power=" in found[0].way
    given = load_hw("eflash40nm", {"tile.static_power": "20 mW"})
    assert "zero-with-source" not in codes(given)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_doubt_names_a_field_and_a_shipped_chip_has_few(name):
    for doubt in chip_doubts(load_hw(name)):
        assert doubt.code in ("not-given", "zero-with-source")
        assert doubt.text.partition(":")[0] in ("interconnect.area", "tile.static_power")


def test_dram_and_links_have_ranges_too():
    chip = load_hw("eflash40nm", {
        "dram": {"bytes_per_cycle": 8, "energy": "1 J/B"}, "system": {"chips": 2, "energy": "1 J/B"}
    })  # fmt: skip
    found = [doubt.text for doubt in chip_doubts(chip) if doubt.code == "implausible"]
    assert any(text.startswith("dram.energy: 1.00 J/B is outside") for text in found)
    assert any(text.startswith("system.energy: 1.00 J/B is outside") for text in found)
    bare = load_hw("eflash40nm", {"dram": {"bytes_per_cycle": 8}})
    assert any(doubt.text.startswith("dram.energy: not given") for doubt in chip_doubts(bare))


@pytest.mark.parametrize(
    ("changes", "start", "way"),
    [
        ({"wires.r_bit": "5 ohm"}, "wires.r_bit: 5 ohm takes no effect", "wires.model=exact"),
        ({"conditions.compensation": "global"}, "conditions.compensation: global has", "--time"),
        ({"faults.seed": 1, "faults.spare_rows": 8}, "faults: spare lines take area", "dead_rows"),
    ],
)
def test_what_another_field_switches_off_is_doubted(changes, start, way):
    (doubt,) = chip_doubts(load_hw("eflash40nm", changes))
    assert doubt.code == "without-effect"
    assert doubt.text.startswith(start)
    assert way in doubt.way


@pytest.mark.parametrize(
    "changes",
    [
        {"wires.r_bit": "5 ohm", "wires.model": "exact"},
        {"conditions.compensation": "global", "conditions.time": "1 d"},
        {"conditions.compensation": "column", "conditions.temperature": "55 C"},
        {"faults.seed": 1, "faults.spare_rows": 8, "faults.dead_rows": "1 %"},
    ],
)
def test_what_takes_effect_is_not_doubted(changes):
    assert chip_doubts(load_hw("eflash40nm", changes)) == []


def test_more_spare_lines_than_lines_and_more_faults_than_any_array_had_are_doubted():
    found = {
        "faults.spare_cols": {"faults.seed": 1, "faults.spare_cols": 1025, "faults.open": "1 %"},
        "faults.stuck_on": {"faults.stuck_on": "100 %"},
        "array.write_disturb": {"array.write_disturb": "1 %"},
    }
    for path, changes in found.items():
        (doubt,) = chip_doubts(load_hw("eflash40nm", changes))
        assert doubt.code == "implausible"
        assert doubt.text.startswith(f"{path}: ")
        assert "0.00000" not in doubt.text


def test_a_map_of_faults_that_is_not_there_is_no_valid_chip(tmp_path):
    chip = load_hw("eflash40nm", {"faults.map": str(tmp_path / "none.csv")})
    with pytest.raises(ConfigError, match=r"faults\.map: .*no such file"):
        chip_doubts(chip)


def clipping(**counts):
    return OpStatistics(conversions=1000, inputs=1000, **counts)


def test_converters_that_clip_far_more_than_calibrated():
    chip = load_hw("eflash40nm")  # percentile 99.99: one in ten thousand
    fine = {"a": clipping(saturations=5), "b": clipping()}
    assert run_doubts(chip, fine) == []
    found = run_doubts(chip, fine | {"b": clipping(saturations=200)})
    assert [doubt.code for doubt in found] == ["saturation"]
    assert "b 20 % of its conversions" in found[0].text
    loose = load_hw("eflash40nm", {"adc.percentile": 95})
    assert run_doubts(loose, {"b": clipping(saturations=200)}) == []


def test_inputs_beyond_the_ends_of_their_code_are_told():
    chip = load_hw("eflash40nm")
    assert run_doubts(chip, {"a": clipping(clipped=9)}) == []
    found = run_doubts(chip, {"a": clipping(clipped=11), "b": clipping(clipped=30)})
    assert [doubt.code for doubt in found] == ["clipped-inputs"]
    assert "inputs of 2 layers" in found[0].text
    assert "b 3 % of them, calibration meant 0.01 %" in found[0].text
    loose = load_hw("eflash40nm", {"inputs.percentile": 99})
    assert run_doubts(loose, {"b": clipping(clipped=150)}) == []


def test_strict_lists_all_doubts_and_lets_none_pass():
    refuse([])
    with pytest.raises(ConfigError, match=r"(?s)--strict: 2 doubts\n.*one; do this\n.*two\n"):
        refuse([Doubt("a", "one", "do this"), Doubt("b", "two")])


def test_chips_differ_where_they_compute_otherwise():
    plain = load_hw("eflash40nm")
    assert differences(plain, plain) == []
    # energy and time compute nothing; another way to write a number is no other number
    same = load_hw("eflash40nm", ["adc.energy=1 pJ", "process.clock=1 GHz", "device.g_max=11.50nS"])
    assert differences(same, plain) == []
    other = load_hw("eflash40nm", ["adc.bits=6", "array.rows=512", "device.sigma_read=2 %"])
    assert differences(other, plain) == ["array.rows", "adc.bits", "device.sigma_read"]
    assert "device.kind" in differences(load_hw("eflash40nm", ["device.kind=pcm"]), plain)


def test_rows_mark_what_was_given_and_what_followed():
    raw = raw_mapping("eflash40nm")[1]
    chip = load_hw("eflash40nm", ["adc.bits=6"])
    found = {row.path: row for row in rows(chip, raw)}
    assert found["adc.bits"].kind == "given"
    assert found["adc.energy"].kind == "rescaled"
    assert found["adc.energy"].source.startswith("rescaled from 2.61 pJ (adc.bits 8 -> 6; ")
    assert found["dac.energy"].kind == "measured"


def clip(lost):
    """Return the quality of two frames of 30 dB that lose something on the chip."""
    ssim = (0.9, 0.9)
    return Quality((20.0, 20.0), (30.0, 30.0), (30.0 - lost, 30.0 - lost), ssim, ssim, ssim)


def right(share, of):
    return Measure("top1", "%", "right class", (share,), of, None, "")


def test_a_chip_that_takes_a_lot_from_the_network_is_doubted_with_a_way_out():
    (doubt,) = loss_doubts(clip(6.9), (), "own.pth")
    assert doubt.text == "PSNR: the chip takes 6.9 dB from the float network"
    assert "cimsim diagnose" in doubt.way
    assert "cimsim train --hw" in doubt.way
    (doubt,) = loss_doubts(None, (right(70.0, 91.5),), None)
    assert doubt.text == "top-1: the chip takes 21.5 points from the float network"
    assert "docs/tasks.md" in doubt.way


def test_small_losses_gains_and_random_weights_are_not_doubted():
    for lost in (-2.0, 0.0, 2.9):
        assert not loss_doubts(clip(lost), (right(88.0, 91.5),), "own.pth")
    assert not loss_doubts(clip(9.0), (right(10.0, 91.5),), "random")
    assert not loss_doubts(None, (right(10.0, None),), None)
    assert not loss_doubts(None, (), None)
