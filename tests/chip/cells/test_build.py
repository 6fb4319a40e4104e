import numpy as np
import pytest

from cimsim.chip.cells import DEVICES, build, device_of
from cimsim.chip.load import load_hw, shipped
from cimsim.chip.parts.base import REFERENCE_K
from cimsim.errors import ConfigError

QUIET = {"program_scale": 0, "read_scale": 0}
EXACT_CELLS = "target_uS,mean_uS,sigma_uS\n0.3,0.3,0\n1.1,1.1,0\n7.7,7.7,0\n"
SMALLEST = {
    "eflash": {"g_max": "10 nS", "g_min": "0.01 nS"}, "ideal": {}, "sram": {}, "table": {},
    "sonos40": QUIET, "pcm": QUIET, "rram": QUIET,
}  # fmt: skip

HOLDS = {"ideal": ("time", "temperature"), "sram": ("time",)}  # cells that do not age


@pytest.fixture(params=sorted(DEVICES))
def device(request, tmp_path):
    file = tmp_path / "cells.csv"
    file.write_text(EXACT_CELLS)
    own = {"file": str(file)} if request.param == "table" else {}
    return build(request.param, SMALLEST[request.param] | own)


def test_every_shipped_chip_names_a_device_that_can_be_built():
    for name in shipped():
        chip = load_hw(name)
        device = build(chip.device.kind, chip.device.parameters)
        assert 0 <= device.g_min_s < device.g_max_s


def test_contract_conductances_stay_physical(device):
    target = np.linspace(device.g_min_s, device.g_max_s, 60).reshape(3, 4, 5)
    kept = target.copy()
    written = device.program(target, np.random.default_rng(1))
    assert written.shape == target.shape
    assert written.dtype == np.float64
    assert (written >= 0).all()
    np.testing.assert_array_equal(target, kept)
    assert (device.read_sigma(written) >= 0).all()
    assert device.conduction in ("ohmic", "gate")


def test_contract_without_errors_a_device_is_exact(device):
    target = np.linspace(device.g_min_s, device.g_max_s, 60)
    assert device.is_exact
    np.testing.assert_array_equal(device.program(target, np.random.default_rng(1)), target)
    np.testing.assert_array_equal(device.read_sigma(target), np.zeros(60))


def test_contract_time_zero_at_25_degrees_changes_no_bit(device):
    g = np.linspace(device.g_min_s, device.g_max_s, 60)
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(device.age(g, 0.0, REFERENCE_K, rng), g)
    assert rng.random() == np.random.default_rng(1).random()  # nothing was drawn


@pytest.mark.parametrize("field", ["time", "temperature"])
def test_contract_conditions_beyond_the_model_name_field_and_device(device, field):
    g = np.linspace(device.g_min_s, device.g_max_s, 5)
    time_s, temperature_k = (1e12, REFERENCE_K) if field == "time" else (0.0, 500.0)
    if field in HOLDS.get(device.name, ()):
        np.testing.assert_array_equal(
            device.age(g, time_s, temperature_k, np.random.default_rng(1)), g
        )
        return
    with pytest.raises(ConfigError, match=f"^conditions.{field}: expected .*'{device.name}'"):
        device.age(g, time_s, temperature_k, np.random.default_rng(1))


def test_contract_write_is_program_with_pulses_that_nobody_counted(device):
    target = np.linspace(device.g_min_s, device.g_max_s, 60)
    written, pulses = device.write(target, np.random.default_rng(2))
    np.testing.assert_array_equal(written, device.program(target, np.random.default_rng(2)))
    assert pulses is None


