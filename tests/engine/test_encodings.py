"""Weight encodings, signed inputs, converters and drivers through the engine."""

import itertools
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from cimsim.chip.cells import build
from cimsim.crossbar.adc import AdcRange
from cimsim.engine.execute import execute
from cimsim.engine.maps import encode_input
from cimsim.engine.program import program
from cimsim.engine.windows import Places, Reads
from cimsim.graph.layout import im2col, to_nhwc
from cimsim.mapping.mapping import map_graph
from tests.thorough import some

ENCODINGS = ("differential", "offset", "twos_complement")
SIGNED = ("offset", "phases", "rows")
CONVERTERS = {
    "ideal": {"adc__kind": "ideal"},
    "full": {"adc__kind": "sar", "adc__range": "full"},
    "calibrated": {"adc__kind": "flash", "adc__percentile": 100},
    "least error": {"adc__kind": "cco", "adc__method": "least_error"},
    "power of two": {"adc__kind": "ramp", "adc__range": "power2", "adc__percentile": 100},
}
fixture_ok = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None
)


def chip(lab, encoding="differential", signed="offset", converter="ideal", **more):
    options = {"weights__encoding": encoding, "inputs__signed": signed, "adc__bits": 26}
    return lab.chip(**options | CONVERTERS[converter] | more)


def signed_frame(lab, hw, shape, seed=0):
    """Whole numbers whose input step is exactly 1, of both signs."""
    top = 2**hw.inputs.bits - 1
    low, high = (-(top // 3), top - top // 3) if hw.inputs.signed == "offset" else (-top // 2, 0)
    if hw.inputs.signed != "offset":
        low, high = -(2 ** (hw.inputs.bits - 1) - 1), 2 ** (hw.inputs.bits - 1) - 2
    return torch.from_numpy(lab.whole_numbers(shape, low, high, seed))


CHOICES = list(itertools.product(ENCODINGS, SIGNED, CONVERTERS))


# 5 converters against 9 pairs: every third choice has each pair and each converter
@pytest.mark.parametrize(("encoding", "signed", "converter"), some(CHOICES, *CHOICES[::3]))
@given(
    cell_bits=st.integers(1, 8), dac_bits=st.integers(1, 8), groups=st.sampled_from([1, 3]),
    seed=st.integers(0, 99), erased=st.sampled_from(["0 S", "0.01 nS", "5 nS"]),
)  # fmt: skip
@fixture_ok
def test_without_errors_every_choice_is_bit_exact(
    lab, encoding, signed, converter, cell_bits, dac_bits, groups, seed, erased
):
    hw = chip(
        lab, encoding, signed, converter, weights__cell_bits=cell_bits, dac__bits=dac_bits,
        device__g_min=erased,
    )  # fmt: skip
    weight = lab.whole_numbers((3 * groups, 5, 2, 2), -127, 127, seed)
    x = signed_frame(lab, hw, (1, 5 * groups, 6, 7), seed + 1)
    options = {"stride": (2, 1), "padding": (1, 0, 0, 1), "groups": groups}
    done = lab.run(lab.graph(lab.conv(weight, (6, 7), **options)), hw, x)
    expected = lab.conv_oracle(x, weight, dilation=1, block=1, **options)
    assert torch.equal(done.outputs[0].double(), expected.float().double())
    assert done.statistics.total.saturations == 0


@pytest.mark.parametrize("signed", SIGNED)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_was_fired_is_what_the_mapping_counts(lab, encoding, signed):
    hw = chip(lab, encoding, signed, "full", weights__cell_bits=3, dac__bits=3)
    weight = lab.whole_numbers((20, 9, 3, 3), -127, 127)
    x = signed_frame(lab, hw, (1, 9, 12, 11))
    op = lab.conv(weight, (12, 11))
    ready = lab.prepare(lab.graph(op), hw, [x])
    counts = ready.programmed.mapping.counts["layer"]
    done = execute(ready, (x,), 0, 0, threads=2).statistics.by_op["layer"]
    for name in ("windows", "activations", "pulses", "conversions", "dac_conversions"):
        assert getattr(done, name) == getattr(counts, name), name
    layout = ready.programmed.mapping.layers[0].layout
    lines = 2 if signed == "rows" else 1
    pulses = {"offset": 3, "phases": 6, "rows": 3}[signed]  # 8 or 2 x 7 bits by 3
    slices = {"differential": 3, "offset": 3, "twos_complement": 4}[encoding]
    cols = (32 - (0 if encoding == "differential" else slices)) // slices
    row_tiles, col_tiles = -(-81 * lines // 32), -(-20 // cols)
    if lines == 2:
        row_tiles = -(-81 // 16)
    assert layout.n_arrays == row_tiles * col_tiles
    assert done.pulses == 90 * layout.n_arrays * pulses
    assert done.conversions == 90 * pulses * slices * 20 * row_tiles
    assert done.dac_conversions == 90 * pulses * 81 * lines * col_tiles


@pytest.mark.parametrize("signed", ["phases", "rows"])
@pytest.mark.parametrize("dac", ["amplitude", "pulse_width"])
def test_energy_sum_of_signed_inputs_equals_the_dense_formula(lab, signed, dac):
    """Each part of an input draws current through the cells of the rows that it drives."""
    hw = chip(lab, "differential", signed, dac__bits=4, dac__encoding=dac)
    limits = {"kind": "ideal", "g_max": "11.5 nS", "g_min": "0.01 nS"}
    hw = hw.model_copy(update={"device": type(hw.device).model_validate(limits)})
    op = lab.conv(np.random.default_rng(0).normal(0, 1, (6, 4, 3, 3)), (9, 8))
    x = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (1, 4, 9, 8)).astype(np.float32))
    ready = lab.prepare(lab.graph(op), hw, [x])
    got = execute(ready, (x,), 0, 0, threads=2).statistics.by_op["layer"].conductance_s
    scale = np.abs(x.numpy()).max() / 127
    integers = np.rint(to_nhwc(op, x.numpy()).astype(np.float64) / scale).astype(np.float32)
    vectors = im2col(op, integers).reshape(op.windows, -1).astype(int)
    q = np.abs(np.round(op.weight[0].astype(np.float64) / (np.abs(op.weight).max() / 127)))
    cells = (q * (11.5e-9 - 0.01e-9) / 127 + 2 * 0.01e-9).sum(axis=1)
    power = 2 if dac == "amplitude" else 1
    total = 0.0
    for part in (np.maximum(vectors, 0), np.maximum(-vectors, 0)):
        for pulse in (part & 15, part >> 4):
            total += float((((pulse / 15) ** power) @ cells).sum())
    assert got == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("signed", ["phases", "rows"])
def test_windows_find_their_codes_like_the_reference_im2col(lab, signed):
    hw = chip(lab, "differential", signed)
    op = lab.conv(np.ones((4, 3, 3, 2)), (9, 8), padding=(1, 2, 0, 1), dilation=(2, 1))
    x = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (1, 3, 9, 8)).astype(np.float32))
    code = lab.prepare(lab.graph(op), hw, [x]).ops["layer"].code
    codes = encode_input(op, x.numpy(), code)
    flat, total = codes.flat, codes.total
    reads = Reads.of_places(Places.of_windows(op), code.lines)
    got = code.integers(flat[reads.bases[:, None] + reads.offsets])
    integers = code.integers(code.encode(to_nhwc(op, x.numpy()))).astype(np.float32)
    np.testing.assert_array_equal(got, im2col(op, integers).reshape(op.windows, op.n_rows))
    assert total == np.abs(integers).sum()


