from dataclasses import replace

import numpy as np
import pytest
import torch

from cimsim.crossbar.encode import InputCode
from cimsim.engine.calibrate import MIN_WINDOWS, Known, calibrate, exact_product, fit_columns
from cimsim.engine.execute import execute
from cimsim.engine.samples import MAX_WINDOWS, Samples, sample_windows
from cimsim.errors import SimulationError
from cimsim.graph.ir import Rounding


def random_frame(shape, seed=0, low=0.0, high=1.0):
    x = np.random.default_rng(seed).uniform(low, high, shape)
    return torch.from_numpy(x.astype(np.float32))


def layer(lab, c_out=8, size=(30, 31), **options):
    weight = np.random.default_rng(0).normal(0, 1, (c_out, 6, 3, 3)).astype(np.float32)
    return lab.conv(weight, size, padding=(1, 1, 1, 1), **options)


def test_input_ranges_cover_all_calibration_frames(lab):
    frames = [random_frame((1, 6, 30, 31), seed, high=top) for seed, top in ((0, 0.4), (1, 2.5))]
    ready = lab.prepare(lab.graph(layer(lab)), lab.chip(), frames)
    code = ready.ops["layer"].code
    assert code.zero_point == 0
    assert code.scale == pytest.approx(float(max(x.max() for x in frames)) / 255, rel=1e-7)


def test_signed_inputs_get_a_zero_point(lab):
    x = random_frame((1, 6, 30, 31), low=-0.5)
    code = lab.prepare(lab.graph(layer(lab)), lab.chip(), [x]).ops["layer"].code
    assert code.zero_point == round(-float(x.min()) / code.scale)


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_input_percentile_clips_the_asked_share(lab, low):
    x = random_frame((1, 6, 60, 61), low=low)
    hw = lab.chip(inputs__percentile=98, inputs__bits=12)
    code = lab.prepare(lab.graph(layer(lab, size=(60, 61))), hw, [x]).ops["layer"].code
    level = x.numpy() / code.scale + code.zero_point
    outside = ((level < -0.5) | (level > 4095.5)).mean()
    # the outermost half steps are not clipped
    assert outside == pytest.approx(0.02, abs=0.001)


@pytest.mark.parametrize("scope", ["array", "layer"])
def test_converter_percentile_clips_the_asked_share_of_conversions(lab, scope):
    x = random_frame((1, 6, 40, 41))
    hw = lab.chip(adc__kind="sar", adc__bits=12, adc__percentile=98, adc__scope=scope)
    ready = lab.prepare(lab.graph(layer(lab, size=(40, 41))), hw, [x])
    assert ready.ops["layer"].windows == 40 * 41
    total = execute(ready, (x,), 0, 0).statistics.total
    assert len(ready.ops["layer"].ranges) == 2
    assert total.saturations / total.conversions == pytest.approx(0.02, abs=0.001)
    assert (len(set(ready.ops["layer"].ranges)) == 1) == (scope == "layer")


def test_full_range_scopes(lab):
    x = random_frame((1, 6, 30, 31))
    settings = {"adc__kind": "sar", "adc__bits": 6, "adc__range": "full"}
    ranges = {
        scope: lab.prepare(lab.graph(layer(lab)), lab.chip(**settings, adc__scope=scope), [x])
        .ops["layer"].ranges for scope in ("array", "layer")
    }  # fmt: skip
    # 54 rows on arrays of 32: row tiles of 32 and 22
    assert [-r.lo for r in ranges["array"]] == [32 * 255 * 127, 22 * 255 * 127]
    assert [-r.lo for r in ranges["layer"]] == [32 * 255 * 127] * 2


def test_sampled_windows_are_spread_over_rows_and_columns():
    width, height = 256, 128
    chosen = sample_windows(width * height, 1000, frame=0)
    assert len(np.unique(chosen)) == len(chosen) > 990
    y, x = np.divmod(chosen, width)
    for position, size in ((y, height), (x, width)):
        found = np.histogram(position, 8, (0, size))[0]
        assert found.min() > 0.8 * len(chosen) / 8
    np.testing.assert_array_equal(sample_windows(50, 1000, 0), np.arange(50))
    other = sample_windows(width * height, 1000, frame=1)
    assert len(np.intersect1d(chosen, other)) < 100


