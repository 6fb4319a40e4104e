import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.crossbar.adc import AdcRange
from cimsim.crossbar.encode import InputCode
from cimsim.kernels import floats
from cimsim.kernels.conversion import Converter
from cimsim.kernels.normals import Stream

NO_VARIANCE = np.empty((0, 0), np.float32)


def test_encode_map_is_the_twin_of_input_code():
    rng = np.random.default_rng(0)
    for bits, low in ((8, 0.0), (8, -1.3), (11, -0.2)):
        x = rng.uniform(low - 0.5, 3.0, (5, 7, 4)).astype(np.float32)
        code = InputCode.of_range(low, 2.5, bits)
        out = np.full((8, 10 * 4), code.zero_point, code.dtype)
        total, beyond = floats.encode_map(
            x.reshape(5, -1), code.scale, code.zero_point, code.top, out, (2, 4)
        )
        expected = code.encode(x)
        padded = np.pad(expected, ((2, 1), (1, 2), (0, 0)), constant_values=code.zero_point)
        np.testing.assert_array_equal(out.reshape(8, 10, 4), padded)
        assert total == expected.astype(int).sum()
        # the ends themselves, and what rounds to them, are in the code
        wide = np.rint(x.astype(np.float64) * (1.0 / code.scale)) + code.zero_point
        assert beyond == ((wide < 0) | (wide > code.top)).sum() > 0


@given(st.integers(0, 2**31), st.floats(-38, 37), st.sampled_from([15, 255, 65535]))
def test_codes_are_those_of_float64_however_near_to_a_half(seed, power, top):
    """Quotients around halves, far outside, and no numbers; scales beyond float32's range."""
    rng = np.random.default_rng(seed)
    scale, zero = float(10.0**power * rng.uniform(1, 10)), int(rng.integers(0, top + 1))
    near = rng.choice([0.0, 1e-7, -1e-7, 1e-3], 1200) + rng.choice([0.0, 0.5, 0.3], 1200)
    quotients = rng.integers(-top, 2 * top, 1200) * (1 + near * rng.choice([0, 1], 1200)) + near
    quotients[rng.integers(0, 1200, 9)] *= 1e8
    with np.errstate(over="ignore", invalid="ignore"):
        x = (quotients * scale).astype(np.float32)[None]
        codes = np.rint(x.astype(np.float64) * (1.0 / scale)) + zero
    expected, out = np.clip(codes, 0, top), np.zeros((1, 1200), np.uint16)
    total, beyond = floats.encode_map(x, scale, zero, top, out, (0, 0))
    np.testing.assert_array_equal(out, expected)
    assert total == expected.sum()
    assert beyond == (expected != codes).sum()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.5, 2.5, 0.5000001])
def test_what_float32_cannot_tell_is_looked_at_in_float64(value):
    part = np.uint64(0), np.uint64(1)
    for x, doubtful in ((value, True), (0.4, False), (254.6, False), (3e6, True)):
        out = np.zeros(1, np.uint8)
        found = floats._encode_single(np.array([x], np.float32), part, 1.0, 0, 255, out)
        assert found[2] == doubtful


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gather_collects_a_pulse_and_its_sums(power, dtype):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, np.iinfo(dtype).max + 1, 200).astype(dtype)
    bases = np.array([0, 3, 50, 7], np.int64)
    runs = np.array([[0, 0, 5], [5, 20, 3], [8, 11, 1]], np.int64)
    offsets = np.concatenate([start + np.arange(n) for _, start, n in runs])
    shift, mask = 2, 7
    out = np.full((6, 9), -1.0, np.float32)
    sums = np.full(9, 100, np.int64)
    floats.gather(codes, bases, runs, (shift, mask, power), out, sums)
    expected = codes[bases[:, None] + offsets].astype(np.int64) >> shift & mask
    np.testing.assert_array_equal(out[:4], expected)
    np.testing.assert_array_equal(out[4:], -1.0)
    np.testing.assert_array_equal(sums, 100 + (expected**power).sum(axis=0))