def test_layers_that_cannot_see_a_negative_input_are_applied_once(lab):
    import dataclasses

    hw = chip(lab, "differential", "phases")
    first = lab.conv(np.random.default_rng(0).normal(0, 1, (4, 3, 1, 1)), (5, 5), name="a")
    second = lab.conv(np.ones((4, 4, 1, 1)), (5, 5), name="b", source="relu")
    second = dataclasses.replace(second, signed=False)
    network = lab.graph(first, lab.relu("relu", "a", (1, 4, 5, 5)), second)
    x = signed_frame(lab, hw, (1, 3, 5, 5))
    ready = lab.prepare(network, hw, [x])
    done = execute(ready, (x,), 0, 0).statistics.by_op
    assert (done["a"].pulses, done["b"].pulses) == (50, 25)
    assert (ready.ops["a"].code.signed, ready.ops["b"].code.signed) == ("phases", "offset")
    assert ready.ops["b"].code.top == 255


@pytest.mark.parametrize("bits", some([8, 12], 8))
def test_phases_have_the_resolution_of_their_bits(lab, bits):
    """Real scales: the quantised float64 reference, sign and magnitude on one scale."""
    hw = chip(lab, "offset", "phases", inputs__bits=bits, dac__bits=4)
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (8, 6, 3, 3)).astype(np.float32)
    x = torch.from_numpy(rng.normal(0, 1, (1, 6, 10, 10)).astype(np.float32))
    got = lab.run(lab.graph(lab.conv(weight, (10, 10))), hw, x).outputs[0]
    step = float(x.abs().max()) / (2 ** (bits - 1) - 1)
    w_step = float(np.abs(weight).max()) / 127
    q = torch.from_numpy(np.rint(weight.astype(np.float64) / w_step))
    expected = functional.conv2d(torch.round(x.double() / step), q) * (step * w_step)
    torch.testing.assert_close(got.double(), expected, rtol=1e-6, atol=1e-6)


