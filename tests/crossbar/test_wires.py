import itertools
from dataclasses import astuple
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.crossbar import wire_tree
from cimsim.crossbar.wires import (
    Resistances,
    _eliminate,
    crossbar_operator,
    fast_operator,
    fast_shares,
    line_factors,
)
from cimsim.errors import SimulationError
from tests.crossbar.nodal import Nodal, resistors
from tests.thorough import some

KINDS = ("word", "bit", "driver", "sense")
OHMS = [0.0, 1e-3, 0.1, 1.0, 30.0, 100.0, 2e3]
SHAPES = [(1, 1), (1, 9), (9, 1), (2, 2), (5, 8), (8, 5), (17, 17)]


def tree(g, wires):
    """The solver of large arrays, at any size."""
    return wire_tree.solve(g, *astuple(wires))


EXACT = pytest.mark.parametrize("exact", [crossbar_operator, tree])


def cells(shape, seed=0, ratio=100.0, erased=0.1):
    """Microsiemens cells with a ratio of 100 between the largest and the smallest, some at 0."""
    rng = np.random.default_rng(seed)
    g = 1e-6 * ratio ** rng.uniform(-0.5, 0.5, shape)
    return np.where(rng.random(shape) < erased, 0.0, g)


def nodal(g, wires):
    return Nodal(g, wires.word, wires.bit, wires.driver, wires.sense).operator()


def error(got, expected):
    largest = np.abs(expected).max()
    return np.abs(got - expected).max() / largest if largest else np.abs(got).max()


def rational_operator(g, wires):
    """The same circuit in exact fractions, by Gauss-Jordan; every resistance above 0."""
    order = (wires.word, wires.bit, wires.driver, wires.sense)
    parts = [(a, b, 1 / Fraction(float(r))) for a, b, r in resistors(g, *order) if a[0] != "u"]
    parts += [(a, b, 1 / Fraction(float(r))) for a, b, r in resistors(g, *order)
              if a[0] == b[0] == "u"]  # fmt: skip
    parts += [(("u", i, j), ("v", i, j), Fraction(float(x))) for (i, j), x in np.ndenumerate(g)]
    nodes = {n: k for k, n in enumerate({n for p in parts for n in p[:2] if n[0] in "uv"})}
    rows, n = g.shape[0], len(nodes)
    table = [[Fraction(0)] * (n + rows) for _ in range(n)]
    for a, b, y in parts:
        for one, other in ((a, b), (b, a)):
            if one in nodes:
                table[nodes[one]][nodes[one]] += y
                if other in nodes:
                    table[nodes[one]][nodes[other]] -= y
                elif other[0] == "source":
                    table[nodes[one]][n + other[1]] += y
    for k in range(n):
        pivot = table[k][k]
        table[k] = [x / pivot for x in table[k]]
        for m in range(n):
            if m != k and table[m][k] != 0:
                factor = table[m][k]
                table[m] = [x - factor * z for x, z in zip(table[m], table[k], strict=True)]
    sense = 1 / Fraction(float(wires.sense))
    last = [nodes["v", rows - 1, j] for j in range(g.shape[1])]
    return np.array([[float(sense * table[k][n + i]) for k in last] for i in range(rows)])


@EXACT
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ohm", [0.1, 1.0, 10.0, 100.0])
def test_equals_nodal_analysis(shape, ohm, exact):
    g = cells(shape)
    for wires in (Resistances(ohm, ohm), Resistances(ohm, 2 * ohm, 5 * ohm, 3 * ohm)):
        assert error(exact(g, wires), nodal(g, wires)) < 1e-10


@EXACT
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (3, 5), (5, 3)])
@pytest.mark.parametrize("zeros", list(itertools.product([0, 1], repeat=4)), ids=str)
def test_any_of_the_resistances_may_be_zero(shape, zeros, exact):
    g = cells(shape, seed=3)
    values = np.array(zeros) * [700.0, 1300.0, 4e3, 2500.0]
    wires = Resistances(*map(float, values))
    assert error(exact(g, wires), nodal(g, wires)) < 1e-11


