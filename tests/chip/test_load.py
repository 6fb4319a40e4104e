import os

import pytest
import yaml

from cimsim.boundary.limits import CHIP
from cimsim.boundary.text import read_text
from cimsim.chip.cells import build
from cimsim.chip.load import chip_hash, dump, load_hw, numbers, raw_mapping, shipped
from cimsim.errors import ConfigError

CHIPS = sorted(shipped())


@pytest.mark.parametrize("name", CHIPS)
def test_shipped_chip_is_valid_and_every_number_has_a_source(name):
    chip = load_hw(name)
    _, raw = raw_mapping(name)
    assert [path for path in numbers(raw) if path not in chip.sources] == []
    build(chip.device.kind, chip.device.parameters)
    assert chip.name == name


def test_names_with_and_without_suffix_and_files_are_the_same(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(shipped()["eflash40nm"])
    assert load_hw("eflash40nm") == load_hw("eflash40nm.yaml") == load_hw(path)


def test_override_changes_the_field_what_follows_it_the_hash_and_nothing_else():
    base, other = load_hw("eflash40nm"), load_hw("eflash40nm", ["adc.bits=6"])
    assert (base.adc.bits, other.adc.bits) == (8, 6)
    left, right = dump(base), dump(other)
    for name in ("bits", "energy_j", "area_m2", "t_conversion_s"):
        assert left["adc"].pop(name) > right["adc"].pop(name)
    assert left == right
    assert chip_hash(base) != chip_hash(other)
    assert load_hw("eflash40nm", {"adc.bits": 6}) == other


def test_override_takes_quantities():
    assert load_hw("eflash40nm", ["adc.energy=1 pJ"]).adc.energy_j == pytest.approx(1e-12)


def test_another_kind_of_cell_leaves_the_old_parameters_behind():
    chip = load_hw("eflash40nm", ["device.kind=ideal"])
    assert build(chip.device.kind, chip.device.parameters).is_exact
    more = load_hw("eflash40nm", ["device.kind=ideal", "device.g_max=2 nS"])
    assert build(more.device.kind, more.device.parameters).g_max_s == pytest.approx(2e-9)


def test_sources_do_not_change_the_hash(tmp_path):
    raw = yaml.safe_load(shipped()["wtm2101"])
    del raw["sources"]
    path = tmp_path / "wtm2101.yaml"
    path.write_text(yaml.safe_dump(raw))
    assert chip_hash(load_hw(path)) == chip_hash(load_hw("wtm2101"))


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("adc.bit=6", ["adc.bit", "unknown key 'bit'", "did you mean bits?"]),
        ("adcs.bits=6", ["adcs", "unknown key", "did you mean adc?"]),
        ("adc.energy=3 ns", ["adc.energy", "in J", "'3 ns' is in s"]),
        ("adc.energy=3", ["adc.energy", "no unit"]),
        ("adc.energy=-1 pJ", ["adc.energy", ">= 0"]),
        ("adc.bits=0", ["adc.bits", "got 0"]),
        ("adc.bits=eight", ["adc.bits", "got 'eight'"]),
        ("array.rows=-5", ["array.rows", "got -5"]),
        ("array.t_read=0 s", ["array.t_read", "> 0"]),
        ("adc.kind=sarr", ["adc.kind", "'sar'", "got 'sarr'"]),
        ("device=3", ["device", "mapping", "got 3"]),
        ("adc.bits.deep=1", ["adc.bits", "has no fields"]),
        ("dac.bits=16", ["dac.bits", "inputs.bits"]),
        ("weights.encoding=ternary", ["weights.encoding", "'twos_complement'", "got 'ternary'"]),
        ("inputs.signed=both", ["inputs.signed", "'phases'", "got 'both'"]),
        ("adc.range=power3", ["adc.range", "'power2'", "got 'power3'"]),
        ("adc.method=best", ["adc.method", "'least_error'", "got 'best'"]),
        (
            "adc={kind: flash, bits: 4, count: 1, t_conversion: 1 ns, t_step: 1 ns}",
            ["t_step: expected a kind that works in steps (sar, ramp, cco), got flash"],
        ),
        ("dac.t_step=1 ns", ["t_step: expected encoding = pulse_width, got amplitude"]),
        ("array.mode=charge", ["array.cell_capacitance", "more than 0 F"]),
        ("array.cell_capacitance=1 fF", ["array.cell_capacitance", "array.mode = charge"]),
        ("adc.inl_steps_lsb=-1", ["adc.inl_steps_lsb", "got -1"]),
        ("adc.inl_bow_lsb=.nan", ["adc.inl_bow_lsb", "finite"]),
        ("dac.gain_sigma=-1 %", ["dac.gain_sigma", ">= 0"]),
        ("adc", ["path=value"]),
    ],
)
def test_wrong_override_names_path_value_and_what_is_right(override, parts):
    with pytest.raises(ConfigError) as error:
        load_hw("eflash40nm", [override])
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (
            {"weights.encoding": "offset", "weights.cell_bits": 1, "array.cols": 15},
            ["array.cols", "16 columns", "weights.encoding = offset", "got 15"],
        ),
        (
            {"inputs.signed": "phases", "inputs.bits": 1, "dac.bits": 1},
            ["inputs.bits", "at least 2", "inputs.signed = phases", "got 1"],
        ),
        ({"inputs.signed": "rows", "array.rows": 1}, ["array.rows", "at least 2"]),
    ],
)
def test_choices_that_do_not_go_together_are_refused(overrides, parts):
    with pytest.raises(ConfigError) as error:
        load_hw("eflash40nm", overrides)
    for part in parts:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("encoding", "cell_bits", "slices", "reference_cols", "weight_cols"),
    [
        ("differential", None, 1, 0, 1024), ("differential", 3, 3, 0, 341),
        ("offset", None, 1, 1, 1023), ("offset", 4, 2, 2, 511), ("offset", 3, 3, 3, 340),
        ("twos_complement", None, 2, 2, 511), ("twos_complement", 1, 8, 8, 127),
    ],
)  # fmt: skip
def test_columns_of_a_weight_and_references_of_an_array(
    encoding, cell_bits, slices, reference_cols, weight_cols
):
    chip = load_hw(
        "eflash40nm", {"weights.encoding": encoding, "weights.cell_bits": cell_bits or 16}
    )
    assert chip.weights.slices == slices
    assert chip.weights.reference_cols == reference_cols
    assert chip.weight_cols == weight_cols