def repeated(lab, hw, weight, x, positions=20_000):
    """Errors of one vector applied over and over, [positions, columns]."""
    frame = torch.from_numpy(np.tile(x.astype(np.float32), (1, positions, 1)))
    done = lab.run(lab.graph(lab.linear(weight, positions)), hw, frame)
    return done.outputs[0][0].numpy().astype(np.float64) - weight.astype(np.float64) @ x


def test_noise_of_reference_cells_is_common_to_the_columns_of_a_slice(lab):
    """Column variance is that of its cells and its reference, covariance that of the reference."""
    weight = lab.whole_numbers((5, 40), -127, 127)
    x = lab.whole_numbers(40, 0, 255, seed=1)
    hw = chip(lab, "offset", array__rows=64, device__sigma_read="0.79 %")
    errors = repeated(lab, hw, weight, x)
    g_max, g_min = 11.5e-9, 0.01e-9
    lsb = (g_max - g_min) / 255

    def variance(level):
        return (0.0079 * g_max * (1 - np.exp(-(g_min + level * lsb) / (0.135 * g_max))) / lsb) ** 2

    square = x.astype(np.float64) ** 2
    own, common = variance(weight + 128.0) @ square, variance(128.0) * square.sum()
    n = len(errors)
    ratio = errors.var(axis=0) / (own + common)
    assert np.abs(ratio - 1).max() < 5 * np.sqrt(2 / n)
    covariance = np.cov(errors.T)
    for i, j in ((0, 1), (1, 4), (2, 3)):
        spread = np.sqrt((own + common)[i] * (own + common)[j] + common**2) / np.sqrt(n)
        assert abs(covariance[i, j] - common) < 5 * spread
    later = np.mean(errors[1:, 0] * errors[:-1, 0])  # each window has its own draw
    assert abs(later) < 5 * (own + common)[0] / np.sqrt(n)


def test_noise_of_two_phases_adds_up(lab):
    weight = lab.whole_numbers((4, 30), -127, 127)
    x = lab.whole_numbers(30, -127, 126, seed=1)
    hw = chip(lab, "differential", "phases", device__sigma_read="0.79 %")
    errors = repeated(lab, hw, weight, x)
    device = build(hw.device.kind, hw.device.parameters)
    lsb = (device.g_max_s - device.g_min_s) / 127
    pairs = sum(
        (device.read_sigma(device.g_min_s + np.maximum(side, 0) * lsb) / lsb) ** 2
        for side in (weight.astype(np.float64), -weight.astype(np.float64))
    )
    expected = pairs @ x.astype(np.float64) ** 2
    assert np.abs(errors.var(axis=0) / expected - 1).max() < 5 * np.sqrt(2 / len(errors))


@pytest.mark.slow
def test_gain_errors_of_drivers_have_their_closed_form_variance(lab):
    """One output per array: the error is sum_i x_i w_i e_i with normal e_i."""
    groups, rows = 3000, 6
    weight = np.full((groups, rows, 1, 1), 60, np.float32)
    weight[0, 0] = 127
    x = lab.whole_numbers((1, groups * rows, 1, 1), 0, 255)
    hw = chip(lab, dac__gain_sigma="2 %", array__rows=rows, array__cols=1)
    op = lab.conv(weight, (1, 1), groups=groups)
    done = lab.run(lab.graph(op), hw, torch.from_numpy(x))
    vectors = x.reshape(groups, rows).astype(np.float64)
    exact = (vectors * weight.reshape(groups, rows)).sum(axis=1)
    errors = done.outputs[0].numpy().reshape(-1) - exact
    sigma = 0.02 * np.sqrt(((vectors * weight.reshape(groups, rows)) ** 2).sum(axis=1))
    scores = errors / sigma
    assert abs(scores.std() - 1) < 4 / np.sqrt(2 * groups)
    assert abs(scores.mean()) < 4 / np.sqrt(groups)