def test_no_more_windows_are_sampled_than_allowed(lab):
    frames = [random_frame((1, 6, 60, 61), seed) for seed in range(3)]
    ready = lab.prepare(lab.graph(layer(lab, size=(60, 61))), lab.chip(), frames)
    assert 0.9 * MAX_WINDOWS < ready.ops["layer"].windows <= MAX_WINDOWS + 3


def test_exact_product_is_the_integer_matrix_product():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (9, 10)).astype(np.uint8)
    weight = rng.integers(-127, 128, (2, 5, 3)).astype(np.int32)
    x = codes.astype(int) - 7
    expected = np.concatenate([x[:, :5] @ weight[0], x[:, 5:] @ weight[1]], axis=1)
    np.testing.assert_array_equal(exact_product(codes, 7, weight), expected)


@pytest.mark.parametrize("use_gain", [False, True])
@pytest.mark.parametrize("use_offset", [False, True])
def test_columns_are_fitted_by_least_squares(use_gain, use_offset):
    rng = np.random.default_rng(0)
    got = rng.normal(3, 2, (200, 5))
    exact = 1.1 * got - 0.7 + rng.normal(0, 0.3, (200, 5))
    gain, offset = fit_columns(got, exact, use_gain, use_offset)
    for j in range(5):
        parts = [got[:, j]] * use_gain + [np.ones(200)] * use_offset
        fixed = 0 if use_gain else got[:, j]
        solved = []
        if parts:
            solved = np.linalg.lstsq(np.stack(parts, 1), exact[:, j] - fixed, rcond=None)[
                0
            ].tolist()
        expected_gain = solved.pop(0) if use_gain else 1.0
        expected_offset = solved.pop(0) if use_offset else 0.0
        assert gain[j] == pytest.approx(expected_gain, rel=1e-10)
        assert offset[j] == pytest.approx(expected_offset, rel=1e-9, abs=1e-12)


def test_columns_that_are_exact_or_constant_are_left_alone():
    got = np.stack([np.arange(40.0), np.zeros(40)], axis=1)
    exact = np.stack([np.arange(40.0), np.full(40, 2.0)], axis=1)
    gain, offset = fit_columns(got, exact, True, True)
    assert gain.tolist() == [1.0, 1.0]
    assert offset.tolist() == [0.0, 2.0]


def test_a_column_that_always_reads_the_same_keeps_its_gain():
    """Its readings less their mean are rounding errors; their ratio once was the gain."""
    got = np.full((50, 1), 0.1)
    exact = np.random.default_rng(0).normal(7, 2, (50, 1))
    assert (got != got.mean(axis=0)).any()
    gain, offset = fit_columns(got, exact, True, True)
    assert gain.tolist() == [1.0]
    assert offset == pytest.approx(exact.mean() - 0.1)


def test_what_needs_no_look_has_the_bits_of_a_look_at_everything():
    """Columns that vary at the first, the last or a middle reading only, or never."""
    rng = np.random.default_rng(0)
    got = np.repeat(rng.normal(3, 2, (1, 40)), 50, axis=0)
    for column, place in enumerate((0, 49, 25, 1, 48)):
        got[place, column::8] += 1.0
    exact = got.copy()
    exact[30, ::3] += 0.25
    gain, offset = fit_columns(got, exact, True, True)
    centred = got - got.mean(axis=0)
    power = np.einsum("ij,ij->j", centred, centred)
    cross = np.einsum("ij,ij->j", centred, exact - exact.mean(axis=0))
    varies = (got != got[0]).any(axis=0)
    slope = np.divide(cross, power, out=np.ones(40), where=varies)
    same = (got == exact).all(axis=0)
    assert 0 < varies.sum() < 40
    assert 0 < same.sum() < 40
    np.testing.assert_array_equal(gain, np.where(same, 1.0, slope))
    moved = exact.mean(axis=0) - slope * got.mean(axis=0)
    np.testing.assert_array_equal(offset, np.where(same, 0.0, moved))


