"""Weight encodings: what cells hold, what a column reads, and how much each error weighs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cimsim.chip.cells import build
from cimsim.crossbar.encode import WeightCode
from cimsim.crossbar.programmed import combine, program_array

ENCODINGS = ("differential", "offset", "twos_complement")
EXACT = {"g_max": "11.5 nS", "g_min": "0.01 nS"}
G_MAX, G_MIN = 11.5e-9, 0.01e-9


def code_of(encoding, bits, cell_bits):
    return WeightCode(encoding, bits, min(cell_bits, bits if encoding == "offset" else bits - 1))


def written(q, code, seed=0, **device):
    rngs = [np.random.default_rng([seed, s]) for s in range(code.slices)]
    return program_array(q, build("eflash", EXACT | device), code.slice_bits, rngs, code)


def naive_levels(value, encoding, bits, slice_bits):
    """Level of each cell of one weight, digit by digit, [slices][lines]."""
    digits = {
        "differential": -(-(bits - 1) // slice_bits), "offset": -(-bits // slice_bits),
        "twos_complement": -(-(bits - 1) // slice_bits),
    }[encoding]  # fmt: skip
    base = 2**slice_bits
    if encoding == "differential":
        return [[max(value, 0) // base**s % base, max(-value, 0) // base**s % base]
                for s in range(digits)]  # fmt: skip
    if encoding == "offset":
        return [[(value + 2 ** (bits - 1)) // base**s % base] for s in range(digits)]
    low = value % 2**bits % 2 ** (bits - 1)
    return [[low // base**s % base] for s in range(digits)] + [[int(value < 0) * base // 2]]


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(bits=st.integers(2, 12), cell_bits=st.integers(1, 12), seed=st.integers(0, 999))
def test_cells_hold_the_digits_and_give_the_weight_back(encoding, bits, cell_bits, seed):
    code = code_of(encoding, bits, cell_bits)
    q_max = 2 ** (bits - 1) - 1
    q = np.random.default_rng(seed).integers(-q_max, q_max + 1, (3, 4)).astype(np.int32)
    q[0, :2] = q_max, -q_max
    levels = code.levels(q)
    assert levels.shape == (code.slices, len(code.lines), 3, 4)
    for place in np.ndindex(3, 4):
        expected = naive_levels(int(q[place]), encoding, bits, code.slice_bits)
        assert levels[(..., *place)].tolist() == expected
    references = code.references or (0,) * code.slices
    total = np.zeros((3, 4))
    for s, part in enumerate(levels):
        assert part.min() >= 0
        assert part.max() <= code.top
        value = combine(code.lines, part) - references[s]
        assert code.ends[0] <= value.min()
        assert value.max() <= code.ends[1]
        total += code.factors[s] * value
    np.testing.assert_array_equal(total, q)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(
    q=hnp.arrays(np.int32, (9, 3), elements=st.integers(-127, 127)),
    x=hnp.arrays(np.int32, (5, 9), elements=st.integers(0, 255)),
    cell_bits=st.integers(1, 8),
)
def test_without_errors_every_encoding_gives_the_integer_product(encoding, q, x, cell_bits):
    """Also where erased cells conduct: their share is taken off by partner or reference."""
    code = code_of(encoding, 8, cell_bits)
    array = written(q, code)
    assert array.is_exact
    sums = array.partial_sums(x).reshape(5, code.slices, 3)
    np.testing.assert_array_equal(np.einsum("bsc,s->bc", sums, array.factors), x @ q)
    low, high = code.ends
    assert sums.min() >= 9 * 255 * low
    assert sums.max() <= 9 * 255 * high


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("cell_bits", [1, 3, 8])
def test_rows_conduct_through_all_cells_and_one_reference_per_slice(encoding, cell_bits):
    q = np.random.default_rng(0).integers(-127, 128, (6, 5)).astype(np.int32)
    code = code_of(encoding, 8, cell_bits)
    array = written(q, code)
    expected = np.zeros(6)
    for s in range(code.slices):
        step = (G_MAX - G_MIN) / code.top
        levels = [naive_levels(int(v), encoding, 8, code.slice_bits)[s] for v in q.reshape(-1)]
        cells = np.array(levels).reshape(6, -1) * step + G_MIN
        expected += cells.sum(axis=1)
        if encoding != "differential":
            expected += code.references[s] * step + G_MIN
    np.testing.assert_allclose(array.row_conductance_s, expected, rtol=1e-12)


@pytest.mark.parametrize("encoding", ["offset", "twos_complement"])
def test_programming_error_of_single_cells_has_its_closed_form_variance(encoding):
    """One cell and the reference cell of its row: their variances add."""
    rows = 40_000
    q = np.repeat([[10, -60]], rows, axis=0).astype(np.int32)
    code = code_of(encoding, 8, 4)
    array = written(q, code, sigma_program="1.75 %")
    device = build("eflash", EXACT | {"sigma_program": "1.75 %"})
    errors = array.difference.reshape(rows, code.slices, 2) - np.moveaxis(
        code.levels(q)[:, 0] - np.array(code.references)[:, None, None], 0, 1
    )
    for s in range(code.slices):
        step = (G_MAX - G_MIN) / code.top
        for column, value in enumerate((10, -60)):
            level = naive_levels(value, encoding, 8, code.slice_bits)[s][0]
            cells = G_MIN + step * np.array([level, code.references[s]])
            sigma = math.hypot(*device.program_sigma(cells)) / step
            if min(cells) > G_MIN:  # an erased cell is clipped at 0 S: not quite normal
                assert abs(errors[:, s, column].std() / sigma - 1) < 5 / math.sqrt(2 * rows)
    if encoding == "offset":
        # columns of one slice share the error of their reference cells: that is their covariance
        top = errors[:, -1]
        step = (G_MAX - G_MIN) / code.top
        shared = G_MIN + step * np.array([code.references[-1]])
        common = float(device.program_sigma(shared)[0] / step) ** 2
        spread = np.sqrt(top[:, 0].var() * top[:, 1].var() + common**2) / math.sqrt(rows)
        assert abs(np.cov(top.T)[0, 1] - common) < 5 * spread


@pytest.mark.parametrize("encoding", ["offset", "twos_complement"])
def test_read_noise_variance_counts_cells_and_reference(encoding):
    q = np.random.default_rng(0).integers(-127, 128, (20, 3)).astype(np.int32)
    code = code_of(encoding, 8, 3)
    array = written(q, code, sigma_read="0.79 %")
    x = np.random.default_rng(2).integers(0, 256, (4, 20))
    device = build("eflash", EXACT | {"sigma_read": "0.79 %"})
    expected = np.zeros((4, code.slices, 3))
    for s, part in enumerate(code.levels(q)[:, 0]):
        step = (G_MAX - G_MIN) / code.top
        own = (device.read_sigma(G_MIN + step * part) / step) ** 2
        reference = G_MIN + step * np.full(1, float(code.references[s]))
        common = (device.read_sigma(reference)[0] / step) ** 2
        expected[:, s] = x.astype(float) ** 2 @ (own + common)
    np.testing.assert_allclose(array.noise_variance(x), expected.reshape(4, -1), rtol=1e-5)
    assert array.reference_variance.shape == (20, code.slices)


def test_combine_is_the_signed_sum_of_lines():
    cells = np.random.default_rng(0).normal(0, 1, (3, 4, 5))
    np.testing.assert_array_equal(combine((1.0, -1.0, -1.0), cells), cells[0] - cells[1] - cells[2])