@given(
    st.integers(1, 7), st.integers(1, 7), st.tuples(*[st.sampled_from(OHMS)] * 4),
    st.integers(0, 2**32), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([1e-8, 1e-6, 1e-4]),
)  # fmt: skip
def test_equals_nodal_analysis_for_any_shape_and_value(rows, cols, ohms, seed, erased, size):
    g = cells((rows, cols), seed, erased=erased) * (size / 1e-6)
    wires = Resistances(*ohms)
    expected = nodal(g, wires)
    assert error(crossbar_operator(g, wires), expected) < 1e-7
    assert error(tree(g, wires), expected) < 1e-7


@EXACT
@pytest.mark.parametrize(
    "ohms",
    [(1e-6, 1e5, 1e5, 1e-6), (1e5, 1e-6, 1e-6, 1e5), (1e-9, 1.0, 1e6, 1e-9), (1e7, 1e7, 1.0, 1.0),
     (1e-6, 1e-6, 1e5, 1e5), (1e9, 1e-3, 1e9, 1e9), (1e-9, 1e-9, 1e-9, 1e-9)],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (1, 4)])
def test_stays_exact_where_resistances_differ_by_many_powers_of_ten(ohms, shape, exact):
    g, wires = cells(shape, seed=5, erased=0), Resistances(*ohms)
    expected = rational_operator(g, wires)
    np.testing.assert_allclose(exact(g, wires), expected, rtol=1e-8)


def test_no_resistance_leaves_the_conductances_as_they_are():
    g = cells((9, 6))
    np.testing.assert_array_equal(crossbar_operator(g, Resistances()), g)
    np.testing.assert_array_equal(fast_operator(g, Resistances()), g)


@pytest.mark.parametrize("solve", [crossbar_operator, fast_operator])
def test_goes_to_the_conductances_as_the_resistances_go_to_zero(solve):
    g = cells((12, 15))
    losses = [np.abs(solve(g, Resistances(r, r, r, r)) / np.where(g, g, 1) - (g > 0)).max()
              for r in (1e-1, 1e-3, 1e-5, 1e-7)]  # fmt: skip
    # the loss is linear in a small resistance
    np.testing.assert_allclose(np.divide(losses[:-1], losses[1:]), 100, rtol=0.05)
    assert losses[-1] < 1e-9


@pytest.mark.parametrize("solve", [crossbar_operator, fast_operator])
def test_a_single_cell_stands_in_series_with_its_wires(solve):
    g, wires = 3e-5, Resistances(1e9, 1e9, 4e3, 900.0)  # no segment between neighbours is used
    assert solve(np.array([[g]]), wires)[0, 0] == pytest.approx(1 / (1 / g + 4900), rel=1e-13)


def test_one_column_is_a_ladder_of_cells_with_their_drivers():
    g, wires = np.array([[2e-4], [5e-4], [1e-4]]), Resistances(1e6, 700.0, 1500.0, 300.0)
    y = 1 / (1 / g[:, 0] + wires.driver)
    # chain of the bit line by hand, from the far end
    first = y[0] / (1 + wires.bit * y[0])
    second = (first + y[1]) / (1 + wires.bit * (first + y[1]))
    whole = 1 / (1 + wires.sense * (second + y[2]))
    share_1 = whole / (1 + wires.bit * (first + y[1]))
    share_0 = share_1 / (1 + wires.bit * y[0])
    expected = np.stack([y[0] * share_0, y[1] * share_1, y[2] * whole])[:, None]
    np.testing.assert_allclose(crossbar_operator(g, wires), expected, rtol=1e-12)


def test_one_row_divides_its_voltage_along_the_word_line():
    g, wires = np.array([[2e-4, 5e-4, 1e-4]]), Resistances(700.0, 1e6, 1500.0, 300.0)
    y = 1 / (1 / g[0] + wires.sense)
    last = y[2] / (1 + wires.word * y[2])
    middle = (last + y[1]) / (1 + wires.word * (last + y[1]))
    u_0 = 1 / (1 + wires.driver * (middle + y[0]))
    u_1 = u_0 / (1 + wires.word * (last + y[1]))
    u_2 = u_1 / (1 + wires.word * y[2])
    expected = y * np.array([u_0, u_1, u_2])
    for solve in (crossbar_operator, fast_operator):
        np.testing.assert_allclose(solve(g, wires)[0], expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(6, 11), (11, 6), (7, 7)])
