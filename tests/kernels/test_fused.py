"""The fused pass against plain loops, and against the float path of another file."""

import itertools
import math

import numpy as np
import pytest

from cimsim.crossbar.adc import AdcRange
from cimsim.kernels import floats, fused, lookup, products
from tests.kernels.fused_case import PULSES, Case


@pytest.mark.parametrize("read_noise", [True, False])
@pytest.mark.parametrize("name", PULSES)
@pytest.mark.parametrize(
    ("rows", "vectors"), [(37, 101), (64, 9), (210, 99)], ids=["padded", "whole", "long runs"]
)
def test_whole_cells_without_noise_of_the_converter_are_exact(
    draw, name, read_noise, rows, vectors
):
    case = Case(0, rows, vectors=vectors, whole=True)
    adc = AdcRange(-9000.0, 3.0, 4095) if read_noise else AdcRange(-9000.0, 8.0, 2047)
    acc, sums, clipped = case.fast(PULSES[name], adc, 0.0, np.float64, read_noise=False)
    expected = case.naive(draw, PULSES[name], adc, 0.0, read_noise=False)
    np.testing.assert_array_equal(acc, expected[0])
    np.testing.assert_array_equal(sums, expected[1])
    assert clipped == expected[2]


@pytest.mark.parametrize("codes", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "lengths",
    [(1, 2, 1), (1,), (70,), (40, 33), (3, 90, 1), (4,), (8, 4, 12), (4, 4, 4, 4)],
    ids=str,
)
def test_blocks_are_collected_row_by_row(lengths, codes):
    rng = np.random.default_rng(0)
    stored = rng.integers(0, np.iinfo(codes).max + 1, 600, codes)
    bases, first = rng.integers(0, 200, 7), np.cumsum((0, *lengths))
    runs = np.array([(first[k], 130 * k + 5, n) for k, n in enumerate(lengths)])
    block = np.zeros((fused.BLOCK, first[-1] + 3), codes)
    fused.collect_block(stored, bases, runs, fused.offsets_of(runs), block)
    for b, (row, at, n) in itertools.product(range(7), runs):
        for k in range(n):
            assert block[b, row + k] == stored[bases[b] + at + k]
    assert not block[:, first[-1] :].any()
    assert not block[7:].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PULSES)
def test_an_ideal_converter_passes_currents_and_their_noise_on(draw, name, dtype):
    case = Case(1)
    acc, sums, clipped = case.fast(PULSES[name], AdcRange.ideal(), 3.0, dtype, power=2)
    expected, tally, _ = case.naive(draw, PULSES[name], AdcRange.ideal(), 3.0, power=2)
    np.testing.assert_array_equal(sums, tally)
    # 2**-15 of the largest cell, 1/254 of the largest variance and of each square
    assert np.abs(acc - expected).max() < 3e-3 * np.abs(expected).max()
    assert clipped == 0


@pytest.mark.parametrize("codes", [np.uint8, np.uint16])
@pytest.mark.parametrize(("rows", "cols", "vectors"), [(1, 1, 1), (6, 16, 48), (70, 33, 97)])
def test_codes_differ_from_the_naive_twin_by_one_step_at_most(draw, rows, cols, vectors, codes):
    case = Case(2, rows, cols, vectors, codes)
    pulses = PULSES["one pulse"] if codes == np.uint8 else ((0, 255), (8, 255))
    worst = float(np.abs(case.matrix).sum(axis=0).max()) * 255
    adc = AdcRange.covering(-0.4 * worst, 0.4 * worst, 8)
    acc, _, clipped = case.fast(pulses, adc, 0.5, np.float32)
    expected, _, many = case.naive(draw, pulses, adc, 0.5)
    largest_step = adc.lsb * case.weight.max() * 2 ** pulses[-1][0]
    difference = np.abs(acc - expected)
    assert difference.max() <= 1.01 * largest_step
    assert (difference > 0.5 * adc.lsb).mean() < 0.02
    assert abs(clipped - many) <= 0.02 * acc.size + 1


def test_columns_that_lie_side_by_side_take_the_short_way():
    case = Case(3, cols=32)
    adc = AdcRange(-30000.0, 400.0, 127)
    shuffled = case.fast(PULSES["one pulse"], adc, 0.3, np.float32)[0]
    order = case.target
    case.target = np.arange(case.cols)
    np.testing.assert_array_equal(
        case.fast(PULSES["one pulse"], adc, 0.3, np.float32)[0], shuffled[:, order]
    )


