import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from cimsim.crossbar import nonlinear
from cimsim.crossbar.nonlinear import Circuit, WiredCells, bent, bent_levels
from cimsim.crossbar.wires import Resistances, crossbar_operator
from cimsim.errors import SimulationError
from cimsim.kernels import nonlinear as kernels
from tests.crossbar.nonlinear_nodal import NonlinearNodal, h, slope, steepness_of
from tests.crossbar.test_wires import KINDS, OHMS, cells

RATIOS = [2.0, 2.5, 5.0, 10.0, 100.0]


def solve(g, k, wires, drives):
    return Circuit.of(g, wires, steepness_of(k)).currents(np.atleast_2d(drives))[0]


def oracle(g, k, wires, drives):
    circuit = NonlinearNodal(g, k, wires.word, wires.bit, wires.driver, wires.sense)
    return np.array([circuit.solve(v) for v in np.atleast_2d(drives)])


def error(got, expected):
    largest = np.abs(expected).max()
    return np.abs(got - expected).max() / largest if largest else np.abs(got).max()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 8), (13, 11)])
@pytest.mark.parametrize("ohm", [0.1, 10.0, 100.0, 1e4])
@pytest.mark.parametrize("k", RATIOS)
def test_equals_newton_on_all_nodes(shape, ohm, k):
    g, drives = 10 * cells(shape), np.random.default_rng(1).random((2, shape[0]))
    drives[1] = np.rint(drives[1])  # one-bit pulses
    wires = Resistances(ohm, 2 * ohm, 5 * ohm, 3 * ohm)
    assert error(solve(g, k, wires, drives), oracle(g, k, wires, drives)) < 1e-9


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (3, 5)])
@pytest.mark.parametrize("zeros", list(itertools.product([0, 1], repeat=4)), ids=str)
def test_any_of_the_resistances_may_be_zero(shape, zeros):
    g, drives = 10 * cells(shape, seed=3), np.random.default_rng(2).random(shape[0])
    wires = Resistances(*map(float, np.array(zeros) * [700.0, 1300.0, 4e3, 2500.0]))
    for k in (3.0, 30.0):
        assert error(solve(g, k, wires, drives), oracle(g, k, wires, drives)) < 1e-9


@given(
    st.integers(1, 6), st.integers(1, 6), st.tuples(*[st.sampled_from(OHMS)] * 4),
    st.integers(0, 2**32), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([1e-7, 1e-5, 1e-3]),
    st.floats(2, 100), st.sampled_from([0.2, 1.0]),
)  # fmt: skip
def test_equals_newton_for_any_shape_and_value(rows, cols, ohms, seed, erased, size, k, driven):
    g = cells((rows, cols), seed, erased=erased) * (size / 1e-6)
    rng = np.random.default_rng(seed)
    drives = rng.random(rows) * (rng.random(rows) < driven)
    wires = Resistances(*ohms)
    assert error(solve(g, k, wires, drives), oracle(g, k, wires, drives)) < 1e-8


@pytest.mark.parametrize("shape", [(40, 40), (9, 60), (60, 9)])
@pytest.mark.parametrize("ohm", [1.0, 30.0, 300.0])
def test_linear_cells_give_what_the_operator_gives(shape, ohm):
    g, drives = 10 * cells(shape), np.random.default_rng(0).random((4, shape[0]))
    wires = Resistances(ohm, ohm, 9 * ohm, 4 * ohm)
    expected = drives @ crossbar_operator(g, wires)
    assert error(solve(g, 2.0, wires, drives), expected) < 1e-9
    # and it is the limit of ever less non-linear cells
    assert error(solve(g, 2 + 1e-10, wires, drives), expected) < 1e-8
    assert error(solve(g, 2.1, wires, drives), expected) > 1e-4