def test_pulses_of_signed_inputs():
    chip = load_hw("eflash40nm", {"dac.bits": 2, "inputs.signed": "phases"})
    assert (chip.pulses, chip.pulses_for(signed=False), chip.pulses_for(signed=True)) == (4, 4, 8)
    rows = load_hw("eflash40nm", {"dac.bits": 7, "inputs.signed": "rows"})
    assert (rows.pulses, rows.pulses_for(signed=True)) == (2, 1)
    assert (rows.lines_per_input(signed=False), rows.lines_per_input(signed=True)) == (1, 2)


def test_unknown_chip_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"did you mean eflash40nm\?"):
        load_hw("eflsh40nm")


def test_missing_field_is_named(tmp_path):
    raw = yaml.safe_load(shipped()["eflash40nm"])
    del raw["adc"]["bits"], raw["sources"]
    path = tmp_path / "chip.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match=r"chip\.yaml: adc\.bits: missing"):
        load_hw(path)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: [1", "not readable as YAML"),
        ("- 1\n- 2", "expected a mapping"),
        ("name: a\nname: b", "'name' stands twice"),
        ("1: 2", "is no text"),
    ],
)
def test_broken_yaml_is_one_message(tmp_path, text, part):
    path = tmp_path / "chip.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"chip\.yaml") as error:
        load_hw(path)
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_source_of_a_field_that_is_not_there(tmp_path):
    raw = yaml.safe_load(shipped()["eflash40nm"])
    raw["sources"]["adc.bitz"] = {"kind": "estimate", "text": "a guess"}
    path = tmp_path / "chip.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match=r"did you mean adc\.bits\?"):
        load_hw(path)


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("adc.bits=true", ["adc.bits", "got true"]),
        ("adc.noise_lsb=.inf", ["adc.noise_lsb", "finite"]),
        ("interconnect.latency_cycles=1000000000000000000000000000000", ["latency_cycles", "most"]),
        ("array.t_read=1e30 s", ["array.t_read", "<= 1 s"]),
        ("process.clock=1e30 Hz", ["process.clock", "<= 1e+12 Hz"]),
        ("array=12", ["array: expected a mapping"]),
    ],
)
def test_what_is_no_number_or_beyond_any_chip_is_refused(override, parts):
    with pytest.raises(ConfigError) as caught:
        load_hw("eflash40nm", [override])
    for part in parts:
        assert part in str(caught.value)