@pytest.mark.parametrize("kind", ["sonos40", "pcm", "rram"])
def test_ageing_is_a_course_of_each_cell_that_the_generator_fixes(kind):
    device = build(kind, {"program_scale": 0})
    g = np.full(2000, 0.5 * device.g_max_s)
    day = 86400.0
    first, again, other = (
        device.age(g, day, REFERENCE_K, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.99
    # the same generator later: cells keep their order
    later = device.age(g, 1.5 * day, REFERENCE_K, np.random.default_rng(3))
    np.testing.assert_array_equal(np.argsort(first), np.argsort(later))


@pytest.mark.parametrize("kind", ["sonos40", "pcm", "rram"])
def test_part_of_the_measured_range_has_the_errors_of_the_same_conductance(kind):
    whole, part = build(kind, {}), build(kind, {"g_max": "5 uS", "g_min": "1 uS"})
    assert (part.g_min_s, part.g_max_s) == pytest.approx((1e-6, 5e-6))
    g = np.linspace(1e-6, 5e-6, 9)
    np.testing.assert_array_equal(part.program_sigma(g), whole.program_sigma(g))
    np.testing.assert_array_equal(part.read_sigma(g), whole.read_sigma(g))


def test_a_chip_is_refused_when_its_cells_cannot_do_what_it_asks():
    with pytest.raises(ConfigError, match=r"weights\.cell_bits: expected at most 1 .*got 7"):
        device_of(load_hw("eflash40nm", ["device.kind=sram"]))
    assert device_of(load_hw("eflash40nm", ["device.kind=sram", "weights.cell_bits=1"])).is_exact
    with pytest.raises(ConfigError, match=r"conditions\.time: .*'eflash', got 21 y"):
        device_of(load_hw("eflash40nm", ["conditions.time=21y"]))


def test_programming_depends_on_the_generator_alone():
    device = build("eflash", {"g_max": "10 nS", "sigma_program": "2 %"})
    target = np.linspace(0, device.g_max_s, 50)
    first, again, other = (device.program(target, np.random.default_rng(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).sum() > 40


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        ("rramm", {}, r"device\.kind: 'rramm' is unknown; known: eflash, ideal, .*mean rram"),
        ("eflsh", {}, r"device\.kind: 'eflsh' is unknown; .*did you mean eflash\?"),
        ("eflash", {}, r"device\.g_max: missing; it has no default"),
        (
            "eflash",
            {"g_max": "1 nS", "sigma_progam": 0},
            r"device\.sigma_progam: unknown key .*did you mean sigma_program",
        ),
        ("eflash", {"g_max": "1 nA"}, r"device\.g_max: expected a quantity in S .*'1 nA' is in A"),
        ("eflash", {"g_max": 1e-9}, r"device\.g_max: expected a quantity in S"),
        ("eflash", {"g_max": "0 S"}, r"device\.g_max: expected a quantity > 0 S"),
        ("eflash", {"g_max": "1 S", "g_min": "-1 pS"}, r"device\.g_min: expected a quantity >= 0"),
        (
            "eflash",
            {"g_max": "1 nS", "g_min": "2 nS"},
            r"device\.g_max: expected more than g_min = 2e-09 S, got 1e-09 S",
        ),
        (
            "eflash",
            {"g_max": "1 nS", "sigma_read": "40 %"},
            r"device\.sigma_read: expected 0 \.\. 25 % of full scale, got 40 %",
        ),
        (
            "eflash",
            {"g_max": "1 nS", "program_shape": "flat"},
            r"device\.program_shape: expected 'saturating' or 'uniform', got 'flat'",
        ),
        ("ideal", {"sigma_read": 0}, r"device\.sigma_read: unknown key .*; known: g_max, g_min"),
        ("ideal", {"g_max": "1 nS", "g_min": "1 nS"}, r"device\.g_max: expected more than g_min"),
        ("pcm", {"g_max": "26 uS"}, r"device\.g_max: expected at most 25 uS.*got 26 uS"),
        ("rram", {"g_min": "40 uS"}, r"device\.g_min: expected less than 40 uS.*got 40 uS"),
        ("sonos40", {"g_max": "1 uS", "g_min": "2 uS"}, r"device\.g_max: expected more than g_min"),
        ("sonos40", {"program_scale": -1}, r"device\.program_scale: expected greater than or eq"),
        ("sram", {"sigma_mismatch": "30 %"}, r"device\.sigma_mismatch: .* <= 0\.25"),
        ("sram", {"g_max": "1 nS", "g_min": "1 nS"}, r"device\.g_max: expected more than g_min"),
        ("table", {}, r"device\.file: missing"),
        (
            "eflash",
            {"g_max": "1 nS", "drift_per_decade": "1 %"},
            r"device\.drift_per_decade: expected drift_start beside it",
        ),
        ("ideal", {"verify": "1 %"}, r"device\.verify: expected fields such as .*got '1 %'"),
        ("ideal", {"verify": {}}, r"device\.verify\.tolerance: missing"),
        (
            "ideal",
            {"verify": {"tolerance": "1 %", "max_pulse": 3}},
            r"device\.verify\.max_pulse: unknown key .*did you mean max_pulses",
        ),
        (
            "ideal",
            {"verify": {"tolerance": 0, "pulse_sigma": "1 %"}},
            r"device\.verify\.tolerance: expected more than 0 %",
        ),
        (
            "eflash",
            {"g_max": "1 nS", "sigma_program": "1 %", "verify": {"tolerance": "1 %"}},
            r"device\.verify: .*would count twice; switch it off \(sigma_program: 0",
        ),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_refused_with_its_place(kind, parameters, message):
    with pytest.raises(ConfigError, match=message):
        build(kind, parameters)


def test_every_fault_gets_its_own_line():
    with pytest.raises(ConfigError) as caught:
        build("eflash", {"g_max": "x", "sigma_read": "3 V", "extra": 1})
    assert len(str(caught.value).splitlines()) == 3
