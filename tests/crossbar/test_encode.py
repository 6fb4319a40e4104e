import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cimsim.crossbar.encode import InputCode, encode_weights, magnitude_slices, pulses_of
from cimsim.errors import SimulationError

small_floats = st.floats(-1e3, 1e3, width=32)
matrices = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5), elements=small_floats
)


@given(matrices, st.integers(2, 12), st.sampled_from(["layer", "column"]))
def test_weights_are_rounded_to_within_half_a_step(weight, bits, scale):
    q_max = 2 ** (bits - 1) - 1
    q, scales = encode_weights(weight, q_max, scale)
    assert np.abs(q).max() <= q_max
    steps = scales.reshape(weight.shape[0], 1, weight.shape[2])
    assert (np.abs(q * steps - weight) <= 0.5000001 * steps).all()


def test_layer_scale_is_one_number_and_column_scale_uses_every_column_fully():
    weight = np.array([[[1.0, 0.0, -4.0], [-2.0, 0.0, 1.0]]], np.float32)
    q, scales = encode_weights(weight, 127, "layer")
    np.testing.assert_allclose(scales, 4 / 127)
    assert np.abs(q[0]).max(axis=0).tolist() == [64, 0, 127]
    q, scales = encode_weights(weight, 127, "column")
    np.testing.assert_allclose(scales, [2 / 127, 1.0, 4 / 127])
    assert np.abs(q[0]).max(axis=0).tolist() == [127, 0, 127]


@pytest.mark.parametrize("scale", ["layer", "column"])
def test_a_layer_of_zeros_or_subnormals_is_safe(scale):
    for value in (0.0, 1e-45):
        q, scales = encode_weights(np.full((1, 3, 2), value, np.float32), 127, scale)
        assert np.isfinite(scales).all()
        assert (scales > 0).all()
        assert np.isfinite(q * scales).all()


def test_weights_that_are_no_numbers_are_refused():
    with pytest.raises(SimulationError, match="NaN or infinity"):
        encode_weights(np.array([[[np.nan]]], np.float32), 127)