def test_non_linear_drivers_apply_what_their_curve_says(lab):
    weight = lab.whole_numbers((5, 30), -127, 127)
    x = lab.whole_numbers((1, 200, 30), 0, 255)
    hw = chip(lab, dac__inl_lsb=0.7)
    ready = lab.prepare(lab.graph(lab.linear(weight, 200)), hw, [torch.from_numpy(x)])
    got = execute(ready, (torch.from_numpy(x),), 0, 0).outputs[0][0].numpy()
    (array,) = ready.programmed.layers["layer"].arrays
    assert array.dac_curves.shape == (30, 256)
    applied = np.take_along_axis(array.dac_curves, x[0].astype(int).T, axis=1).T
    np.testing.assert_allclose(got, applied.astype(np.float64) @ weight.T, rtol=1e-4, atol=0.5)
    off = array.dac_curves - np.arange(256)
    assert off.std() == pytest.approx(0.7, rel=0.5)
    assert (off[:, [0, -1]] == 0).all()


def test_bent_converters_read_what_their_curve_says(lab):
    """Fine steps: a code is off by the curve of its converter, and the curve is static."""
    weight = lab.whole_numbers((8, 30), -127, 127)
    x = torch.from_numpy(lab.whole_numbers((1, 500, 30), 0, 255))
    options = {"adc__bits": 14, "adc__inl_bow_lsb": 20, "adc__inl_steps_lsb": 10, "adc__count": 3}
    hw = chip(lab, converter="full", **options)
    ready = lab.prepare(lab.graph(lab.linear(weight, 500)), hw, [x])
    got = execute(ready, (x,), 0, 0).outputs[0][0].numpy().astype(np.float64)
    (array,), (adc,) = ready.programmed.layers["layer"].arrays, ready.ops["layer"].ranges
    exact = x[0].numpy().astype(np.float64) @ weight.T
    assert array.adc_curves.shape == (3, 257)
    for j in range(8):  # converters take turns
        t = (exact[:, j] - adc.lo) / adc.lsb / adc.top
        bend = np.interp(t, np.linspace(0, 1, 257), array.adc_curves[j % 3])
        assert np.abs((got[:, j] - exact[:, j]) / adc.lsb - bend).max() < 0.51


def test_static_errors_depend_on_the_seed_and_on_nothing_else(lab):
    hw = chip(lab, converter="full", adc__inl_steps_lsb=1, dac__inl_lsb=1, dac__gain_sigma="1 %")
    op = lab.conv(np.random.default_rng(0).normal(0, 1, (4, 3, 1, 1)), (5, 5), name="a")
    more = lab.conv(np.ones((6, 4, 1, 1)), (5, 5), name="b", source="a")

    def array(network, seed):
        device = build(hw.device.kind, hw.device.parameters)
        return program(map_graph(network, hw), device, seed).layers["a"].arrays[0]

    alone, together = array(lab.graph(op), 0), array(lab.graph(op, more), 0)
    other = array(lab.graph(op), 1)
    for name in ("adc_curves", "dac_curves"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(together, name))
        assert (getattr(alone, name)[:, 1:-1] != getattr(other, name)[:, 1:-1]).all()
    np.testing.assert_array_equal(alone.written.difference, together.written.difference)
    assert not alone.written.is_exact


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("signed", SIGNED)
def test_noisy_encodings_do_not_depend_on_threads(lab, encoding, signed):
    hw = chip(
        lab, encoding, signed, "full", weights__cell_bits=4, dac__bits=4, adc__bits=8,
        device__sigma_read="1 %", device__sigma_program="1 %", adc__noise_lsb=0.3,
        adc__inl_bow_lsb=0.5, dac__inl_lsb=0.2, dac__gain_sigma="1 %",
    )  # fmt: skip
    op = lab.conv(np.random.default_rng(0).normal(0, 1, (6, 4, 3, 3)), (40, 41))
    x = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (1, 4, 40, 41)).astype(np.float32))
    ready = lab.prepare(lab.graph(op), hw, [x])
    one, three = (execute(ready, (x,), 3, 0, threads=n) for n in (1, 3))
    assert torch.equal(one.outputs[0], three.outputs[0])
    assert one.statistics == three.statistics


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("signed", SIGNED)
def test_error_falls_with_converter_bits_under_every_encoding(lab, encoding, signed):
    op = lab.conv(np.random.default_rng(0).normal(0, 1, (8, 6, 3, 3)), (20, 20))
    x = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (1, 6, 20, 20)).astype(np.float32))

    def output(**more):
        return lab.run(lab.graph(op), chip(lab, encoding, signed, **more), x).outputs[0].double()

    exact = output()
    errors = [
        float((output(converter="calibrated", adc__bits=bits) - exact).std()) for bits in (4, 6, 8)
    ]
    assert errors[1] < 0.4 * errors[0]
    assert errors[2] < 0.4 * errors[1]