@pytest.mark.parametrize("k", RATIOS)
def test_without_resistance_every_cell_sees_the_voltage_of_its_row(k):
    g, drives = cells((12, 7)), np.random.default_rng(0).random((5, 12))
    got = solve(g, k, Resistances(), drives)
    np.testing.assert_allclose(got, h(drives, k) @ g, rtol=1e-13)


@pytest.mark.parametrize("k", [2.0, 4.0, 60.0])
@pytest.mark.parametrize("ohm", [10.0, 1e4, 1e6])
def test_a_single_cell_stands_in_series_with_its_wires(k, ohm):
    g, v = 3e-5, 0.8
    (got,) = solve(np.array([[g]]), k, Resistances(9.0, 9.0, 0.7 * ohm, 0.3 * ohm), [v])[0]
    assert got == pytest.approx(brentq(lambda i: g * h(v - i * ohm, k) - i, 0, g, xtol=1e-25))


@pytest.mark.parametrize("k", [2.0, 5.0, 40.0])
@pytest.mark.parametrize("kind", KINDS)
def test_every_resistance_takes_current_from_the_whole(kind, k):
    g, base = 10 * cells((9, 7)), dict.fromkeys(KINDS, 50.0)
    drives = np.random.default_rng(4).random(9)
    totals = [
        solve(g, k, Resistances(**(base | {kind: r})), drives).sum() for r in (0.0, 10.0, 1e3, 1e5)
    ]
    assert (np.diff(totals) < 0).all()


@given(st.integers(1, 8), st.integers(1, 8), st.tuples(*[st.sampled_from(OHMS)] * 4),
       st.integers(0, 2**32), st.floats(2, 100))  # fmt: skip
def test_currents_lie_between_nothing_and_those_of_ideal_wires(rows, cols, ohms, seed, k):
    g, drives = cells((rows, cols), seed) * 10, np.random.default_rng(seed).random((2, rows))
    sunk, drawn = Circuit.of(g, Resistances(*ohms), steepness_of(k)).currents(drives)
    ideal = h(drives, k) @ g
    assert (sunk >= -1e-9 * ideal.sum()).all()
    assert (sunk.sum(axis=1) <= ideal.sum(axis=1) * (1 + 1e-9)).all()
    # what the drivers give, the virtual grounds take
    np.testing.assert_allclose(drawn.sum(axis=1), sunk.sum(axis=1), rtol=1e-9)


@given(st.integers(0, 2**32), st.integers(-8, 8), st.floats(2, 100))
def test_larger_cells_behind_smaller_resistances_are_the_same_circuit(seed, power, k):
    g, drives = 10 * cells((5, 6), seed), np.random.default_rng(seed).random((2, 5))
    ohms, factor = np.array([900.0, 300.0, 0.0, 2e3]), 2.0**power
    plain = solve(g, k, Resistances(*map(float, ohms)), drives)
    scaled = solve(factor * g, k, Resistances(*map(float, ohms / factor)), drives)
    np.testing.assert_array_equal(scaled, factor * plain)  # powers of two round nowhere