@given(
    hnp.arrays(np.int32, (4, 3), elements=st.integers(-(2**11) + 1, 2**11 - 1)), st.integers(1, 11)
)
def test_slices_add_up_and_fit_a_cell(q, slice_bits):
    slices = -(-11 // slice_bits)
    parts = magnitude_slices(q, slice_bits, slices)
    assert parts.shape == (slices, 4, 3)
    assert np.abs(parts).max(initial=0) <= 2**slice_bits - 1
    total = sum(parts[s].astype(int) * 2 ** (s * slice_bits) for s in range(slices))
    np.testing.assert_array_equal(total, q)
    assert (parts * np.sign(q) >= 0).all()


@given(st.integers(1, 16), st.integers(1, 16))
def test_pulses_carry_every_bit_once_least_significant_first(bits, per_pulse):
    per_pulse = min(per_pulse, bits)
    pulses = pulses_of(bits, per_pulse)
    assert len(pulses) == -(-bits // per_pulse)
    codes = np.random.default_rng(bits).integers(0, 2**bits, 50)
    assert [shift for shift, _ in pulses] == sorted(shift for shift, _ in pulses)
    np.testing.assert_array_equal(sum((codes >> s & m) << s for s, m in pulses), codes)


def test_inputs_that_are_never_negative_keep_zero_at_code_zero():
    code = InputCode.of_range(0.25, 5.1, 8)
    assert code.zero_point == 0
    assert code.scale == pytest.approx(5.1 / 255)
    assert code.encode(np.array([0.0, 5.1, 9.0, -1.0])).tolist() == [0, 255, 255, 0]


@given(st.floats(-100, -1e-3), st.floats(1e-3, 100), st.integers(2, 16))
def test_signed_inputs_get_a_whole_zero_point(low, high, bits):
    code = InputCode.of_range(low, high, bits)
    assert 1 <= code.zero_point <= max(code.top - 1, 1)
    assert code.encode(np.array([0.0]))[0] == code.zero_point
    if bits >= 12:
        x = np.linspace(low, high, 99)
        back = (code.encode(x).astype(float) - code.zero_point) * code.scale
        # half a step of rounding, and the ends move by up to one with the whole zero point
        assert np.abs(back - x).max() <= 1.5 * code.scale * (1 + 1e-9)


def test_an_input_that_is_always_zero_is_safe():
    code = InputCode.of_range(0.0, 0.0, 8)
    assert (code.scale, code.zero_point) == (1.0, 0)


def test_an_unbounded_input_is_refused():
    with pytest.raises(SimulationError, match="no code can cover"):
        InputCode.of_range(0.0, np.inf, 8)


def test_codes_take_the_smallest_unsigned_type():
    assert InputCode(1.0, 0, 8).encode(np.array([3.0])).dtype == np.uint8
    assert InputCode(1.0, 0, 9).encode(np.array([300.0])).dtype == np.uint16


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.integers(2, 8))
def test_balanced_scale_stretches_columns_but_no_current_beyond_the_largest(seed, rows, cols, bits):
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((1, rows, cols)) * np.exp(rng.normal(0, 2, (1, 1, cols)))
    weight = weight.astype(np.float32)
    q_max = 2 ** (bits - 1) - 1
    layer, column, balanced = (encode_weights(weight, q_max, how) for how in
                               ("layer", "column", "balanced"))  # fmt: skip
    assert np.all(balanced[1] <= layer[1] * (1 + 1e-12))
    assert np.all(balanced[1] >= column[1] * (1 - 1e-12))
    assert np.abs(balanced[0]).max() <= q_max

    def swing(scales):
        positive, negative = np.maximum(weight, 0).sum(1), np.maximum(-weight, 0).sum(1)
        return np.maximum(positive, negative)[0] / scales

    assert swing(balanced[1]).max() <= swing(layer[1]).max() * (1 + 1e-6)
    # a column is stretched until one of the two limits stops it
    stopped = np.isclose(balanced[1], column[1]) | np.isclose(
        swing(balanced[1]), swing(layer[1]).max(), rtol=1e-5
    )
    assert stopped.all()


@pytest.mark.parametrize("signed", ["phases", "rows"])
@given(st.integers(2, 16), st.integers(1, 16), st.integers(0, 999))
def test_signed_codes_carry_sign_and_magnitude_in_their_pulses(signed, bits, per_pulse, seed):
    x = np.random.default_rng(seed).uniform(-2, 1, 40)
    x[:2] = -2, 1
    code = InputCode.of_range(-2.0, 1.0, bits, signed)
    codes = code.encode(x)
    top = 2 ** (bits - 1) - 1
    expected = np.rint(x / (2 / top))
    np.testing.assert_array_equal(code.integers(codes), expected)
    assert np.abs(expected).max() == top == code.top
    pulses, factors = code.pulses(per_pulse), code.pulse_factors(per_pulse)
    phases = 2 if signed == "phases" else 1
    assert len(pulses) == len(factors) == phases * -(-(bits - 1) // min(per_pulse, bits - 1))
    applied = sum(
        f * (codes.astype(np.int64) >> s & m) for (s, m), f in zip(pulses, factors, strict=True)
    )
    if signed == "rows":  # two rows of opposite weights
        applied = applied[::2] - applied[1::2]
    np.testing.assert_array_equal(applied, expected)


def test_an_unsigned_code_has_one_phase_whose_factors_are_its_shifts():
    code = InputCode.of_range(0.0, 1.0, 8)
    assert code.pulses(3) == pulses_of(8, 3)
    assert code.pulse_factors(3) == (1.0, 8.0, 64.0)
    assert code.lines == 1


def test_a_signed_input_that_is_always_zero_is_safe():
    code = InputCode.of_range(0.0, 0.0, 8, "phases")
    assert (code.scale, code.zero_point, code.top) == (1.0, 0, 127)