def test_reciprocity(shape):
    """Driven at the bit lines and read at the word lines, the circuit has the same operator."""
    g, wires = cells(shape), Resistances(900.0, 1700.0, 5e3, 2e3)
    turned = np.ascontiguousarray(g[::-1, ::-1].T)
    np.testing.assert_allclose(
        crossbar_operator(turned, wires.reciprocal).T[::-1, ::-1],
        crossbar_operator(g, wires), rtol=1e-11,
    )  # fmt: skip


@given(st.integers(1, 8), st.integers(1, 8), st.tuples(*[st.sampled_from(OHMS)] * 4),
       st.integers(0, 2**32))  # fmt: skip
def test_wires_only_take_current_away(rows, cols, ohms, seed):
    g = cells((rows, cols), seed) * 10
    a = crossbar_operator(g, Resistances(*ohms))
    assert (a >= -1e-18).all()
    slack = 1 + 1e-9
    # a cell's own entry can exceed its conductance by sneak currents, its line's sum cannot
    assert (a.sum(axis=0) <= g.sum(axis=0) * slack).all()
    assert (a.sum(axis=1) <= g.sum(axis=1) * slack).all()


def test_currents_and_power_are_those_that_the_drivers_give():
    g, wires = cells((6, 9)) * 30, Resistances(200.0, 300.0, 1e3, 500.0)
    a, v = crossbar_operator(g, wires), np.random.default_rng(1).uniform(0, 1, 6)
    _, sunk, drawn = Nodal(g, wires.word, wires.bit, wires.driver, wires.sense).solve(v)
    np.testing.assert_allclose(v @ a, sunk, rtol=1e-9)
    # nothing is lost on the way: what the drivers give, the virtual grounds take
    assert a.sum(axis=1) @ v == pytest.approx(drawn.sum(), rel=1e-9)
    # equal drives: each driver gives the row sum of A
    _, _, equal = Nodal(g, wires.word, wires.bit, wires.driver, wires.sense).solve(np.ones(6))
    np.testing.assert_allclose(a.sum(axis=1), equal, rtol=1e-9)
    # else the power is larger than sum V**2 A by what flows between the drivers
    assert v @ drawn > v**2 @ a.sum(axis=1)


@pytest.mark.parametrize("solve", [crossbar_operator, fast_operator])
@pytest.mark.parametrize("kind", KINDS)
def test_every_resistance_takes_current_from_the_whole(kind, solve):
    g, base = cells((9, 7)), dict.fromkeys(KINDS, 50.0)
    totals = [solve(g, Resistances(**(base | {kind: r}))).sum() for r in (0.0, 10.0, 1e3, 1e5)]
    assert (np.diff(totals) < 0).all()


def test_a_cell_without_conductance_passes_sneak_currents():
    g = np.array([[1e-4, 1e-4], [1e-4, 0.0]])
    a = crossbar_operator(g, Resistances(sense=1e3, driver=1e3))
    assert a[1, 1] > 1e-8
    assert fast_operator(g, Resistances(sense=1e3, driver=1e3))[1, 1] == 0


def test_line_factors_are_the_operator_with_the_other_lines_ideal():
    g = cells((8, 5), erased=0) * 10
    wires = Resistances(400.0, 800.0, 2e3, 1e3)
    word, bit = line_factors(g, wires)
    only_word = nodal(g, Resistances(word=wires.word, driver=wires.driver))
    only_bit = nodal(g, Resistances(bit=wires.bit, sense=wires.sense))
    np.testing.assert_allclose(g * word, only_word, rtol=1e-9)
    np.testing.assert_allclose(g * bit, only_bit, rtol=1e-9)


@EXACT
def test_far_ends_of_long_lines_fade_to_nothing(exact):
    g = np.full((300, 4), 1e-2)
    a = exact(g, Resistances(1.0, 1e5, 1.0, 1.0))
    assert np.isfinite(a).all()
    assert a[0].max() < 1e-100
    assert a[-1].min() > 1e-3


SHAPES = [(129, 260), (260, 129), (150, 150), (640, 130)]