def test_order_of_overrides_does_not_matter_for_another_kind_of_cell():
    ahead = load_hw("eflash40nm", ["device.g_max=2 nS", "device.kind=ideal"])
    assert ahead == load_hw("eflash40nm", ["device.kind=ideal", "device.g_max=2 nS"])


def test_the_same_kind_of_cell_again_keeps_its_parameters():
    assert load_hw("eflash40nm", ["device.kind=eflash"]) == load_hw("eflash40nm")


def test_a_whole_section_can_be_replaced_and_takes_its_sources_along():
    chip = load_hw("eflash40nm", {"device": {"kind": "ideal", "g_max": "1 uS"}})
    assert chip.device.parameters == {"g_max": "1 uS"}
    assert not any(path.startswith("device.sigma") for path in chip.sources)


def test_a_source_of_a_missing_field_is_still_refused(tmp_path):
    path = tmp_path / "chip.yaml"
    path.write_text(shipped()["eflash40nm"].replace("adc.count: {", "adc.cuont: {"))
    with pytest.raises(ConfigError, match=r"adc\.cuont.*did you mean adc\.count"):
        load_hw(path, ["adc.bits=6"])


@pytest.mark.parametrize(
    ("text", "part"), [("", "is empty"), ("a: [1", "line "), ("a: 1\na: 2", "stands twice")]
)
def test_a_file_that_is_no_yaml_mapping_names_the_place(tmp_path, text, part):
    path = tmp_path / "chip.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=part) as caught:
        load_hw(path)
    assert "unicode string" not in str(caught.value)


def test_conditions_and_faults_default_to_nothing():
    plain = load_hw("eflash40nm")
    assert plain.conditions.fresh
    assert plain.faults.none
    same = load_hw("eflash40nm", ["conditions.time=0 s", "conditions.temperature=25 C"])
    assert chip_hash(same) == chip_hash(plain)
    for other in (
        "conditions.time=1 d", "conditions.temperature=26 C", "faults.open=1 %",
        "adc.method=least_error", "adc.inl_bow_lsb=1", "adc.inl_steps_lsb=1",
        "dac.gain_sigma=1 %", "dac.inl_lsb=1",
    ):  # fmt: skip
        assert chip_hash(load_hw("eflash40nm", [other])) != chip_hash(plain)


def test_conditions_are_read_in_seconds_and_kelvin():
    chip = load_hw("eflash40nm", ["conditions.time=10 y", "conditions.temperature=-20 C"])
    assert chip.conditions.time_s == pytest.approx(10 * 365.25 * 86400)
    assert chip.conditions.temperature_k == pytest.approx(253.15)
    assert not chip.conditions.fresh


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("conditions.time=-1 d", ["conditions.time", ">= 0 s", "-1 d"]),
        ("conditions.temperature=-300 C", ["conditions.temperature", "> 0 K", "-300 C"]),
        ("conditions.temperature=85", ["conditions.temperature", "'25 C'", "no unit"]),
        ("conditions.temprature=85 C", ["unknown key", "did you mean temperature"]),
        ("conditions.recalibrate=maybe", ["conditions.recalibrate", "boolean", "maybe"]),
    ],
)
def test_wrong_conditions_are_refused(override, parts):
    with pytest.raises(ConfigError) as caught:
        load_hw("eflash40nm", [override])
    for part in parts:
        assert part in str(caught.value)


def test_another_kind_of_cell_takes_no_ranges_of_the_old_one():
    chip = load_hw("eflash40nm", ["device.kind=pcm"])
    same = load_hw("eflash40nm", ["adc.bits=6"])
    others = {"interconnect.area", "process.leakage_doubling"}
    assert set(same.history.ranges) == others | {"device.charge_loss"}
    assert set(chip.history.ranges) == others


@pytest.fixture
def odd(tmp_path):
    """Names that are there and no files."""
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "dangling.yaml").symlink_to("none.yaml")
    return tmp_path


@pytest.mark.parametrize(("name", "what"), [
    ("folder.yaml", "is a folder, no file"), ("pipe.yaml", "is a named pipe, no file"),
    ("loop.yaml", "cannot be read: Too many levels of symbolic links"),
    ("dangling.yaml", "is a link to nothing"), ("/dev/null", "is a device, no file"),
])  # fmt: skip
def test_what_stands_at_the_path_of_a_chip_is_told(odd, name, what):
    with pytest.raises(ConfigError) as caught:
        load_hw(odd / name)
    assert str(caught.value) == (
        f"hw: '{odd / name}' {what}; give a shipped name or the path of a YAML file"
    )
    with pytest.raises(OSError, match=what):
        read_text(odd / name, CHIP)