@pytest.mark.slow
def test_calibrations_that_share_what_is_known_have_the_bits_of_those_that_do_not(lab):
    """Chips that differ in converters and drivers, and a second one of the same description."""
    network, frames = lab.graph(layer(lab)), [random_frame((1, 6, 30, 31))]
    known = Known()
    settings = [
        {"adc__bits": 5}, {"adc__bits": 8}, {"adc__bits": 8, "adc__percentile": 97.0},
        {"adc__bits": 5, "adc__scope": "layer"}, {"adc__bits": 6, "adc__method": "least_error"},
        {"adc__bits": 6, "dac__bits": 2}, {"adc__bits": 6, "adc__range": "power2"},
        {"adc__bits": 5, "adc__noise_lsb": 0.4},
    ]  # fmt: skip
    given = {"adc__kind": "sar", "device__sigma_program": "2 %", **CORRECTED}
    first = lab.prepare(network, lab.chip(**given), frames).programmed
    second = lab.prepare(network, lab.chip(**given), frames, seed=1).programmed
    found = []
    for setting in settings:
        chip = lab.chip(**given | setting)
        for made in (first, second, first):
            written = replace(made, mapping=made.mapping.on(chip))
            inputs = [(frame,) for frame in frames]
            alone = calibrate(written, inputs, 7).ops["layer"]
            shared = calibrate(written, inputs, 7, known=known).ops["layer"]
            assert shared.ranges == alone.ranges
            assert shared.code == alone.code
            assert shared.effective_bits == alone.effective_bits
            np.testing.assert_array_equal(shared.gain, alone.gain)
            np.testing.assert_array_equal(shared.offset, alone.offset)
            found.append((shared.ranges, shared.gain.tobytes()))
    assert len(set(found)) == 2 * len(settings)
    assert len(known.sums) == 2


def test_samples_of_many_uses_are_thinned_evenly_and_keep_all_values():
    parts = [
        Samples([np.full((20, 3), n, np.float32)], [], None, [np.array([-n, n])], True)
        for n in range(300)
    ]
    few, many = Samples.joined(parts[:100]), Samples.joined(parts)
    assert few.windows == 2000
    assert MAX_WINDOWS // 2 < many.windows <= MAX_WINDOWS
    assert set(np.concatenate(many.vectors)[:, 0]) == set(range(300))
    assert np.concatenate(many.values).min() == -299


CORRECTED = {"calibration__column_gain": True, "calibration__column_offset": True}


def test_correction_leaves_an_exact_chip_bit_exact(lab):
    x = random_frame((1, 6, 30, 31), low=-0.2)
    network = lab.graph(layer(lab))
    for adc in ({}, {"adc__kind": "sar", "adc__bits": 24}):
        plain = lab.run(network, lab.chip(**adc), x).outputs[0]
        corrected = lab.run(network, lab.chip(**adc, **CORRECTED), x).outputs[0]
        assert torch.equal(plain, corrected)


@pytest.mark.parametrize(
    ("errors", "factor"),
    [
        ({"adc__gain_sigma": "5 %", "adc__offset_sigma_lsb": 30}, 0.1),
        ({"device__sigma_program": "2 %"}, 0.8),
    ],
)
def test_correction_removes_what_is_affine_on_frames_it_has_not_seen(lab, errors, factor):
    frame, other = (random_frame((1, 6, 40, 41), seed, low=-0.2) for seed in (0, 1))
    network = lab.graph(layer(lab, size=(40, 41)))
    settings = errors | {
        "adc__kind": "sar", "adc__bits": 14, "array__rows": 64, "adc__range": "full",
    }  # fmt: skip
    exact = lab.run(network, lab.chip(), other, calibration=[frame]).outputs[0]

    def rms(**more):
        hw = lab.chip(**settings, **more)
        got = lab.run(network, hw, other, calibration=[frame]).outputs[0]
        return float((got - exact).square().mean().sqrt())

    plain, corrected = rms(), rms(**CORRECTED)
    assert corrected < factor * plain
    assert rms(calibration__column_offset=True) < plain