def test_a_vector_has_the_same_bits_in_any_block():
    case = Case(4, vectors=130)
    adc = AdcRange(-30000.0, 400.0, 127)
    whole = case.fast(PULSES["two pulses"], adc, 0.3, np.float32)[0]
    bases = case.bases
    for first, last in ((0, 1), (1, 60), (60, 130)):
        case.bases, case.vectors = bases[first:last], last - first
        part = case.fast(PULSES["two pulses"], adc, 0.3, np.float32, first=first)[0]
        np.testing.assert_array_equal(part, whole[first:last])


@pytest.mark.parametrize(
    "by_bits",
    [
        False,
        pytest.param(True, marks=pytest.mark.skipif(not lookup.HAS_LOOKUP, reason="no AVX-512 BW")),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_first_to_add_to_an_output_does_not_look_at_it(by_bits, dtype):
    case, adc = Case(6), AdcRange(-30000.0, 400.0, 127)
    pulses = PULSES["bit-serial"] if by_bits else PULSES["two pulses"]
    added, written = (
        case.fast(pulses, adc, 0.3, dtype, by_bits=by_bits, fresh=fresh) for fresh in (False, True)
    )
    np.testing.assert_array_equal(written[0], added[0])
    assert written[2] == added[2]


@pytest.mark.parametrize("floor", [-np.inf, 0.0])
def test_outputs_that_are_scaled_at_once_are_those_that_are_scaled_later(floor):
    case, adc = Case(7), AdcRange(-30000.0, 400.0, 127)
    folded = np.random.default_rng(0).normal(0, 1, (2, case.cols)).astype(np.float32)
    folded[1] *= 1e4
    pulses = PULSES["one pulse"]
    sums, driven, clipped = case.fast(pulses, adc, 0.3, np.float32)
    at_once = case.fast(pulses, adc, 0.3, np.float32, folded=folded, floor=floor, fresh=True)
    later = np.empty_like(sums)
    floats.rescale_folded(sums, folded, floor, later)
    np.testing.assert_array_equal(at_once[0], later)
    np.testing.assert_array_equal(at_once[1], driven)
    assert at_once[2] == clipped


@pytest.mark.parametrize("step", [64, 71])
@pytest.mark.parametrize("more", [0, 500])
def test_vectors_that_lie_side_by_side_are_read_where_they_are(step, more):
    case, adc = Case(8, rows=64, vectors=2 * fused.BLOCK + 7), AdcRange(-30000.0, 400.0, 127)
    case.bases = np.arange(case.vectors) * step
    size = case.bases[-1] + 4 + case.rows + more
    case.codes = np.random.default_rng(1).integers(0, 256, size, np.uint8)
    case.runs = np.array([[0, 4, 64]])
    inputs, spare = (
        fused.Inputs(case.codes, case.bases, case.runs), np.zeros((fused.BLOCK, 64), np.uint8)
    )  # fmt: skip
    block = fused._in_place(inputs, 0, fused.BLOCK, spare)
    assert np.shares_memory(block, case.codes if products.PACKED else spare)
    in_place = case.fast(PULSES["one pulse"], adc, 0.3, np.float32)
    case.runs = np.array([[0, 4, 16], [16, 20, 48]])  # two runs are copied
    for found, copied in zip(
        in_place, case.fast(PULSES["one pulse"], adc, 0.3, np.float32), strict=True
    ):
        np.testing.assert_array_equal(found, copied)


@pytest.mark.parametrize("largest", [1, 15, 40, 255])
def test_long_runs_have_the_squares_of_short_ones(largest):
    """The same vectors from a map where they lie in two runs, and in pieces below a register."""
    case, adc = Case(2, rows=210, vectors=30), AdcRange(-9000.0, 3.0, 4095)
    case.codes &= largest
    long = case.fast(PULSES["one pulse"], adc, 0.3, np.float32)
    vectors = [case.vector(b) for b in range(case.vectors)]
    case.codes = np.concatenate(vectors).astype(np.uint8)
    case.bases = np.arange(case.vectors) * case.rows
    cuts = np.arange(0, case.rows, 30)
    case.runs = np.stack([cuts, cuts, np.minimum(30, case.rows - cuts)], axis=1)
    short = case.fast(PULSES["one pulse"], adc, 0.3, np.float32)
    for one, other in zip(long, short, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("largest", [1, 15, 16, 40, 100, 255])
def test_squares_fill_their_byte_however_dark_the_vector(largest):
    x = np.random.default_rng(0).integers(0, largest + 1, (7, 64)).astype(np.uint8)
    x[1, 0] = largest
    runs, none = np.array([[0, 0, 60]]), np.empty((0, 0, 0, 0), np.int8)
    inputs, planes = fused.Inputs(x.reshape(-1), np.arange(7) * 64, runs), (none, none, none)
    block = fused._block(inputs, 2, (*planes, np.empty((0, 4), np.int64)), 16, 60, True)
    for _ in range(2):
        fused._prepare(x, (1, 7), block, 1, True, (1, False))  # four together and two more
    np.testing.assert_array_equal(block.tally[1], 2 * x[1:, :60].sum(axis=0))
    assert not block.tally[0].any()
    fused._prepare(x, (0, 7), block, 2, True, (0, False))
    np.testing.assert_array_equal(block.tally[0], (x[:, :60].astype(int) ** 2).sum(axis=0))
    x, squares, exponent = x[1], block.squares[1], block.exponents[1]
    exact = x.astype(float) ** 2
    assert np.abs(squares * 2.0**exponent - exact).max() <= 2.0**exponent / 2
    assert 2.0**exponent <= max(1, exact.max() / 32)


@pytest.mark.parametrize("mask", [1, 32, 15, 255])
def test_only_single_bits_are_multiplied_as_such(mask, monkeypatch):
    """The widest instructions do not ask; here a product takes what it is told at its word."""
    rng = np.random.default_rng(3)
    low, high, noise = (rng.integers(-128, 128, (10, 16), np.int8) for _ in range(3))
    x = rng.integers(0, 256, (fused.BLOCK, 64), np.uint8) & np.uint8(mask)
    x[:, 10:] = 0  # what pads a vector

    def product(vectors, plane, parts, n, bit, out):
        told = vectors[:n] if bit < 0 else vectors[:n] & np.uint8(1 << bit)
        plane = products.unpack(plane).astype(np.int32)
        out[:n] = told[:, : len(plane)].astype(np.int32) @ plane

    monkeypatch.setattr(fused, "product", product)
    planes = tuple(products.pack(plane) for plane in (high, low, noise))
    planes = (*planes, products.tiles(*planes))
    runs = np.array([[0, 0, 10]])
    inputs = fused.Inputs(np.zeros(10, np.uint8), np.zeros(1, np.int64), runs)
    block = fused._block(inputs, 1, planes, 16, 0, True)
    fused._prepare(x, (0, fused.BLOCK), block, 1, True, (0, False))
    multiply = getattr(fused._multiply, "py_func", fused._multiply)
    pulse = fused._Pulse(0, 0, mask, (mask & -mask).bit_length() - 1)
    multiply(x, block, fused.BLOCK, planes, pulse)
    wide = x[:, :10].astype(np.int64)
    np.testing.assert_array_equal(block.low, wide @ low)
    np.testing.assert_array_equal(block.high, wide @ high)
    # squares are kept in steps of two to the exponent, rounded
    spread = block.spread.astype(float) * 2.0 ** block.exponents[:, None]
    tolerance = 0.5 * 2.0 ** block.exponents[:, None] * np.abs(noise.astype(int)).sum(axis=0)
    if mask & mask - 1 == 0:
        tolerance[:] = 0
    assert (np.abs(spread - wide**2 @ noise) <= tolerance).all()


@pytest.mark.parametrize("level", [3, 40, 255])
def test_read_noise_is_that_of_independent_cells(level):
    """Against the brute-force experiment: every cell of every vector is drawn."""
    case = Case(5, rows=60, cols=16, vectors=4000)
    case.codes = np.random.default_rng(1).integers(0, level + 1, case.codes.size, np.uint8)
    case.bases = np.zeros(case.vectors, np.int64)  # one vector, many reads
    case.weight[:] = 1
    acc = case.fast(PULSES["one pulse"], AdcRange.ideal(), 0.0, np.float32)[0][:, case.target]
    x, rng = case.vector(0), np.random.default_rng(2)
    cells = case.matrix + np.sqrt(case.variance) * rng.standard_normal((4000, 60, 16))
    brute = np.einsum("k,nkj->nj", x, cells)
    n, sigma = case.vectors, brute.std(axis=0)
    assert (np.abs(acc.mean(axis=0) - brute.mean(axis=0)) < 4 * sigma * math.sqrt(2 / n)).all()
    assert (np.abs(acc.var(axis=0) / brute.var(axis=0) - 1) < 4 * math.sqrt(4 / n)).all()
    correlation = np.corrcoef(acc.T) - np.eye(16)
    assert np.abs(correlation).max() < 5 / math.sqrt(n)