def test_a_vector_gives_the_same_bits_in_any_company():
    g, drives = 10 * cells((30, 22)), np.random.default_rng(0).random((17, 30))
    drives[5] = 0
    circuit = Circuit.of(g, Resistances(40.0, 60.0, 300.0, 100.0), steepness_of(6))
    whole = circuit.currents(drives)[0]
    assert (whole[5] == 0).all()
    for size in (1, 4, 16):
        parts = [circuit.currents(drives[i : i + size])[0] for i in range(0, 17, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    with ThreadPoolExecutor(3) as pool:
        found = pool.map(lambda v: circuit.currents(v[None])[0][0], drives[::-1])
    np.testing.assert_array_equal(np.stack(list(found))[::-1], whole)


def test_voltages_below_zero_mirror_those_above():
    g, drives = 10 * cells((6, 5)), np.random.default_rng(0).uniform(-1, 1, (3, 6))
    wires = Resistances(400.0, 600.0, 300.0, 100.0)
    got = solve(g, 8.0, wires, drives)
    assert error(got, oracle(g, 8.0, wires, drives)) < 1e-9
    np.testing.assert_allclose(solve(g, 8.0, wires, -drives), -got, rtol=1e-9)


def test_the_output_errs_by_less_than_the_tolerance(monkeypatch):
    g, drives = 30 * cells((14, 14)), np.random.default_rng(0).random((3, 14))
    wires = Resistances(900.0, 900.0, 4e3, 3e3)
    expected = oracle(g, 6.0, wires, drives)
    for tolerance in (1e-2, 1e-4, 1e-6, 1e-8):
        monkeypatch.setattr(nonlinear, "TOLERANCE", tolerance)
        off = np.abs(solve(g, 6.0, wires, drives) - expected).sum(axis=1)
        assert (off <= tolerance * expected.sum(axis=1)).all()
        assert (off > 0).all()


def test_realistic_arrays_take_as_few_sweeps_as_the_docstring_says():
    rng = np.random.default_rng(0)
    g = 1e-6 * 100 ** rng.uniform(-0.5, 0.5, (64, 64))
    for ohm, loss, sweeps in ((1.0, 0.02, 4), (10.0, 0.15, 6), (100.0, 0.55, 11)):
        for k in (2.0, 20.0):
            circuit = Circuit.of(g, Resistances(ohm, ohm, 10 * ohm, 10 * ohm), steepness_of(k))
            drives, report = rng.random((3, 64)), np.empty((3, 2))
            out = np.empty((3, 64)), np.empty((3, 64))
            kernels.solve(
                circuit.cells, circuit.ohms, circuit.steepness, (1e-10, 99), drives, out, report
            )
            assert report[:, 0].max() <= sweeps
            assert 1 - out[0].sum() / (h(drives, k) @ g).sum() < loss


@pytest.mark.parametrize(
    "ohms", [(2.8e4, 5.2e4, 64.0, 3.0), (7e4, 8e4, 20.0, 0.0), (1e5, 1e5, 0.0, 0.0)]
)
def test_arrays_that_lose_nearly_everything_are_solved_too(ohms):
    rng = np.random.default_rng(3)
    g, drives = 1e-4 * rng.random((25, 18)), (rng.random((3, 25)) < 0.2).astype(float)
    for k in (2.0, 5.0, 100.0):
        wires = Resistances(*ohms)
        assert error(solve(g, k, wires, drives), oracle(g, k, wires, drives)) < 1e-7


def test_says_what_was_not_solved(monkeypatch):
    monkeypatch.setattr(nonlinear, "MAX_SWEEPS", 2)
    wires = Resistances(2e3, 3e3, 40.0, 50.0)
    with pytest.raises(SimulationError) as caught:
        solve(10 * cells((8, 6)), 5.0, wires, np.ones(8))
    for part in ("8 x 6", "r_word = 2000 ohm", "r_bit = 3000 ohm", "r_driver = 40 ohm",
                 "r_sense = 50 ohm", "2 sweeps", "device.nonlinearity: 2"):  # fmt: skip
        assert part in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_voltages_that_are_none(value):
    with pytest.raises(SimulationError, match="finite source voltages"):
        solve(cells((2, 2)), 3.0, Resistances(1.0), [0.5, value])


@pytest.mark.parametrize("k", RATIOS)
def test_bent_keeps_both_ends_and_the_ratio_that_the_user_gives(k):
    a = steepness_of(k)
    ends = bent(np.array([0.0, 1.0, -1.0, 0.5]), a)
    np.testing.assert_allclose(ends, [0, 1, -1, 1 / k], rtol=1e-14)
    x = np.linspace(0, 1, 50)
    np.testing.assert_allclose(bent(x, a), h(x, k), rtol=1e-13)
    assert (bent(x, a) <= x + 1e-15).all()


def test_bent_levels_put_the_driver_before_the_cell():
    a, levels = steepness_of(5), np.arange(8.0)
    (plain,) = bent_levels(np.empty((0, 0), np.float32), 7, a)
    np.testing.assert_allclose(plain, 7 * h(levels / 7, 5), rtol=1e-6)
    assert (plain[0], plain[7]) == (0, 7)
    applied = (levels * np.array([[1.1], [0.9]])).astype(np.float32)
    np.testing.assert_allclose(bent_levels(applied, 7, a), 7 * h(applied / 7, 5), rtol=1e-6)


def test_wired_cells_subtract_lines_and_count_in_weight_and_pulse_lsb():
    g, unit = 10 * cells((5, 4)), 1e-7
    ohms = (100.0, 200.0, 300.0, 400.0)
    wired = WiredCells(g, ohms, steepness_of(4), np.array([0, 2]), np.array([3, 1]), unit)
    pulse = np.random.default_rng(0).integers(0, 16, (3, 5))
    lines = solve(g, 4.0, Resistances(*ohms), pulse / 15)
    expected = np.stack([lines[:, 0] - lines[:, 3], lines[:, 2] - lines[:, 1]], axis=1)
    got = wired.partial_sums(pulse, 15)
    np.testing.assert_allclose(got, expected * 15 / unit, rtol=1e-12)
    np.testing.assert_allclose(wired.bent(pulse, 15), 15 * h(pulse / 15, 4), rtol=1e-12)


def case(nodes=5, lines=7, seed=0):
    rng = np.random.default_rng(seed)
    g = rng.uniform(0, 1e-4, (nodes, lines))
    line = rng.uniform(0, 1, (kernels.LINE, nodes, lines))
    line[1::2] *= 1e-4
    return g, line


@pytest.mark.parametrize("k", RATIOS)
def test_evaluate_equals_its_naive_twin(k):
    g, line = case()
    line[0, 0] = 3.0  # beyond the limit
    a, limit, work = steepness_of(k), 1.25, np.empty((3, 35))
    at_zero = a / math.sinh(a) if a else 1.0
    kernels.evaluate(g.reshape(-1) * at_zero, line.reshape(4, -1), a, limit, work)
    for p, (node, j) in enumerate(np.ndindex(5, 7)):
        own, taken, facing, brought = line[:, node, j]
        x = min(max(own - facing, -limit), limit)
        current, steep = g[node, j] * h(x, k), g[node, j] * slope(x, k)
        missing = abs(current - taken) + abs(current + brought)
        expected = steep, current - steep * (x + facing), missing
        np.testing.assert_allclose(work[:, p], expected, rtol=1e-12, atol=1e-17)


def test_evaluate_keeps_its_precision_up_to_the_steepest_cell():
    x = np.concatenate([np.geomspace(1e-9, 1, 400), [1.25]])
    line, work = np.zeros((4, 401)), np.empty((3, 401))
    line[0] = x
    for a in (1e-6, 0.1, 1.0, 9.3):
        kernels.evaluate(np.ones(401), line, a, 2.0, work)
        np.testing.assert_allclose(work[0], np.cosh(a * x), rtol=2e-14)
        np.testing.assert_allclose(work[2], 2 * np.sinh(a * x) / a, rtol=2e-14)


def test_fold_equals_its_naive_twin():
    rng = np.random.default_rng(0)
    work, sums = rng.random((4, 6)), rng.random((4, 6))
    r, before, start = 0.7, work.copy(), sums.copy()
    kernels.fold(r, work, sums)
    for p in range(6):
        y, base = start[0, p] + before[0, p], start[1, p] + before[1, p]
        # a conductance y and a source of current behind a resistance
        expected = [1 / (1 + r * y), base / (1 + r * y)]
        np.testing.assert_allclose(work[2:, p], expected, rtol=1e-14)
        folded = [y / (1 + r * y), base / (1 + r * y), start[2, p] + before[2, p], start[3, p]]
        np.testing.assert_allclose(sums[:, p], folded, rtol=1e-14)
    np.testing.assert_array_equal(work[:2], before[:2])


def test_unfold_equals_its_naive_twin():
    rng = np.random.default_rng(0)
    work, line, sums = rng.random((4, 6)), rng.random((4, 6)), rng.random((4, 6))
    r, omega, held, start = 0.7, 1.3, line.copy(), sums.copy()
    kernels.unfold(r, omega, work, line, sums)
    for p in range(6):
        solved = start[0, p] * work[2, p] - r * work[3, p]
        own = (1 - omega) * held[0, p] + omega * solved
        taken = (1 - omega) * held[1, p] + omega * (work[0, p] * solved + work[1, p])
        np.testing.assert_allclose(line[:2, p], [own, taken], rtol=1e-13, atol=1e-15)
        expected = [solved, start[1, p], start[2, p], start[3, p] + abs(taken)]
        np.testing.assert_allclose(sums[:, p], expected, rtol=1e-13)


@pytest.mark.parametrize("shape", [(1, 1), (3, 17), (16, 8), (9, 24)])
def test_turn_transposes(shape):
    array = np.random.default_rng(0).random(shape)
    out = np.full(shape[::-1], np.nan)
    kernels.turn(array, out)
    np.testing.assert_array_equal(out, array.T)


@pytest.mark.parametrize("k", [2.0, 7.0])
def test_look_and_move_solve_every_linearised_line(k):
    """Against a dense solve of Kirchhoff's law on each line."""
    (g, line), a = case(), steepness_of(k)
    r, terminals = np.array([300.0, 500.0, 200.0, 900.0, 4e3]), np.linspace(0, 1, 7)
    at_zero = a / math.sinh(a) if a else 1.0
    work, sums, before = np.empty((4, 5, 7)), np.empty((4, 7)), line.copy()
    missing = kernels.look(g * at_zero, r, (a, 2.0), line, work, sums)
    flow = kernels.move(r, 1.0, terminals, line, work, sums)
    x = before[0] - before[2]
    current, steep = g * h(x, k), g * slope(x, k)
    gap = np.abs(current - before[1]) + np.abs(current + before[3])
    assert missing == pytest.approx(gap.sum(), rel=1e-12)
    for j in range(7):
        wire = np.diag(1 / r) + np.diag(np.append(0, 1 / r[:-1]))
        wire -= np.diag(1 / r[:-1], 1) + np.diag(1 / r[:-1], -1)
        source = np.append(np.zeros(4), terminals[j] / r[-1])
        rest = current[:, j] - steep[:, j] * before[0, :, j]
        voltages = np.linalg.solve(wire + np.diag(steep[:, j]), source - rest)
        np.testing.assert_allclose(line[0, :, j], voltages, rtol=1e-11)
        np.testing.assert_allclose(line[1, :, j], source - wire @ voltages, rtol=1e-9)
    assert flow == pytest.approx(np.abs(line[1]).sum(), rel=1e-12)
    np.testing.assert_array_equal(line[2:], before[2:])


def test_relaxation_finds_the_best_one_from_the_errors_of_either():
    for mu in (0.01, 0.3, 0.9):
        best = 2 / (1 + math.sqrt(1 - mu))
        assert kernels.relaxation(1.0, mu) == pytest.approx(best)
        # with relaxation 1 < omega < best the larger root of Young's relation is the ratio
        omega = 0.5 * (1 + best)
        b = 2 * (omega - 1) - omega**2 * mu
        ratio = (-b + math.sqrt(b * b - 4 * (omega - 1) ** 2)) / 2
        assert kernels.relaxation(omega, ratio) == pytest.approx(best)
    assert kernels.relaxation(1.5, 0.5) == 1.5  # it fell as it should: nothing to change