def test_few_windows_are_not_corrected(lab):
    op = lab.linear(np.random.default_rng(0).normal(0, 1, (8, 20)), MIN_WINDOWS - 1)
    hw = lab.chip(device__sigma_program="2 %", **CORRECTED)
    ready = lab.prepare(lab.graph(op), hw, [random_frame((1, MIN_WINDOWS - 1, 20))])
    found = ready.ops["layer"]
    assert (found.gain == 1).all()
    assert (found.offset == 0).all()
    more = lab.linear(np.random.default_rng(0).normal(0, 1, (8, 20)), MIN_WINDOWS)
    ready = lab.prepare(lab.graph(more), hw, [random_frame((1, MIN_WINDOWS, 20))])
    assert (ready.ops["layer"].gain != 1).all()


def test_calibration_without_frames_or_with_nan_is_refused(lab):
    network = lab.graph(layer(lab))
    ready = lab.prepare(network, lab.chip(), [random_frame((1, 6, 30, 31))])
    with pytest.raises(SimulationError, match="no frames given"):
        calibrate(ready.programmed, [], 0)
    broken = random_frame((1, 6, 30, 31))
    broken[0, 0, 0, 0] = torch.nan
    with pytest.raises(SimulationError, match=r"layer 'layer': its input .* NaN or infinity"):
        calibrate(ready.programmed, [(broken,)], 0)


def test_a_dead_input_gives_the_bias(lab):
    op = layer(lab, bias=np.arange(8, dtype=np.float32))
    x = torch.zeros(1, 6, 30, 31)
    for kind in ("ideal", "sar"):
        out = lab.run(lab.graph(op), lab.chip(adc__kind=kind, **CORRECTED), x).outputs[0]
        assert torch.equal(out, torch.arange(8.0)[None, :, None, None].expand_as(out))


@pytest.mark.parametrize(
    ("low", "high", "zero", "bits"),
    [(-127, 127, 0, 8), (-128, 127, 0, 8), (0, 255, 0, 8), (0, 255, 128, 8), (0, 254, 0, 8),
     (-100, 100, 3, 8), (0, 127, 0, 7), (-7, 7, 0, 4), (-128, 127, -128, 8)],
)  # fmt: skip
def test_a_code_of_as_many_bits_holds_what_a_network_rounds_to(low, high, zero, bits):
    rounding = Rounding(0.037, zero, low, high)
    code = InputCode.of_range(*rounding.ends_of(bits), bits)
    values = rounding(torch.arange(low - zero, high - zero + 1) * 0.037).double().numpy()
    whole = np.clip(np.rint(values / code.scale) + code.zero_point, 0, code.top)
    np.testing.assert_allclose((whole - code.zero_point) * code.scale, values, rtol=1e-5)
    # numbers that are never negative need no offset
    assert (code.zero_point == 0) == (low - zero >= 0)


@pytest.mark.parametrize("bits", [4, 7])
def test_a_code_of_fewer_bits_keeps_the_ends(bits):
    assert Rounding(0.5, 0, -127, 127).ends_of(bits) == (-63.5, 63.5)
    assert not Rounding(0.5, 0, -127, 127).goes_before(bits)


@pytest.mark.parametrize("bits", [8, 9, 11, 14, 16])
@pytest.mark.parametrize("signed", ["offset", "phases"])
@pytest.mark.parametrize(
    ("low", "high", "zero"),
    [(-127, 127, 0), (-128, 127, 0), (0, 255, 0), (0, 255, 131), (-128, 127, 5), (-100, 90, 3),
     (10, 255, 0), (0, 200, 220)],
)  # fmt: skip
def test_a_code_of_more_bits_holds_each_number_of_the_network_exactly(
    low, high, zero, signed, bits
):
    scale, magnitude = 0.037, signed == "phases"
    rounding = Rounding(scale, zero, low, high)
    need = max(high - zero, zero - low) if magnitude else max(high - zero, 0) + max(zero - low, 0)
    if need > 2 ** (bits - magnitude) - 1:
        pytest.skip("fewer codes than numbers")
    code = InputCode.of_range(*rounding.ends_of(bits, magnitude), bits, signed)
    parts = scale / code.scale
    assert parts == pytest.approx(round(parts), rel=1e-12)
    whole = np.arange(low - zero, high - zero + 1)
    if magnitude and rounding.is_twos_complement:
        whole = whole[1:]  # the lowest has no counterpart
    codes = code.integers(code.encode((whole * scale).astype(np.float32)[:, None]))
    assert np.array_equal(codes.reshape(-1), whole * round(parts))
