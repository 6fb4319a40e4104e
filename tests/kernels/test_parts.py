"""Parts of the kernels by themselves, each against plain loops or nodal equations."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.crossbar.adc import AdcRange
from cimsim.kernels import avx2, bitwise, conversion, floats, fused, lookup, neon, products
from cimsim.kernels.planes import signal_planes, variance_planes
from cimsim.kernels.wires import joined_cells
from tests.kernels.fused_case import PULSES, Case


def test_blocks_hold_whole_tiles():
    """The last tile of a block writes as many rows as any other: there have to be as many."""
    for tile in (12, 8, 6, avx2.ROWS, neon.ROWS):  # the first three of `cimsim.kernels.vnni`
        assert products.ROWS % tile == 0


@pytest.mark.parametrize("name", ["one pulse", "two pulses"])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("vectors", [1, 37, 2 * fused.BLOCK + 3])
def test_row_sums_are_those_of_the_codes_to_the_power(name, power, vectors):
    case = Case(9, rows=11, cols=5, vectors=vectors)
    sums = case.fast(PULSES[name], AdcRange.ideal(), 0.0, np.float64, power=power)[1]
    expected = np.zeros(case.rows, np.int64)
    for b, (shift, mask) in itertools.product(range(vectors), PULSES[name]):
        expected += (case.vector(b) >> shift & mask) ** power
    np.testing.assert_array_equal(sums, expected)


@pytest.mark.parametrize("own", [0.2, 0.7, 1.6])
def test_noise_of_the_converter_alone_is_drawn_however_small(draw, own):
    case = Case(12, whole=True)
    adc = AdcRange(-9000.0, 16.0, 1023)
    acc = case.fast(PULSES["one pulse"], adc, own, np.float64, read_noise=False)[0]
    quiet = case.fast(PULSES["one pulse"], adc, 0.0, np.float64, read_noise=False)[0]
    expected = case.naive(draw, PULSES["one pulse"], adc, own, read_noise=False)[0]
    far = np.abs(acc - expected) > 0.5 * adc.lsb  # a draw of float32 may fall on the other side
    assert far.mean() < 0.005
    assert (np.abs(acc - quiet) > 0.5 * adc.lsb).mean() > 0.1 * own


@given(
    shifts=st.sets(st.integers(0, 7), min_size=1), n=st.integers(1, 5), used=st.integers(1, 20),
    wide=st.booleans(), seed=st.integers(0, 2**32),
)  # fmt: skip
def test_bits_that_drive_a_row_are_counted(shifts, n, used, wide, seed):
    kind = np.uint16 if wide else np.uint8
    places = np.array(sorted(shifts)) + (8 if wide else 0)
    codes = np.random.default_rng(seed).integers(0, np.iinfo(kind).max + 1, (n, 24), kind)
    sums = np.arange(n)
    bitwise._tally(codes, used, places, sums)
    bits = (codes[:, :used, None].astype(np.int64) >> places) & 1
    np.testing.assert_array_equal(sums, np.arange(n) + bits.sum(axis=(1, 2)))


@pytest.mark.parametrize(
    ("mask", "exponent", "bits"), [(255, 0, 8), (0b1100, 2, 2), (0b1110, 1, 3), (3, 0, 2)]
)
def test_why_a_pulse_is_not_looked_up_names_its_bits(mask, exponent, bits):
    for pulses in ([[0, mask, exponent]], [[0, 1, 0], [0, mask, exponent], [1, 1, 0]]):
        assert bitwise.why_not(np.array(pulses), 10) == f"pulses of {bits} bits"


def test_single_bits_are_looked_up_wherever_they_stand():
    for shift in range(8):
        told = bitwise.why_not(np.array([[0, 1 << shift, shift]]), lookup.MOST_ROWS)
        assert (told is None) == lookup.HAS_LOOKUP
    more = bitwise.why_not(np.array([[0, 1, 0]]), lookup.MOST_ROWS + 1)
    assert more is not None
    assert (f"{lookup.MOST_ROWS + 1:,} rows" in more) == lookup.HAS_LOOKUP


@pytest.mark.skipif(not lookup.HAS_LOOKUP, reason="no AVX-512 BW")
@pytest.mark.parametrize("scale", [1.0, 40.3])
@pytest.mark.parametrize("noisy", [True, False])
def test_tables_say_which_planes_they_hold(scale, noisy):
    matrix = scale * np.random.default_rng(0).integers(-9, 10, (7, 20))
    noise = variance_planes(np.abs(matrix)) if noisy else None
    held = bitwise.Tables.of(signal_planes(matrix), noise, 7)
    assert (held.has_high, held.has_noise) == (scale != 1.0, noisy)
    assert held.sums.shape[-2] == 1 + (scale != 1.0) + noisy


@given(
    stretches=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 7)), min_size=1, max_size=3),
    rows=st.integers(1, 4), first=st.integers(0, 3), floor=st.sampled_from([-np.inf, 0.0]),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_values_are_scaled_and_put_where_they_belong(stretches, rows, first, floor, seed):
    rng, width, place, held = np.random.default_rng(seed), 16, 2, []
    for begin, n in stretches:
        held.append((begin, place, n))
        place += n + 1
    value = rng.normal(0, 50, rows * width).astype(np.float32)
    acc = np.full((first + rows + 1, place), 7.0, np.float32)
    scaling = rng.normal(0, 2, (2, place)).astype(np.float32)
    conversion.put(acc, (first, rows), value, width, np.array(held), (scaling, floor))
    expected = np.full(acc.shape, 7.0, np.float32)
    for b, (begin, at, n) in itertools.product(range(rows), held):
        one = value[b * width + begin :][:n].astype(np.float64)
        scaled = one * scaling[0, at : at + n] + scaling[1, at : at + n]
        expected[first + b, at : at + n] = np.maximum(scaled.astype(np.float32), floor)
    np.testing.assert_array_equal(acc, expected)


@given(share=st.floats(0, 1), own=st.floats(0, 3), seed=st.integers(0, 2**32))
def test_what_pulses_share_keeps_the_variance_and_has_its_part_in_it(share, own, seed):
    """Of a level's deviation, the part of the cells' variance that stays through all pulses."""
    n, rng = 6, np.random.default_rng(seed)
    variance = rng.uniform(0, 5, n).astype(np.float32)
    power = rng.uniform(0.1, 3, n)
    variance[0] = 0.0
    sigma = np.sqrt(variance.astype(np.float64) * power + own**2)
    given_ = rng.normal(size=(2, n)).astype(np.float32)
    scratch = floats._scratch(n)
    scratch.sigma[:] = sigma
    scratch.draws[:n], scratch.shared[:n] = given_
    floats._mix(scratch, share, variance, power)
    for j in range(n):
        part = 0.0 if sigma[j] == 0 else share * float(variance[j]) * power[j] / sigma[j] ** 2
        alone = np.sqrt(max(0.0, 1 - part))
        expected = alone * given_[0, j] + np.sqrt(part) * given_[1, j]
        assert abs(scratch.draws[j] - expected) <= 1e-3 * np.abs(given_[:, j]).max()


class Rectangle:
    """The nodes of a rectangle of cells: its edges, where wires end, and what is inside."""

    def __init__(self, g, r_word, r_bit):
        self.high, self.wide = g.shape
        h, w = g.shape
        self.given = [("left", i) for i in range(h)] + [("bottom", j) for j in range(w)]
        self.free = [(line, i, j) for line in ("word", "bit") for i in range(h) for j in range(w)]
        at = {node: k for k, node in enumerate((*self.given, *self.free))}
        self.matrix = np.zeros((len(at), len(at)))
        for i, j in np.ndindex(h, w):
            before = ("word", i, j - 1) if j else ("left", i)
            below = ("bit", i + 1, j) if i + 1 < h else ("bottom", j)
            self._join(at[before], at["word", i, j], 1 / r_word[j])
            self._join(at[below], at["bit", i, j], 1 / r_bit[i])
            self._join(at["word", i, j], at["bit", i, j], g[i, j])
        edge = [("word", i, w - 1) for i in range(h)] + [("bit", 0, j) for j in range(w)]
        self.edge = [at[node] for node in edge]

    def _join(self, a, b, conductance):
        self.matrix[[a, b], [a, b]] += conductance
        self.matrix[[a, b], [b, a]] -= conductance

    def hybrid(self):
        """Currents into left and bottom, voltages of right and top, by what is given at all."""
        n = len(self.given)
        columns = []
        for k in range(2 * n):
            u, current = np.zeros(n), np.zeros(len(self.matrix))
            if k < n:
                u[k] = 1
            else:
                current[self.edge[k - n]] = 1
            rest = current[n:] - self.matrix[n:, :n] @ u
            inside = np.linalg.solve(self.matrix[n:, n:], rest)
            whole = np.concatenate([u, inside])
            columns.append(np.concatenate([self.matrix[:n] @ whole, whole[self.edge]]))
        return np.array(columns).T


@pytest.mark.parametrize(
    ("high", "wide", "pieces"), [(1, 1, 1), (3, 2, 1), (2, 5, 3), (4, 4, 2), (5, 1, 4)]
)
def test_a_rectangle_of_cells_is_that_of_nodal_analysis(high, wide, pieces):
    rng = np.random.default_rng([high, wide])
    g = 10 ** rng.uniform(-6, -3, (high, pieces * wide))
    g[rng.random(g.shape) < 0.2] = 0
    r_word, r_bit = rng.uniform(1, 50, pieces * wide), rng.uniform(1, 50, high)
    found = joined_cells(g, r_word, r_bit, wide)
    assert found.shape == (pieces, 2 * (high + wide), 2 * (high + wide))
    for p in range(pieces):
        part = slice(p * wide, (p + 1) * wide)
        expected = Rectangle(g[:, part], r_word[part], r_bit).hybrid()
        np.testing.assert_allclose(found[p], expected, rtol=1e-9, atol=1e-12)
