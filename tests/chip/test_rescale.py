"""Overrides take along what was given for other bits, sizes, nodes; by hand, and over all chips."""

import math

import pytest

from cimsim.chip.area import area
from cimsim.chip.estimators import ESTIMATORS
from cimsim.chip.estimators.adc import survey_energy_j
from cimsim.chip.fields import fields
from cimsim.chip.load import load_hw, raw_mapping, shipped
from cimsim.chip.rescale import _stands, with_arrays
from cimsim.errors import ConfigError
from tests.thorough import some

PJ = 1e-12


def close(value):
    return pytest.approx(value, rel=1e-9, abs=0)


def test_converters_follow_their_bits_by_the_survey():
    # 0.4 us at 8 bits: the survey is asked for circuits of that speed
    at_8 = survey_energy_j(8, 2.5e6, 40e-9)
    chips = {bits: load_hw("eflash40nm", {"adc.bits": bits}) for bits in (4, 6, 8, 10)}
    for bits, chip in chips.items():
        assert chip.adc.energy_j == close(2.61e-12 * survey_energy_j(bits, 2.5e6, 40e-9) / at_8)
        assert chip.adc.t_conversion_s == close(0.4e-6 * bits / 8)
    for one in ("energy_j", "area_m2", "t_conversion_s"):
        values = [getattr(chip.adc, one) for chip in chips.values()]
        assert values == sorted(set(values)), one
    areas = [sum(area(chip).values()) for chip in chips.values()]
    assert areas == sorted(set(areas))


@pytest.mark.parametrize(
    ("kind", "factor"), [("sar", 6 / 8), ("ramp", 2.0**-2), ("cco", 2.0**-2), ("flash", 1)]
)
def test_time_follows_bits_as_the_kind_of_converter_says(kind, factor):
    before = load_hw("eflash40nm", {"adc.kind": kind}).adc.t_conversion_s
    after = load_hw("eflash40nm", {"adc.kind": kind, "adc.bits": 6}).adc.t_conversion_s
    assert (before, after) == (close(0.4e-6), close(0.4e-6 * factor))


def test_steps_that_are_given_need_no_rescaling():
    step = {"adc.t_step": "10 ns"}
    for bits in (8, 6):
        chip = load_hw("eflash40nm", step | {"adc.bits": bits})
        assert chip.adc.t_conversion_s == close(0.4e-6)
        assert chip.adc.conversion_s == close(0.4e-6 + bits * 1e-8)


def test_what_the_same_call_gives_stays_and_auto_is_estimated_anew():
    chip = load_hw("eflash40nm", ["adc.bits=6", "adc.energy=1 pJ", "adc.area=auto"])
    assert chip.adc.energy_j == close(1e-12)
    assert chip.adc.area_m2 == close(ESTIMATORS["adc_survey"].estimate(chip, "adc")["area"])
    assert [r.path for r in chip.history.rescaled] == ["adc.t_conversion"]
    whole = {"adc": {"kind": "sar", "bits": 6, "count": 64, "t_conversion": "0.4 us"}}
    assert load_hw("eflash40nm", whole).history.rescaled == ()


def test_buffers_arrays_and_lanes_by_hand():
    # the file's numbers are for 128 KiB; CACTI's of 64 and 320 KiB, at 40 nm and 1.1 V, and a
    # straight line between them on log scales: 64 -> 128 is ln 2 / ln 5 of the way
    given, way = load_hw("eflash40nm").buffer, math.log(2) / math.log(5)
    small = load_hw("eflash40nm", {"buffer.size": "64 KiB"})
    cacti = {
        "read_energy_j_b": (2.6e-12, 1.50, 5.49), "write_energy_j_b": (3.4e-12, 2.76, 4.33),
        "leakage_w": (8e-6, 4.4, 17), "area_m2": (0.34e-6, 0.167, 0.884),
    }  # fmt: skip
    for name, (was, at_64, at_320) in cacti.items():
        assert getattr(given, name) == close(was), name
        assert getattr(small.buffer, name) == close(was / (at_320 / at_64) ** way), name
    # from 128 to 320 KiB, a size of the table: the rest of the way
    large = load_hw("eflash40nm", {"buffer.size": "320 KiB"}).buffer
    assert large.read_energy_j_b == close(2.6e-12 * (5.49 / 1.50) ** (1 - way))
    assert small.global_buffer == load_hw("eflash40nm").global_buffer
    half = load_hw("eflash40nm", {"array.rows": 512})
    assert half.array.periphery_area_m2 == close(0.83e-6 * (512 + 1024) / 2048)
    assert load_hw("eflash40nm", {"vector.lanes": 8}).vector.area_m2 == close(5584e-12 / 2)
    assert load_hw("eflash40nm", {"dac.bits": 6}).dac.energy_j == close(0.291e-12 / 4)


def test_another_nominal_supply_goes_with_its_square():
    base, low = load_hw("eflash40nm"), load_hw("eflash40nm", {"process.vdd": "0.55 V"})
    assert low.adc.energy_j == close(base.adc.energy_j / 4)
    assert low.buffer.leakage_w == close(base.buffer.leakage_w / 2)
    assert low.adc.t_conversion_s == base.adc.t_conversion_s
    both = load_hw("eflash40nm", {"process.vdd": "0.55 V", "adc.bits": 6})
    six = load_hw("eflash40nm", {"adc.bits": 6})
    assert both.adc.energy_j == close(six.adc.energy_j / 4)