def ranges(lab, x, weight, **options):
    ready = lab.prepare(lab.graph(lab.linear(weight, x.shape[1])), chip(lab, **options), [x])
    return ready.ops["layer"], ready


@pytest.mark.parametrize("method", ["percentile", "least_error"])
@pytest.mark.parametrize("scope", ["array", "layer"])
def test_power_of_two_ranges_divide_the_full_one(lab, method, scope):
    weight, x = np.ones((8, 60)), torch.from_numpy(lab.whole_numbers((1, 500, 60), 0, 255))
    weight[:] = lab.whole_numbers((8, 60), -127, 127)
    options = {"adc__bits": 7, "adc__scope": scope}
    full, _ = ranges(lab, x, weight, converter="full", **options)
    part, ready = ranges(lab, x, weight, converter="power of two", adc__method=method, **options)
    for whole, found in zip(full.ranges, part.ranges, strict=True):
        n = np.log2(whole.lsb / found.lsb)
        assert n == np.round(n) >= 1
        assert found == AdcRange(whole.lo / 2**n, whole.lsb / 2**n, 127)
    if method == "percentile":
        assert execute(ready, (x,), 0, 0).statistics.total.saturations == 0
    assert part.effective_bits > full.effective_bits + 0.9


def test_offset_cells_reach_the_ends_of_their_full_range_and_no_further(lab):
    """All weights at one end: the worst current is the end of the range."""
    x = torch.full((1, 3, 20), 255.0)
    weight = np.full((2, 20), 127.0, np.float32)
    weight[1] = -127
    for cell_bits in (3, 8):
        found, ready = ranges(
            lab, x, weight, encoding="offset", converter="full", adc__bits=8,
            weights__cell_bits=cell_bits, array__cols=20,
        )  # fmt: skip
        (adc,) = found.ranges
        level, reference = 2**cell_bits - 1, 2 ** (7 - cell_bits * (-(-8 // cell_bits) - 1))
        low = adc.lo / (20 * 255)
        assert low == -reference
        high = level - reference if cell_bits == 8 else level
        assert (adc.lo + adc.lsb * 255) / (20 * 255) == pytest.approx(high, rel=1e-6)
        assert execute(ready, (x,), 0, 0).statistics.total.saturations == 0


def test_statistics_say_how_much_saturates_and_how_many_bits_work(lab):
    weight = lab.whole_numbers((8, 60), -127, 127)
    x = torch.from_numpy(lab.whole_numbers((1, 2000, 60), 0, 255))
    found, ready = ranges(lab, x, weight, converter="calibrated", adc__bits=8, adc__percentile=98)
    done = execute(ready, (x,), 0, 0).statistics
    assert done.total.saturated == pytest.approx(0.02, abs=0.002)
    assert done.total.effective_bits == pytest.approx(found.effective_bits, rel=1e-12)
    assert (done + done).total.effective_bits == pytest.approx(found.effective_bits, rel=1e-12)
    # measured: the error against the noise-free sums, by hand
    exact = [
        x[0, :, a.row_source].numpy().astype(np.float64) @ a.written.difference
        for a in ready.programmed.layers["layer"].arrays
    ]
    bits = []
    for sums, adc in zip(exact, found.ranges, strict=True):
        error = np.clip(np.rint((sums - adc.lo) / adc.lsb), 0, 255) * adc.lsb + adc.lo - sums
        bits.append(0.5 * np.log2(sums.var() / np.mean(error**2)))
    assert found.effective_bits == pytest.approx(np.mean(bits), abs=0.02)
    assert 4 < found.effective_bits < 8
    ideal, _ = ranges(lab, x, weight)
    assert ideal.effective_bits is None


@pytest.mark.parametrize("field", ["weights__bits", "inputs__bits"])
@pytest.mark.parametrize(
    ("encoding", "signed"), [("offset", "phases"), ("twos_complement", "rows")]
)
def test_error_falls_with_every_operand_bit_under_other_encodings(lab, field, encoding, signed):
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (8, 6, 3, 3)).astype(np.float32)
    x = torch.from_numpy(rng.uniform(-1, 1, (1, 6, 20, 20)).astype(np.float32))
    network = lab.graph(lab.conv(weight, (20, 20)))
    exact = functional.conv2d(x.double(), torch.from_numpy(weight).double())
    errors = []
    for bits in range(5, 12):
        wide = {"weights__bits": 14, "inputs__bits": 14, "dac__bits": 4} | {field: bits}
        hw = chip(lab, encoding, signed, **wide)
        errors.append(float((lab.run(network, hw, x).outputs[0].double() - exact).std()))
    assert all(b < 0.75 * a for a, b in pairwise(errors))
