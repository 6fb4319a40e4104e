"""The ladder recursions against the chain's nodal equations, solved densely in exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.kernels.wires import _ladder, add_line, line_shares

RTOL = 1e-13
# powers of ten of cells (S) and wires (ohm); the wide ones outweigh each other, many times over
USUAL, WIDE = {"cells": (-9, -3), "ohms": (-2, 4)}, {"cells": (-12, 4), "ohms": (-6, 9)}


@st.composite
def lines(draw, most=12, beside=1, cells=(-9, -3), ohms=(-2, 4), erased=(0.0, 0.2, 0.7)):
    """Cells [n, lines] with some at 0 S, and the two resistances, either of them 0 at times."""
    shape = draw(st.integers(1, most)), draw(st.integers(1, beside))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    g = 10 ** rng.uniform(*cells, shape)
    g[rng.random(shape) < draw(st.sampled_from(erased))] = 0
    wires = [float(10 ** rng.uniform(*ohms)) if draw(st.integers(0, 3)) else 0.0 for _ in range(2)]
    return g, *wires


def inverse(matrix):
    n = len(matrix)
    table = [row + [Fraction(int(i == j)) for j in range(n)] for i, row in enumerate(matrix)]
    for k in range(n):  # an admittance matrix needs no pivoting
        table[k] = [x / table[k][k] for x in table[k]]
        for m in range(n):
            if m != k and table[m][k]:
                factor = table[m][k]
                table[m] = [x - factor * y if y else x
                            for x, y in zip(table[m], table[k], strict=True)]  # fmt: skip
    return [row[n:] for row in table]


class Chain:
    """Nodes 0 .. n-1 and terminal n, a cell from each node to its far end; exact.

    Wires of 0 ohm make two nodes one; the node that the terminal is part of has no equation.
    """

    def __init__(self, g, r_line, r_end):
        self.g = [Fraction(float(x)) for x in g]
        n = len(self.g)
        wires = [(k, k + 1, Fraction(float(r_end if k == n - 1 else r_line))) for k in range(n)]
        self.node = list(range(n + 1))
        for a, b, r in wires:
            if r == 0:
                self.node = [self.node[b] if node == self.node[a] else node for node in self.node]
        self.terminal = self.node[n]
        self.segments = [(self.node[a], self.node[b], 1 / r) for a, b, r in wires if r]
        self.unknown = sorted(set(self.node) - {self.terminal})
        at = {node: i for i, node in enumerate(self.unknown)}
        matrix = [[Fraction(0)] * len(at) for _ in at]
        for a, b, y in self.segments:
            for one, other in ((a, b), (b, a)):
                if one in at:
                    matrix[at[one]][at[one]] += y
                    if other in at:
                        matrix[at[one]][at[other]] -= y
        for node, y in zip(self.node, self.g, strict=False):
            if node in at:
                matrix[at[node]][at[node]] += y
        self.inverse = inverse(matrix)

    def solve(self, far=None, terminal=0, inject=None):
        """Voltages of the nodes and the current into the terminal.

        `far` and `inject` hold the voltages of far ends and currents into nodes that are not 0.
        """
        far, inject = far or {}, inject or {}
        given = dict.fromkeys(self.node, Fraction(0))
        for k, volt in far.items():
            given[self.node[k]] += self.g[k] * volt
        for k, ampere in inject.items():
            given[self.node[k]] += ampere
        for a, b, y in self.segments:
            if self.terminal in (a, b):
                given[a if b == self.terminal else b] += y * terminal
        rhs = [given[node] for node in self.unknown]
        volts = {
            node: sum((x * y for x, y in zip(row, rhs, strict=True) if y), Fraction(0))
            for node, row in zip(self.unknown, self.inverse, strict=True)
        }
        volts[self.terminal] = Fraction(terminal)
        v = [volts[node] for node in self.node[:-1]]
        # what enters the chain leaves at the terminal
        into = sum(self.g[k] * (far.get(k, 0) - v[k]) for k in range(len(v)))
        return v, into + sum(inject.values())

    def far_currents(self, far):
        """Current from each far end into the chain."""
        v, _ = self.solve(far)
        return [self.g[k] * (far.get(k, 0) - v[k]) for k in range(len(v))]


def naive_shares(g, r_line, r_end):
    """Share of a current injected at a node that reaches the terminal, all far ends at 0 V."""
    chain = Chain(g, r_line, r_end)
    return [chain.solve(inject={k: 1})[1] for k in range(len(g))]


def naive_admittance(g, r_line, r_end):
    chain = Chain(g, r_line, r_end)
    columns = [chain.far_currents({k: 1}) for k in range(len(g))]
    return [list(row) for row in zip(*columns, strict=True)]


def naive_away(g, r_line):
    """Current into each node at 1 V with only the cells beyond it."""
    found = []
    for k in range(len(g)):
        # node k as the terminal of a line of the cells beyond it
        _, into = Chain(g[:k], r_line, r_line).solve(terminal=1) if k else (None, Fraction(0))
        found.append(-into)
    return found


def naive_towards(g, r_line, r_end):
    """Voltage at each node for 1 A into it with only the cells between it and the terminal."""
    return [
        Chain([0.0, *g[k + 1 :]], r_line, r_end).solve(inject={0: 1})[0][0] for k in range(len(g))
    ]


def ladder(g, r_line, r_end):
    away, towards = np.full(len(g), np.nan), np.full(len(g), np.nan)
    _ladder(g, r_line, r_end, away, towards)
    return away, towards


def admittance(g, r_line, r_end):
    block = np.zeros((len(g), len(g)))
    sums = add_line(block, g, r_line, r_end, 0.0, 0.0, 1.0)
    return block, sums


def floats(exact):
    return np.array(exact, float)  # of fractions: rounded correctly, subnormal numbers too


def close(got, exact, rtol=RTOL):
    np.testing.assert_allclose(got, floats(exact), rtol=rtol, atol=0)


@given(lines())
def test_nodes_of_a_line_see_what_nodal_analysis_sees(line):
    g, r_line, r_end = line
    away, towards = ladder(g[:, 0], r_line, r_end)
    close(away, naive_away(g[:, 0], r_line))
    close(towards, naive_towards(g[:, 0], r_line, r_end))


@given(lines(beside=3))
def test_shares_are_those_of_nodal_analysis_for_every_line_by_itself(line):
    g, r_line, r_end = line
    close(line_shares(g, r_line, r_end), [*zip(*(naive_shares(c, r_line, r_end) for c in g.T),
                                               strict=True)])  # fmt: skip


@given(lines())
def test_admittances_and_their_row_sums_are_those_of_nodal_analysis(line):
    g, r_line, r_end = line
    block, sums = admittance(g[:, 0], r_line, r_end)
    exact = naive_admittance(g[:, 0], r_line, r_end)
    close(np.tril(block), np.tril(floats(exact)))
    close(sums, [sum(row) for row in exact])


@given(lines(most=8, **WIDE))
def test_nothing_cancels_where_cells_and_wires_differ_by_many_powers_of_ten(line):
    g, r_line, r_end = line
    away, towards = ladder(g[:, 0], r_line, r_end)
    close(away, naive_away(g[:, 0], r_line))
    close(towards, naive_towards(g[:, 0], r_line, r_end))
    close(line_shares(g, r_line, r_end)[:, 0], naive_shares(g[:, 0], r_line, r_end))
    block, sums = admittance(g[:, 0], r_line, r_end)
    exact = naive_admittance(g[:, 0], r_line, r_end)
    close(np.tril(block), np.tril(floats(exact)))
    close(sums, [sum(row) for row in exact])


@given(lines(most=7, erased=[0.0]))
def test_a_share_is_the_three_things_that_its_docstring_calls_it(line):
    g, r_line, r_end = line[0][:, 0], *line[1:]
    chain, nodes = Chain(g, r_line, r_end), range(len(g))
    current = [chain.solve({k: 1})[1] / chain.g[k] for k in nodes]
    voltage, _ = chain.solve(terminal=1)
    left, _ = chain.solve(dict.fromkeys(nodes, 1))
    assert current == voltage == [1 - v for v in left] == naive_shares(g, r_line, r_end)


@given(lines(most=7))
def test_row_sums_of_the_admittance_are_the_current_into_the_terminal(line):
    g, r_line, r_end = line[0][:, 0], *line[1:]
    chain, exact = Chain(g, r_line, r_end), naive_admittance(*(g, r_line, r_end))
    assert exact == [list(row) for row in zip(*exact, strict=True)]
    assert [sum(row) for row in exact] == [chain.solve({k: 1})[1] for k in range(len(g))]
    shares = naive_shares(g, r_line, r_end)
    assert [sum(row) for row in exact] == [a * b for a, b in zip(chain.g, shares, strict=True)]


@given(lines(beside=3, **WIDE))
def test_shares_lie_between_0_and_1_and_grow_towards_the_terminal(line):
    g, r_line, r_end = line
    shares = line_shares(g, r_line, r_end)
    assert shares.shape == g.shape
    assert (shares >= 0).all()
    assert (shares <= 1).all()
    assert (shares[1:] >= shares[:-1] * (1 - 1e-14)).all()


@given(lines(beside=4))
def test_without_resistance_every_share_is_1_exactly(line):
    g = line[0]
    np.testing.assert_array_equal(line_shares(g, 0.0, 0.0), np.ones(g.shape))
    block, sums = admittance(g[:, 0], 0.0, 0.0)
    np.testing.assert_array_equal(block, np.diag(g[:, 0]))
    np.testing.assert_array_equal(sums, g[:, 0])


@pytest.mark.parametrize("n", [1, 4])
def test_cells_without_conductance_see_the_wires_alone(n):
    g = np.zeros((n, 1))
    away, towards = ladder(g[:, 0], 100.0, 7.0)
    np.testing.assert_array_equal(away, 0)
    np.testing.assert_array_equal(towards, 7.0 + 100.0 * np.arange(n)[::-1])
    np.testing.assert_array_equal(line_shares(g, 100.0, 7.0), 1)
    block, sums = admittance(g[:, 0], 100.0, 7.0)
    assert not block.any()
    assert not sums.any()


@pytest.mark.parametrize("order", ["C", "F"])
@given(
    lines(most=6), *[st.sampled_from([-3.0, -1.0, 0.0, 0.5, 1.0])] * 2,
    st.sampled_from([0.0, 1e-3, 1.0, 700.0]), st.integers(0, 2**32),
)  # fmt: skip
def test_keep_shift_and_scale_act_on_the_lower_triangle_only(order, line, keep, shift, scale, seed):
    g, r_line, r_end = line[0][:, 0], *line[1:]
    size = max(g.max(), 1e-9)
    before = np.random.default_rng(seed).normal(0, size, (len(g), len(g)))
    block, cells = np.array(before, order=order), g.copy()
    sums = add_line(block, cells, r_line, r_end, keep, shift * size, scale)
    y = naive_admittance(g, r_line, r_end)
    terms = keep * before, shift * size * np.eye(len(g)), scale * floats(y)
    lower = np.tril(np.ones(block.shape, bool))
    slack = RTOL * sum(map(np.abs, terms))  # the terms have signs of their own
    assert (np.abs(block - sum(terms)) <= slack)[lower].all()
    np.testing.assert_array_equal(block[~lower], before[~lower])
    np.testing.assert_array_equal(cells, g)
    close(sums, [sum(row) for row in y])


@pytest.mark.parametrize("r_line", [1e15, 1e40, 1e60])
@pytest.mark.parametrize("r_end", [0.0, 1e33])
def test_what_a_long_line_leaves_of_nothing_is_0_and_no_element_is_subnormal(r_line, r_end):
    g = np.array([1e-3, 2e-5, 3e-4, 0.0, 1e-3, 1e-3, 7e-4, 1e-3, 1e-3, 4e-6, 1e-3, 1e-3])
    shares = line_shares(g[:, None], r_line, r_end)[:, 0]
    block, sums = admittance(g, r_line, r_end)
    y = naive_admittance(g, r_line, r_end)
    exact = floats(y)
    lower, tiny = np.tril(np.ones(block.shape, bool)), np.finfo(float).tiny
    # what is left out is a product of attenuations below 1e-280, times a cell
    np.testing.assert_allclose(block[lower], exact[lower], rtol=RTOL, atol=1e-280 * g.max())
    assert not ((np.abs(block) > 0) & (np.abs(block) < tiny)).any()
    left_out = (block == 0) & (exact != 0) & lower
    assert left_out.any() == (r_line > 1e30)
    np.testing.assert_allclose(shares, floats(naive_shares(g, r_line, r_end)), RTOL, tiny)
    np.testing.assert_allclose(sums, floats([sum(row) for row in y]), RTOL, tiny)