def test_where_no_law_holds_the_message_says_what_to_give():
    with pytest.raises(ConfigError, match=r"dac\.energy: 291 fJ.*process\.node 40.*--set dac\.ene"):
        load_hw("eflash40nm", ["process.node=5nm"])


def test_what_nobody_knows_is_kept_and_told():
    kept = load_hw("eflash40nm", {"array.rows": 512}).history.kept
    assert [(k.path, k.cause) for k in kept if k.path == "array.t_read"] == [
        ("array.t_read", "array.rows 1024 -> 512")
    ]


@pytest.mark.parametrize(
    ("chip", "changes", "told"),
    [
        ("sram22nm", {"weights.bits": 4}, ["array.cell_capacitance", "array.cell_area"]),
        ("sram22nm", {"weights.bits": 4, "weights.cell_bits": 1}, []),  # cells of one bit each
        ("eflash40nm", {"weights.bits": 4}, []),  # one cell holds them
        ("eflash40nm", {"tile.arrays": 2}, ["tile.clock_power"]),
    ],
)
def test_cells_that_stand_for_those_of_all_bits_are_told(chip, changes, told):
    kept = load_hw(chip, changes).history.kept
    given = {path for path in ("array.cell_capacitance", "array.cell_area", "tile.clock_power")
             if fields()[path].value(load_hw(chip))}  # fmt: skip
    assert {one.path for one in kept} & set(given) == set(told) & given
    assert bool(kept) == bool(told)


def test_overrides_are_told_in_the_name_and_make_no_other_chip():
    plain = load_hw("eflash40nm")
    chip = load_hw("eflash40nm", {"adc.bits": 8, "tile.gated": True})
    assert chip.label == "eflash40nm with adc.bits=8, tile.gated=true"
    assert plain.label == "eflash40nm"
    assert chip == plain
    low = load_hw("eflash40nm", ["adc.bits=6", "operating.vdd=0.9 V"])
    assert low.history.overrides == ("adc.bits=6", "operating.vdd=0.9 V")


def test_ranges_of_the_file_stay_with_numbers_that_stay():
    moved = load_hw("eflash40nm", {"tile.count": 38})
    assert moved.interconnect.area_m2 == close(2.8e-6)
    assert moved.sources["interconnect.area"].range is None  # 4.5 .. 18 mm2 were of 76 tiles
    assert moved.history.ranges["interconnect.area"] == (close(4.5 / 5.6), close(18 / 5.6))
    assert load_hw("eflash40nm", {"adc.bits": 6}).sources["interconnect.area"].range


def test_other_cells_hold_nothing_of_what_the_old_ones_held():
    chip = load_hw("wtm2101", {"device.kind": "pcm"})  # its front end is in the fitted cell current
    assert "front_end" in chip.leaves_out
    assert "front_end" not in chip.included_in
    assert chip.included_in.keys() == load_hw("wtm2101").included_in.keys() - {"front_end"}


@pytest.mark.parametrize("name", some(sorted(shipped()), "eflash40nm", "neurram130nm", "sram22nm"))
def test_every_number_follows_every_field_that_it_declares(name):
    """Over all chips: rescaled and marked, kept and marked, or refused with what to give."""
    raw = raw_mapping(name)[1]
    base, tried = load_hw(name), 0
    refused: list[str] = []
    causes = {cause for field in fields().values() for cause in (*field.follows, *field.kept)}
    for cause in sorted(causes):
        source = fields()[cause]
        for value in _others(source, source.value(base)):
            try:
                chip = load_hw(name, {cause: value})
            except ConfigError as error:
                refused.append(str(error))
                continue  # cannot be rescaled, or is not legal for this chip at all
            if source.value(chip) == source.value(base):
                continue  # nothing given there: a factor of nothing is nothing
            rescaled = {r.path: r for r in chip.history.rescaled}
            kept = {k.path for k in chip.history.kept}
            for path, field in fields().items():
                if not _stands(field, raw) or not field.value(base):
                    assert path not in rescaled
                    continue
                if cause in field.follows:
                    tried += 1
                    moved = field.value(chip) != field.value(base)
                    assert moved == (path in rescaled), (cause, path)
                    assert moved or path.startswith("adc."), (cause, path)
                if cause in field.kept:
                    tried += 1
                    assert path in kept, (cause, path)
                if cause not in (*field.follows, *field.kept) and path != cause:
                    assert field.value(chip) == field.value(base), (cause, path)
            break
    assert tried > 10
    assert all("--set" in text for text in refused if "cannot be rescaled" in text)


def _others(field, value):
    if value is None:  # of a part that the chip has not got
        return []
    if field.kind == "choice":
        return [choice for choice in field.choices if choice != value]
    if field.kind == "count":
        return [value - 1, value + 1]
    return [f"{value / 1.25!r} {field.unit}", f"{value * 1.25!r} {field.unit}"]


@pytest.mark.parametrize("name", shipped())
def test_arrays_of_another_size_have_the_area_that_an_override_gives(name):
    chip = load_hw(name)
    sizes = {"array.rows": 2 * chip.array.rows, "array.cols": 4 * chip.array.cols}
    overridden, resized = load_hw(name, sizes), with_arrays(chip, *sizes.values())
    assert area(resized) == pytest.approx(area(overridden))
    assert resized.array.fixed_energy_j == close(overridden.array.fixed_energy_j)
    assert resized.dac.bit_energy_j == close(overridden.dac.bit_energy_j)