@pytest.mark.parametrize(("rows", "cols"), some(SHAPES, (129, 260), (150, 150)))
def test_large_arrays_are_solved_by_halves_to_the_same(rows, cols):
    shape = (rows, cols)
    """From 128 lines on; numbers of lines that are no multiple of a piece are filled up."""
    g, wires = cells(shape, seed=9), Resistances(1.0, 0.5, 20.0, 10.0)
    by_columns = _eliminate(g, wires) if shape[0] <= shape[1] else None
    a = crossbar_operator(g, wires)
    if by_columns is not None:
        assert error(a, by_columns) < 1e-11
    system = Nodal(g, wires.word, wires.bit, wires.driver, wires.sense)
    v = np.random.default_rng(1).uniform(0, 1, shape[0])
    np.testing.assert_allclose(v @ a, system.solve(v)[1], rtol=1e-10)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_halves_have_the_same_bits_for_any_number_of_threads(threads):
    g = cells((300, 270), seed=10)
    expected = wire_tree.solve(g, 1.0, 1.0, 10.0, 10.0, threads=3)
    for _ in range(2):
        got = wire_tree.solve(g, 1.0, 1.0, 10.0, 10.0, threads=threads)
        np.testing.assert_array_equal(got, expected)


@EXACT
def test_medium_array_equals_nodal_analysis_and_never_depends_on_threads(exact):
    g, wires = cells((70, 90), seed=8), Resistances(3.0, 2.0, 40.0, 20.0)
    a = exact(g, wires)
    system = Nodal(g, wires.word, wires.bit, wires.driver, wires.sense)
    for v in np.random.default_rng(0).uniform(0, 1, (3, 70)):
        np.testing.assert_allclose(v @ a, system.solve(v)[1], rtol=1e-10)
    np.testing.assert_array_equal(a, exact(g, wires))


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_refuses_what_is_no_circuit(value):
    with pytest.raises(SimulationError, match=r"wires\.r_bit: expected 0 ohm or more"):
        Resistances(bit=value)
    for solve in (crossbar_operator, fast_operator):
        with pytest.raises(SimulationError, match="conductances: expected finite"):
            solve(np.array([[1e-6, value]]), Resistances(1.0))


def test_refuses_an_empty_array():
    with pytest.raises(SimulationError, match="rows x columns"):
        crossbar_operator(np.zeros((0, 3)), Resistances())


@pytest.mark.parametrize("shape", [(16, 16), (24, 64), (64, 24)])
@pytest.mark.parametrize("resistive", [(1, 1, 0, 0), (0, 0, 15, 15), (1, 1, 10, 10), (1, 0, 1, 1)])
def test_fast_errs_as_its_docstring_says(shape, resistive):
    """Largest loss of a cell -> error for all rows, a tenth of the rows, a single row."""
    bounds = {
        0.1: (3e-4, 1e-3, 2e-3), 0.2: (1e-3, 4e-3, 7e-3),
        0.3: (3e-3, 1e-2, 2e-2), 0.5: (1e-2, 4e-2, 7e-2),
    }  # fmt: skip
    rng, seen = np.random.default_rng(7), set()
    weights = np.clip(rng.normal(0, 0.27, (shape[0], shape[1] // 2)), -1, 1)
    pairs = np.stack([np.maximum(weights, 0), np.maximum(-weights, 0)], axis=2)
    g = 1e-6 * pairs.reshape(shape)
    drives = rng.random((60, shape[0]))
    inputs = drives, drives * (rng.random(drives.shape) < 0.1), np.eye(shape[0])
    for size in np.geomspace(10, 1e6, 36):
        wires = Resistances(*(float(size * r) for r in resistive))
        loss = 1 - fast_shares(g, wires).min()
        fitting = [limit for limit in bounds if loss <= limit]
        if not fitting:
            break
        seen.add(fitting[0])
        exact, fast = crossbar_operator(g, wires), fast_operator(g, wires)
        for x, bound in zip(inputs, bounds[fitting[0]], strict=True):
            error = np.sqrt(np.mean((x @ (fast - exact)) ** 2) / np.mean((x @ exact) ** 2))
            assert error < bound, (loss, error)
    assert seen == set(bounds)
