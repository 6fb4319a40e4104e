import numpy as np
import pytest

from cimsim.devices import DEVICES, build
from cimsim.errors import ConfigError
from cimsim.hw.load import load_hw, shipped

SMALLEST = {"eflash": {"g_max": "10 nS", "g_min": "0.01 nS"}, "ideal": {}}


@pytest.fixture(params=sorted(DEVICES))
def device(request):
    return build(request.param, SMALLEST[request.param])


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


def test_programming_depends_on_the_generator_alone():
    device = build("eflash", {"g_max": "10 nS", "sigma_program": "2 %"})
    target = np.linspace(0, device.g_max_s, 50)
    first, again, other = (device.program(target, np.random.default_rng(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).sum() > 40


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        ("rramm", {}, r"device\.kind: 'rramm' is unknown; known: eflash, ideal"),
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
    ],
)  # fmt: skip
def test_a_wrong_entry_is_refused_with_its_place(kind, parameters, message):
    with pytest.raises(ConfigError, match=message):
        build(kind, parameters)


def test_every_fault_gets_its_own_line():
    with pytest.raises(ConfigError) as caught:
        build("eflash", {"g_max": "x", "sigma_read": "3 V", "extra": 1})
    assert len(str(caught.value).splitlines()) == 3