def naive_convert(draw, outputs, current, variance, converter, stream):
    (acc, target), (columns, adc), (*window, key) = outputs, converter, stream
    """Read out with plain loops; the noise of a column is `normals` of its window."""
    clipped = 0
    current, variance = current.astype(float), variance.astype(float)
    lo, step, top, noise = adc
    columns_padded = 4 * -(-current.shape[1] // 4)
    for b in range(len(acc)):
        draws = draw(1, columns_padded, int(key), int(window[0]) + b, int(window[1]))[0].tolist()
        for j in range(current.shape[1]):
            shift, gain, offset = columns[:, j]
            read = math.sqrt(variance[b, j]) if variance.size else 0.0
            if top < 0:
                acc[b, target[j]] += (current[b, j] + read * draws[j]) * shift
                continue
            sigma = math.hypot(read * gain / step, noise)
            code = round((current[b, j] * gain - lo) / step + offset + sigma * draws[j])
            clipped += not 0 <= code <= top
            acc[b, target[j]] += (lo + step * min(max(code, 0), top)) * shift
    return clipped


@pytest.mark.parametrize("with_read_noise", [False, True])
@pytest.mark.parametrize("noise_lsb", [0.0, 0.7])
@pytest.mark.parametrize("adc", [AdcRange(-150.0, 2.3, 127), AdcRange.ideal()])
def test_convert_equals_its_naive_twin(draw, adc, noise_lsb, with_read_noise):
    rng = np.random.default_rng(0)
    rows, n = 9, 11
    current = rng.normal(0, 120, (rows + 3, n)).astype(np.float32)
    variance = rng.uniform(0, 60, current.shape).astype(np.float32)
    columns = np.stack([2.0 ** rng.integers(0, 5, n), rng.normal(1, 0.05, n), rng.normal(0, 1, n)])
    target = rng.integers(0, 4, n)
    arguments = (
        current, variance if with_read_noise else NO_VARIANCE,
        Converter(columns, adc.packed(noise_lsb)),
        Stream(np.uint64(77), np.uint64(5), np.uint64(2**40 + 9)),
    )  # fmt: skip
    got, expected = np.full((rows, 4), 3.0), np.full((rows, 4), 3.0)
    clipped = floats.convert((got, target), *arguments)
    assert clipped == naive_convert(draw, (expected, target), *arguments)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-9)
    if adc.top is not None:
        assert clipped > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_convert_of_whole_numbers_within_range_is_exact(dtype):
    rng = np.random.default_rng(0)
    top = 2**23 if dtype == np.float32 else 2**31
    current = rng.integers(1 - top, top, (20, 8)).astype(dtype)
    adc = AdcRange.covering(1 - top, top, 32)
    acc = np.zeros((20, 8))
    columns = np.stack([np.ones(8), np.ones(8), np.zeros(8)])
    stream = Stream(np.uint64(0), np.uint64(0), np.uint64(1))
    clipped = floats.convert(
        (acc, np.arange(8)), current, NO_VARIANCE, Converter(columns, adc.packed(0.0)), stream
    )
    assert clipped == 0
    np.testing.assert_array_equal(acc, current)


def test_rescale_is_the_digital_formula():
    rng = np.random.default_rng(0)
    acc = rng.normal(0, 1e5, (6, 3))
    zero, gain, offset, scale, bias = digital = rng.normal(0, 1, (5, 3))
    out = np.empty((6, 3), np.float32)
    floats.rescale(acc, digital, -np.inf, out)
    expected = (((acc - zero) * gain + offset) * scale + bias).astype(np.float32)
    np.testing.assert_array_equal(out, expected)
    floats.rescale(acc, digital, 0.0, out)
    assert (expected < 0).any()
    np.testing.assert_array_equal(out, np.maximum(expected, 0))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (3, 1)])
def test_unfold_equals_its_naive_twin(height, width):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 2 * height * width)).astype(np.float32)
    pixels = np.full((4 * height, 7 * width, 2), 99, np.float32)
    expected = pixels.copy()
    start = 6
    for b, window in enumerate(range(start, start + 20)):
        y, x = divmod(window, 7)
        values = iter(vectors[b])
        for channel, dy, dx in np.ndindex(2, height, width):
            expected[y * height + dy, x * width + dx, channel] = next(values)
    floats.unfold(vectors, start, (7, height, width), pixels)
    np.testing.assert_array_equal(pixels, expected)


def naive_curve(curve, t):
    return np.interp(min(max(t, 0), 1), np.linspace(0, 1, len(curve)), curve)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bend_sums_equals_its_naive_twin(dtype):
    rng = np.random.default_rng(0)
    adc = AdcRange(-150.0, 2.3, 127)
    current = rng.normal(0, 120, (9, 11)).astype(dtype)
    columns = np.stack([np.ones(11), rng.normal(1, 0.05, 11), rng.normal(0, 1, 11)])
    curves = rng.normal(0, 1, (3, 17)).astype(np.float32)
    expected = current.astype(float)
    for b, j in np.ndindex(9, 11):
        level = (expected[b, j] * columns[1, j] - adc.lo) / adc.lsb + columns[2, j]
        expected[b, j] += naive_curve(curves[j % 3], level / adc.top) * adc.lsb / columns[1, j]
    floats.bend_sums(current, columns, adc.packed(0.0), curves)
    np.testing.assert_allclose(current, expected, rtol=1e-5 if dtype == np.float32 else 1e-6)


def test_bend_sums_leaves_an_ideal_converter_alone():
    current = np.arange(6.0).reshape(2, 3)
    columns = np.stack([np.ones(3), np.ones(3), np.zeros(3)])
    floats.bend_sums(current, columns, AdcRange.ideal().packed(0.0), np.ones((1, 5), np.float32))
    np.testing.assert_array_equal(current, np.arange(6.0).reshape(2, 3))


