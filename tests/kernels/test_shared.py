"""What the pulses of an input have in common, and what several converters read at once."""

import math

import numpy as np
import pytest

from cimsim.crossbar.adc import AdcRange
from cimsim.engine.windows import runs_of
from cimsim.kernels import conversion, fused, products
from cimsim.kernels.normals import Stream
from cimsim.kernels.planes import signal_planes, variance_planes
from tests.kernels.fused_case import PULSES, Case


def overlap(vector, pulses):
    """Correlation between two pulses that gives all of them the variance of the whole input."""
    parts = [sum(int(x >> shift & mask) ** 2 * 4**kept for x in vector.tolist())
             for shift, mask, kept in pulses]  # fmt: skip
    whole = sum(
        sum(int(x >> shift & mask) << kept for shift, mask, kept in pulses) ** 2
        for x in vector.tolist()
    )
    between = sum(map(math.sqrt, parts)) ** 2 - sum(parts)
    return (whole - sum(parts)) / between if between else 0.0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
@pytest.mark.parametrize("name", PULSES)
def test_overlaps_give_all_pulses_the_variance_of_the_input(name, dtype):
    rng = np.random.default_rng(0)
    vectors = rng.integers(0, 256, (9, 13)).astype(dtype)
    vectors[1], vectors[2], vectors[3] = 0, 1, 255
    plain = [(shift, mask, shift) for shift, mask in PULSES[name]]
    out = np.full(9, -1.0)
    conversion.overlaps(vectors, 8, np.array([(s, m, k) for s, m, k in plain]), out)
    expected = [overlap(vector, plain) for vector in vectors[:8]]
    np.testing.assert_allclose(out[:8], expected, atol=1e-9)
    assert out[8] == -1
    assert (out[3] > 0.99) == (len(plain) > 1)
    # masks that stay where they stand say the same
    kept = fused.pulse_bits(PULSES[name])
    again = np.full(9, -1.0)
    moved = np.array([(drop, mask, 0) for drop, mask, _ in kept])
    conversion.overlaps(vectors, 8, moved, again)
    np.testing.assert_array_equal(again, out)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mix_equals_its_naive_twin(dtype):
    rng = np.random.default_rng(0)
    count, width, first = 3, 16, 2
    n = count * width
    variance = rng.uniform(0, 9, n + 5).astype(dtype)
    columns = rng.uniform(0, 2, (5, n)).astype(dtype)
    variance[7] = columns[3, 7] = 0  # neither cell nor converter fluctuates
    draws = rng.normal(size=n + 5).astype(np.float32)
    kept, share = rng.normal(size=200).astype(np.float32), rng.uniform(0, 1, 9)
    expected = draws.copy()
    for i in range(n):
        b, read = first + i // width, float(variance[i]) * float(columns[2, i])
        total = read + float(columns[3, i])
        if total:
            held = read * share[b] / total
            expected[i] = math.sqrt(1 - held) * draws[i] + math.sqrt(held) * kept[first * width + i]
    conversion.mix(
        conversion.Noise(variance, draws), conversion.Shared(kept, share), columns, first,
        (count, width),
    )  # fmt: skip
    np.testing.assert_allclose(draws, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(draws[n:], expected[n:])


@pytest.mark.parametrize("name", ["two pulses", "uneven"])
def test_a_common_part_of_the_noise_is_the_same_in_every_pulse(draw, name):
    """Behind ideal converters, where the noise of a column is that of its cells alone."""
    case = Case(3, rows=21, cols=18, vectors=105)
    pulses, width = PULSES[name], 32
    plain = [(shift, mask, shift) for shift, mask in pulses]
    acc, _, _ = case.fast(pulses, AdcRange.ideal(), 0.0, np.float64, common=0.7)
    expected = np.zeros_like(acc)
    for b in range(case.vectors):
        x = case.vector(b)
        share = 0.7 * overlap(x, plain)
        kept = draw(1, width, 2**41 + 3, 2**33 + b, 8)[0]
        for p, (shift, mask) in enumerate(pulses):
            value = x >> shift & mask
            own = draw(1, width, 2**40 + 9, 2**33 + b, 8 + p)[0]
            normal = np.sqrt(1 - share) * own + np.sqrt(share) * kept
            sigma = np.sqrt(value**2 @ case.variance)
            read = value @ case.matrix + sigma * normal[: case.cols]
            expected[b, case.target] += read * case.weight * 2**shift
    assert np.abs(acc - expected).max() < 3e-3 * np.abs(expected).max()


@pytest.mark.parametrize("common", [None, (0.6, np.uint64(99))])
def test_further_converters_read_what_the_first_one_reads(common):
    case = Case(9, rows=40, cols=20, vectors=130)
    signal, noise = signal_planes(case.matrix), variance_planes(case.variance)
    planes = (signal.high, signal.low, noise.low)
    planes = (*planes, products.tiles(*planes))
    ranges = [AdcRange(-30000.0, 400.0, 127), AdcRange(-9000.0, 90.0, 255), AdcRange(0.0, 7.0, 63)]
    found = []
    for k, adc in enumerate(ranges):
        packed = adc.packed(0.2 * k)
        columns = conversion.packed_columns(
            np.stack([case.weight, case.gain + 0.1 * k, case.offset]), packed,
            (signal.unit, noise.unit),
        )  # fmt: skip
        found.append((columns.astype(np.float32), packed[:3].astype(np.float32)))

    def read(first, further):
        sums = np.zeros((1 + len(further), case.vectors, case.cols), np.float32)
        others = None
        if further:
            others = (*(np.stack(parts) for parts in zip(*further, strict=True)), sums[1:])
        fused.read_out(
            fused.Inputs(case.codes, case.bases, case.runs),
            fused.Pulses(fused.pulse_bits(PULSES["two pulses"]), 1), planes,
            conversion.Converter(*first), Stream(np.uint64(5), np.uint64(2), np.uint64(77)),
            fused.Outputs(
                sums[0], runs_of(case.target), False, np.zeros(0, np.int64),
                (np.empty((2, 0), np.float32), 0.0),
            ),
            common, others,
        )  # fmt: skip
        return sums

    together = read(found[0], found[1:])
    assert len(np.unique(together)) > 100
    for sums, one in zip(together, found, strict=True):
        np.testing.assert_array_equal(sums, read(one, [])[0])
