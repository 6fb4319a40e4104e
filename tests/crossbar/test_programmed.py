import math
from dataclasses import replace

import numpy as np
import pytest

from cimsim.chip.cells import build
from cimsim.chip.parts.array import Wires
from cimsim.chip.parts.base import REFERENCE_K
from cimsim.crossbar.encode import magnitude_slices
from cimsim.crossbar.faults import OPEN, STUCK_OFF, STUCK_ON
from cimsim.crossbar.nonlinear import WiredCells
from cimsim.crossbar.programmed import CellHistory, _row_conductance, program_array
from cimsim.crossbar.wires import Resistances, crossbar_operator
from cimsim.errors import ConfigError, SimulationError
from cimsim.kernels import lookup
from cimsim.kernels.bitwise import Tables
from tests.crossbar.nodal import Nodal

EXACT = {"g_max": "11.5 nS", "g_min": "0.01 nS"}
G_MAX, G_MIN = 11.5e-9, 0.01e-9


def rngs(n, seed=0):
    return [np.random.default_rng([seed, s]) for s in range(n)]


def random_weights(rows, cols, q_max=127, seed=0):
    return np.random.default_rng(seed).integers(-q_max, q_max + 1, (rows, cols)).astype(np.int32)


@pytest.mark.parametrize("slice_bits", [1, 2, 3, 4, 7])
def test_without_errors_slices_of_pulses_give_the_integer_product(slice_bits):
    slices = -(-7 // slice_bits)
    q = random_weights(33, 5)
    array = program_array(q, build("eflash", EXACT), slice_bits, rngs(slices))
    x = np.random.default_rng(1).integers(0, 256, (20, 33))
    sums = array.partial_sums(x).reshape(20, slices, 5)
    weights = 2.0 ** (slice_bits * np.arange(slices))
    np.testing.assert_array_equal(np.einsum("bsc,s->bc", sums, weights), x @ q)
    assert array.is_exact
    assert array.read_variance is None
    assert (array.n_rows, array.n_cols, array.n_physical_cols) == (33, 5, 5 * slices)
    assert array.largest_sum == np.abs(magnitude_slices(q, slice_bits, slices)).sum(axis=1).max()


def test_a_hand_made_array():
    device = build("ideal", {"g_max": "3 uS", "g_min": "0 S"})
    array = program_array(np.array([[3, -1], [0, 2]], np.int32), device, 2, rngs(1))
    np.testing.assert_array_equal(array.difference, [[3, -1], [0, 2]])
    np.testing.assert_allclose(array.row_conductance_s, [4e-6, 2e-6])
    np.testing.assert_array_equal(array.partial_sums(np.array([[1, 3]])), [[3, 5]])


def test_rows_conduct_through_both_cells_of_every_pair_and_slice():
    q = random_weights(12, 7)
    array = program_array(q, build("eflash", EXACT), 3, rngs(3))
    step = (G_MAX - G_MIN) / 7
    cells = np.abs(magnitude_slices(q, 3, 3)).sum(axis=(0, 2)) * step + 2 * 3 * 7 * G_MIN
    np.testing.assert_allclose(array.row_conductance_s, cells, rtol=1e-12)


def test_programming_error_alone_has_its_closed_form_variance():
    q = np.repeat([[10, -60, 127]], 40_000, axis=0).astype(np.int32)
    device = build("eflash", EXACT | {"sigma_program": "1.75 %"})
    array = program_array(q, device, 7, rngs(1))
    lsb = (G_MAX - G_MIN) / 127
    for column, value in enumerate([10, -60, 127]):
        error = array.difference[:, column] - value
        cells = device.program_sigma(np.array([G_MIN + abs(value) * lsb, G_MIN]))
        sigma = math.hypot(*cells) / lsb
        assert abs(error.std() / sigma - 1) < 5 / math.sqrt(2 * len(error))
        assert abs(error.mean()) < 5 * sigma / math.sqrt(len(error))
    assert not array.is_exact
    assert array.read_variance is None


def test_read_noise_variance_is_the_sum_over_cells():
    q = random_weights(30, 4)
    array = program_array(q, build("eflash", EXACT | {"sigma_read": "0.79 %"}), 7, rngs(1))
    x = np.random.default_rng(2).integers(0, 256, (6, 30))
    lsb = (G_MAX - G_MIN) / 127

    def sigma(g):
        return 0.0079 * G_MAX * (1 - np.exp(-g / (0.135 * G_MAX))) / lsb

    expected = np.zeros((6, 4))
    for b in range(6):
        for r in range(30):
            for c in range(4):
                plus, minus = max(q[r, c], 0), max(-q[r, c], 0)
                pair = sigma(G_MIN + plus * lsb) ** 2 + sigma(G_MIN + minus * lsb) ** 2
                expected[b, c] += x[b, r] ** 2 * pair
    np.testing.assert_allclose(array.noise_variance(x), expected, rtol=1e-5)
    # programming is exact here, so the products stay whole
    np.testing.assert_array_equal(array.partial_sums(x), x @ q)
    assert not array.is_exact


def test_slices_draw_from_their_own_streams():
    q = np.full((50, 3), 127, np.int32)
    device = build("eflash", EXACT | {"sigma_program": "1.75 %"})
    both = program_array(q, device, 4, rngs(2)).difference
    first = program_array(q, device, 4, [rngs(2)[0], np.random.default_rng(99)]).difference
    np.testing.assert_array_equal(both[:, :3], first[:, :3])
    assert (both[:, 3:] != first[:, 3:]).all()


def wires(model="exact", **ohms):
    return Wires.model_validate({"model": model} | {k: f"{v!r} ohm" for k, v in ohms.items()})


OHMS = {"r_word": 2e4, "r_bit": 3e4, "r_driver": 1e5, "r_sense": 2e5}


@pytest.mark.parametrize("idle", [None, wires("ideal", **OHMS), wires("exact"), wires("fast")])
def test_wires_without_effect_leave_every_bit(idle):
    q = random_weights(21, 4)
    device = build("eflash", EXACT | {"sigma_program": "1.75 %", "sigma_read": "0.79 %"})
    with_them = program_array(q, device, 3, rngs(3), wires=idle)
    without = program_array(q, device, 3, rngs(3))
    for name in ("difference", "read_variance", "row_conductance_s"):
        np.testing.assert_array_equal(getattr(with_them, name), getattr(without, name))
    assert with_them.is_exact == without.is_exact
    assert program_array(q, build("eflash", EXACT), 3, rngs(3), wires=idle).is_exact


@pytest.mark.parametrize("slice_bits", [3, 7])
def test_exact_wires_give_the_currents_of_the_whole_physical_array(slice_bits):
    slices = -(-7 // slice_bits)
    q, device = random_weights(9, 4, seed=5), build("eflash", EXACT)
    got = program_array(q, device, slice_bits, rngs(slices), wires=wires(**OHMS))
    # the array cell by cell: weight column, slice, positive line before negative line
    step = (G_MAX - G_MIN) / (2**slice_bits - 1)
    lines = []
    for c in range(4):
        for s in range(slices):
            for sign in (1, -1):
                digit = np.maximum(sign * q[:, c], 0) >> (s * slice_bits) & (2**slice_bits - 1)
                lines.append(G_MIN + step * digit)
    system = Nodal(np.stack(lines, axis=1), OHMS["r_word"], OHMS["r_bit"], OHMS["r_driver"],
                   OHMS["r_sense"])  # fmt: skip
    for v in (np.ones(9), np.eye(9)[2], np.random.default_rng(0).uniform(0, 1, 9)):
        _, currents, drawn = system.solve(v)
        pairs = (currents[0::2] - currents[1::2]).reshape(4, slices) / step
        expected = pairs.T.reshape(-1)  # slice-major, as the engine numbers them
        scale = np.abs(expected).max()
        np.testing.assert_allclose(v @ got.difference / scale, expected / scale, atol=1e-6)
        assert v @ got.row_conductance_s == pytest.approx(drawn.sum(), rel=1e-9)
    assert not got.is_exact
    ideal = program_array(q, device, slice_bits, rngs(slices))
    assert np.abs(got.difference - ideal.difference).max() > 0.01  # there was something to see


def test_fast_wires_are_close_to_exact_ones():
    q, device = random_weights(40, 12), build("eflash", EXACT)
    exact, fast = (
        program_array(q, device, 7, rngs(1), wires=wires(m, **OHMS)) for m in ("exact", "fast")
    )
    ideal = program_array(q, device, 7, rngs(1))
    x = np.random.default_rng(1).uniform(0, 1, (50, 40))
    lost = np.std(x @ (exact.difference - ideal.difference))
    assert np.std(x @ (fast.difference - exact.difference)) < 0.05 * lost


def test_fast_wires_are_refused_where_they_say_nothing():
    q, device = random_weights(40, 12), build("eflash", EXACT)
    with pytest.raises(SimulationError, match=r"wires\.model: fast is good for .* exact"):
        program_array(q, device, 7, rngs(1), wires=wires("fast", r_sense=1e9))


def test_read_noise_behind_wires_is_that_of_small_changes_of_the_cells():
    """All rows driven: variance of the currents by derivatives of the operator, cell by cell."""
    q = random_weights(12, 2, seed=9)
    device = build("eflash", EXACT | {"sigma_read": "0.79 %"})
    got = program_array(q, device, 7, rngs(1), wires=wires(**OHMS))
    step = (G_MAX - G_MIN) / 127
    g = np.stack([np.maximum(q, 0), np.maximum(-q, 0)], axis=-1).reshape(12, 4) * step + G_MIN
    lines = Resistances(OHMS["r_word"], OHMS["r_bit"], OHMS["r_driver"], OHMS["r_sense"])
    base = crossbar_operator(g, lines).sum(axis=0)
    variance = np.zeros(2)
    for i, j in np.ndindex(g.shape):
        moved = g.copy()
        moved[i, j] += 1e-4 * G_MAX
        slope = (crossbar_operator(moved, lines).sum(axis=0) - base) / (1e-4 * G_MAX)
        pairs = slope[0::2] - slope[1::2]
        variance += (pairs * device.read_sigma(g)[i, j] / step) ** 2
    ideal = program_array(q, device, 7, rngs(1)).noise_variance(np.ones((1, 12)))[0]
    assert (variance < 0.97 * ideal).all()
    np.testing.assert_allclose(got.noise_variance(np.ones((1, 12)))[0], variance, rtol=0.01)


def history(time_s=0.0, temperature_k=REFERENCE_K, faults=None, seed=5):
    return CellHistory(time_s, temperature_k, np.random.default_rng(seed), faults)


def test_sound_cells_at_time_zero_keep_every_bit():
    q = random_weights(20, 6)
    noisy = build("eflash", EXACT | {"sigma_program": "1.75 %", "sigma_read": "0.79 %"})
    none = np.zeros((2, 20, 6), np.uint8)
    for device in (noisy, build("eflash", EXACT)):
        plain = program_array(q, device, 7, rngs(1))
        same = program_array(q, device, 7, rngs(1), histories=[history(faults=none)])
        np.testing.assert_array_equal(plain.difference, same.difference)
        np.testing.assert_array_equal(plain.row_conductance_s, same.row_conductance_s)
        assert plain.is_exact == same.is_exact


def test_faulty_cells_give_the_difference_of_what_they_hold():
    q = np.array([[50, -50, 50, -50, 50, 0]], np.int32)
    faults = np.zeros((2, 1, 6), np.uint8)
    faults[0, 0, 0] = STUCK_OFF  # the cell that held 50
    faults[0, 0, 1] = STUCK_ON  # the erased partner of -50
    faults[1, 0, 2] = STUCK_ON
    faults[1, 0, 3] = OPEN
    faults[:, 0, 4] = STUCK_ON
    faults[1, 0, 5] = OPEN
    array = program_array(q, build("eflash", EXACT), 7, rngs(1), histories=[history(faults=faults)])
    erased = G_MIN / (G_MAX - G_MIN) * 127  # a cell at 0 S lacks what erased ones conduct
    np.testing.assert_allclose(
        array.difference[0], [0, 127 - 50, 50 - 127, erased, 0, erased], atol=1e-4
    )
    assert not array.is_exact
    step = (G_MAX - G_MIN) / 127
    full, half = G_MAX, G_MIN + 50 * step
    held = [2 * G_MIN, full + half, half + full, G_MIN, 2 * full, G_MIN]
    np.testing.assert_allclose(array.row_conductance_s, [sum(held)], rtol=1e-12)


def test_ageing_comes_after_programming_and_before_faults():
    q = random_weights(40, 5)
    device = build("pcm", {})
    faults = (np.random.default_rng(3).random((2, 40, 5)) < 0.2).astype(np.uint8) * STUCK_ON
    hour = 3600.0
    array = program_array(q, device, 7, rngs(1), histories=[history(hour, faults=faults)])
    lsb = 25e-6 / 127
    target = lsb * np.stack([np.maximum(q, 0), np.maximum(-q, 0)])
    written = device.program(target, rngs(1)[0])
    cells = device.age(written, hour, REFERENCE_K, np.random.default_rng(5))
    cells[faults > 0] = written[faults > 0] = 25e-6
    np.testing.assert_allclose(array.difference, (cells[0] - cells[1]) / lsb, atol=2e-5)
    np.testing.assert_allclose(array.row_conductance_s, cells.sum(axis=(0, 2)), rtol=1e-12)
    # read noise is that of the programmed states, on what is left of them at this time
    variance = (device.read_sigma(cells, hour, written) / lsb) ** 2
    np.testing.assert_allclose(array.read_variance, variance.sum(axis=0), rtol=1e-6)
    assert not array.is_exact


def test_a_device_without_drift_refuses_to_age_in_an_array():
    with pytest.raises(ConfigError, match=r"conditions\.time: .*no retention is given"):
        program_array(
            random_weights(3, 3), build("eflash", EXACT), 7, rngs(1), histories=[history(60.0)]
        )


def test_pulses_of_all_cells_and_slices_are_counted():
    q = random_weights(30, 4)
    device = build("eflash", EXACT | {"verify": {"tolerance": 0, "gain": 1}})
    array = program_array(q, device, 3, rngs(3))
    assert array.pulses == np.count_nonzero(magnitude_slices(q, 3, 3))
    np.testing.assert_array_equal(
        array.difference, program_array(q, build("eflash", EXACT), 3, rngs(3)).difference
    )
    assert program_array(q, build("eflash", EXACT), 3, rngs(3)).pulses is None


@pytest.mark.skipif(not lookup.HAS_LOOKUP, reason="no AVX-512 BW")
@pytest.mark.parametrize("noise", ["0 %", "0.79 %"])
def test_tables_hold_what_the_planes_hold(noise):
    device = build("eflash", EXACT | {"sigma_program": "1 %", "sigma_read": noise})
    array = program_array(random_weights(19, 6), device, 7, rngs(1))
    found, expected = array.tables, Tables.of(array.signal, array.noise, 19)
    np.testing.assert_array_equal(found.sums, expected.sums)
    assert found.has_high
    assert found.has_noise == (array.read_variance is not None) == (noise != "0 %")


def test_an_array_of_too_many_digits_has_no_tables():
    array = program_array(random_weights(5, 3), build("eflash", EXACT), 7, rngs(1))
    large = replace(array, difference=1e6 * array.difference)
    assert large.signal is None
    with pytest.raises(AssertionError):
        large.tables  # noqa: B018


def test_rows_of_wired_cells_take_what_their_drivers_give():
    ohms, rng = (2e3, 1e3, 5e3, 4e3), np.random.default_rng(4)
    g = rng.uniform(1e-7, 1e-5, (7, 4))
    none = np.array([], np.int64)
    rows = _row_conductance([[np.zeros((2, 7, 2))]], WiredCells(g, ohms, 1.0, none, none, 1.0))
    np.testing.assert_allclose(rows, Nodal(g, *ohms).solve(np.ones(7))[2], rtol=1e-6)