def test_bend_inputs_looks_every_value_up():
    rng = np.random.default_rng(0)
    pulse = rng.integers(0, 8, (20, 5)).astype(np.float32)
    curves = rng.normal(0, 1, (5, 8)).astype(np.float32)
    expected = np.array([[curves[r, int(v)] for r, v in enumerate(row)] for row in pulse])
    shared = pulse.copy()
    floats.bend_inputs(pulse, curves)
    np.testing.assert_array_equal(pulse, expected)
    # fewer curves than rows take turns
    expected = np.array([[curves[r % 2, int(v)] for r, v in enumerate(row)] for row in shared])
    floats.bend_inputs(shared, curves[:2])
    np.testing.assert_array_equal(shared, expected)


def test_add_common_equals_its_naive_twin(draw):
    rng = np.random.default_rng(0)
    current = rng.normal(0, 1, (7, 6))
    variance = rng.uniform(0, 9, (5, 2)).astype(np.float32)
    expected = current.copy()
    for b in range(5):
        normal = draw(1, 4, key=11, first=70 + b, stage=3)[0]
        for j in range(6):
            expected[b, j] += math.sqrt(variance[b, j // 3]) * normal[j // 3]
    floats.add_common(current, variance, np.uint64(70), np.uint64(3), np.uint64(11))
    np.testing.assert_allclose(current, expected, rtol=1e-6)


@pytest.mark.parametrize("signed", ["phases", "rows"])
@pytest.mark.parametrize("bits", [3, 8, 16])
def test_encode_signed_is_the_twin_of_input_code(signed, bits):
    x = np.random.default_rng(0).uniform(-3, 3, (5, 7, 4)).astype(np.float32)
    code = InputCode.of_range(-1.3, 2.5, bits, signed)
    lines = code.lines
    out = np.zeros((8, 10 * 4 * lines), code.dtype)
    shift = code.magnitude_bits if signed == "phases" else 0
    total, beyond = floats.encode_signed(
        x.reshape(5, -1), code.scale, code.top, shift, out, (2, 4 * lines)
    )
    expected = code.encode(x)
    padded = np.pad(expected, ((2, 1), (1, 2), (0, 0)))
    np.testing.assert_array_equal(out.reshape(8, 10, 4 * lines), padded)
    assert total == np.abs(code.integers(expected)).sum()
    assert beyond == (np.abs(np.rint(x.astype(np.float64) * (1.0 / code.scale))) > code.top).sum()


def test_folded_scaling_is_that_of_the_single_steps():
    rng = np.random.default_rng(0)
    digital = rng.normal(size=(5, 37))
    digital[0] *= 1e4
    acc = (1e4 * rng.normal(size=(9, 37))).astype(np.float32)
    for floor in (-np.inf, 0.0):
        whole, folded = np.empty((2, 9, 37), np.float32)
        floats.rescale(acc.astype(np.float64), digital, floor, whole)
        floats.rescale_folded(acc, floats.fold(digital), floor, folded)
        assert (folded >= floor).all()
        # two roundings of numbers as large as the terms, whose difference may be small
        zero, gain, _, scale, _ = digital
        largest = np.abs(acc) * np.abs(gain * scale) + np.abs(zero * gain * scale) + 10
        assert (np.abs(folded - whole) <= 4 * 2.0**-24 * largest).all()


def test_noise_by_level_equals_its_naive_twin():
    rng = np.random.default_rng(5)
    n, columns = 30_000, np.stack([np.ones(6), 1 + 0.1 * rng.normal(size=6), rng.normal(size=6)])
    adc = AdcRange(-40.0, 2.0, 63)
    curve = np.linspace(0, 3, 9, dtype=np.float32)
    level = np.linspace(2, 60, 6)
    current = np.tile(((level - columns[2]) * adc.lsb + adc.lo) / columns[1], (n, 1))
    before = current.copy()
    packed, window = adc.packed(0.0), (np.uint64(7), np.uint64(2), np.uint64(99))
    floats.add_level_noise(current, columns, packed, curve, *window)
    moved = (current - before) * columns[1] / adc.lsb
    assert np.std(moved, axis=0) == pytest.approx(3 * level / 63, rel=0.02)
    assert np.abs(np.corrcoef(moved.T) - np.eye(6)).max() < 0.03
    later = before[100:].copy()
    floats.add_level_noise(later, columns, packed, curve, np.uint64(107), *window[1:])
    assert np.array_equal(later, current[100:])  # any block of windows
    ideal = before.copy()
    floats.add_level_noise(ideal, columns, AdcRange.ideal().packed(0.0), curve, *window)
    assert np.array_equal(ideal, before)
