"""Noise with a spectrum: closed forms and the engine against series of single cells.

A layer of 24 rows is read through 2**17 pulses (10**5 and more) of cells that fluctuate in time,
one input after another, without any formula; frames are stretches of these. The engine draws what
is held through a frame with its cells, what pulses of an input share once for each input, and the
rest for each pulse.
"""

import functools
import itertools
import math

import numpy as np
import pytest
import torch

from cimsim.chip.cells import build
from cimsim.chip.cells.spectrum import Reads, Spectrum, flicker_variance, telegraph_variance
from cimsim.engine.execute import execute
from cimsim.engine.prepare import prepare
from cimsim.errors import ConfigError
from cimsim.mapping.mapping import map_graph
from tests.engine.flicker import flicker, layer_errors, telegraph
from tests.thorough import some

READS = 2**17
FRAME = 2048  # reads
ROWS, COLS = 24, 12
PULSE_S = 1e-6
SPAN_S = READS * PULSE_S
# shares of the variance of one read
KINDS = {"slow": (0.0, 1.0), "white": (1.0, 0.0), "mixed": (0.5, 0.5)}


@functools.cache
def cells(row):
    """1/f noise of the cells of a row, of variance 1 in each read by the density alone."""
    density = flicker_variance(PULSE_S, SPAN_S)
    return flicker(COLS, READS, np.random.default_rng([7, row])) / math.sqrt(density)


def series(kind):
    white, slow = KINDS[kind]

    def of(row):
        fresh = np.random.default_rng([8, row]).standard_normal((COLS, READS))
        return math.sqrt(white) * fresh + math.sqrt(slow) * cells(row)

    return of


def inputs(windows, seed):
    return np.random.default_rng(seed).integers(0, 256, (windows, ROWS))


def corner_hz(kind):
    """That of two parts of these shares: the white part has the variance ``1 / (2 T)``."""
    white, slow = KINDS[kind]
    if white == 0:
        return 1e12
    return slow / white / (2 * PULSE_S * flicker_variance(PULSE_S, SPAN_S))


def apart(errors, windows):
    """Variance of an output within the frames, and of the frames' means; means over columns."""
    frames = errors.reshape(-1, windows, errors.shape[1])
    return frames.var(axis=1).mean(), frames.mean(axis=1).var(axis=0).mean()


@functools.cache
def brute(kind, bits):
    pulses = 8 // bits
    windows = FRAME // pulses
    errors = layer_errors(series(kind), inputs(READS // pulses, 1), bits)
    return *apart(errors, windows), float((errors**2).mean())


def chip(lab, kind, bits, **more):
    noise = {"corner": f"{corner_hz(kind)} Hz", "span": f"{SPAN_S} s"}
    hw = lab.chip(
        array__rows=64, array__cols=256, dac__bits=bits, inputs__bits=8,
        array__t_read="1 us", **more,
    )  # fmt: skip
    device = {
        "kind": "rram", "program_scale": 0, "g_min": "10 uS", "noise": noise,
    }  # fmt: skip
    return hw.model_copy(update={"device": type(hw.device)(**device)})


def output(lab, hw, codes, weight, seed=0, frame=0, threads=1):
    x = torch.from_numpy(codes[None].astype(np.float32))
    mapping = map_graph(lab.graph(lab.linear(weight, len(codes))), hw)
    device = build(hw.device.kind, hw.device.parameters)
    ready = prepare(mapping, device, [(x,)], seed, threads=1)
    y = execute(ready, (x,), frame, seed, threads).outputs[0].numpy()[0]
    return ready, y.astype(np.float64)


def engine(lab, kind, bits):
    """The same three numbers of the engine, over the variance of a pair of cells."""
    windows, columns = FRAME // (8 // bits), 96
    codes = inputs(windows, 2)
    codes[0, 0] = 255  # a step of 1
    weight = np.random.default_rng(3).uniform(-1, 1, (columns, ROWS)).astype(np.float32)
    weight[0, 0] = 1
    hw = chip(lab, kind, bits)
    lsb = 1 / 127
    exact = codes.astype(np.float64) @ np.rint(weight.T.astype(np.float64) / lsb) * lsb
    # a pair errs by two cells of 0.4 uS each, 30 uS being 127 steps
    unit = math.sqrt(2) * 0.4 / 30
    found = []
    for seed in range(8):
        errors = (output(lab, hw, codes, weight, seed)[1] - exact) / unit
        within = errors.var(axis=0).mean()
        found.append((within, (errors.mean(axis=0) ** 2).mean(), (errors**2).mean()))
    return np.mean(found, axis=0)


@pytest.mark.parametrize(
    ("kind", "bits"), some(list(itertools.product(KINDS, [8, 4, 1])), ("mixed", 1))
)
def test_the_engine_errs_as_cells_that_fluctuate_in_time(lab, kind, bits):
    ours, theirs = engine(lab, kind, bits), brute(kind, bits)
    within, between, total = (
        math.sqrt(a / b) for a, b in zip(ours, theirs, strict=True)
    )  # fmt: skip
    # 96 columns of 8 chips; the series holds its slowest lines a few times only
    assert within == pytest.approx(1, abs=0.015)
    assert total == pytest.approx(1, abs=0.04)
    if kind != "white":
        assert between == pytest.approx(1, abs=0.08)


def test_slow_noise_drawn_for_each_pulse_would_be_far_too_small(lab):
    """What the spectrum is for: eight pulses of one bit."""
    codes, weight = inputs(256, 2), np.ones((16, ROWS), np.float32)
    codes[0, 0] = 255
    hw = chip(lab, "slow", 1)
    device = {"kind": "rram", "program_scale": 0, "g_min": "10 uS"}
    white = hw.model_copy(update={"device": type(hw.device)(**device)})
    exact = codes.sum(axis=1, dtype=np.float64)[:, None]
    errors = [
        [output(lab, one, codes, weight, seed)[1] - exact for seed in range(16)]
        for one in (white, hw)
    ]
    ratio = np.std(errors[1]) / np.std(errors[0])
    # sum X**2 over sum_p 4**p x_p of random bytes: 65025 / 3 over 21845 / 2, nearly
    assert ratio == pytest.approx(math.sqrt(2), abs=0.12)


def test_what_is_held_is_the_same_in_all_windows_of_a_frame(lab):
    codes = np.repeat(inputs(1, 4), 512, axis=0)
    codes[:, 0] = 255
    weight = np.random.default_rng(5).uniform(-1, 1, (64, ROWS)).astype(np.float32)
    noise = {"corner": "1 THz", "span": "1000 y"}  # next to all of it slower than a frame
    hw = chip(lab, "slow", 8)
    device = {"kind": "rram", "program_scale": 0, "g_min": "10 uS"}

    def spread(noise):
        held = hw.model_copy(update={"device": type(hw.device)(**device, noise=noise)})
        ready, y = output(lab, held, codes, weight)
        again = output(lab, held, codes, weight, frame=1)[1]
        cells = [a.written.difference for a in ready.programmed.layers["layer"].arrays]
        return y, again, cells

    y, again, cells = spread(noise)
    white, other, exact = spread({"corner": "0 Hz"})
    # equal inputs: what differs between windows was drawn for each of them
    fresh = (y - y.mean(axis=0)).std()
    assert fresh == pytest.approx(
        (white - white.mean(axis=0)).std() * math.sqrt(_moving(noise)), rel=0.02
    )
    assert np.abs(white.mean(axis=0) - other.mean(axis=0)).max() < 6 * white.std() / 16
    # frames of a run share what is held, and so do all windows: it lies in the cells
    np.testing.assert_allclose(y.mean(axis=0), again.mean(axis=0), atol=6 * fresh / 16)
    assert all((a == np.rint(a)).all() for a in exact)
    held = np.concatenate([(a - b).ravel() for a, b in zip(cells, exact, strict=True)])
    step = 30 / 127  # uS
    assert held.std() == pytest.approx(math.sqrt(2 * (1 - _moving(noise))) * 0.4 / step, rel=0.06)


def _moving(noise):
    reads = Reads(PULSE_S, PULSE_S, 512 * PULSE_S)
    device = build("rram", {"noise": noise})
    return 1 - device.spectrum(PULSE_S).shares(reads).held


@pytest.mark.parametrize("bits", [8, 4, 1])
def test_noise_with_a_spectrum_has_the_same_bits_for_any_number_of_threads(lab, bits):
    codes, weight = inputs(700, 6), np.ones((40, ROWS), np.float32)
    codes[0, 0] = 255
    hw = chip(lab, "mixed", bits, adc__kind="sar", adc__bits=8)
    one = output(lab, hw, codes, weight, threads=1)[1]
    np.testing.assert_array_equal(one, output(lab, hw, codes, weight, threads=2)[1])


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["offset", "differential"])
def test_all_ways_of_the_arithmetic_draw_noise_of_one_size(lab, encoding):
    """Looked-up bits, fused products and float products with bent drivers; reference columns."""
    codes, weight = inputs(1024, 8), np.random.default_rng(9).uniform(-1, 1, (40, ROWS))
    codes[0, 0] = 255

    def size(**more):
        hw = chip(lab, "slow", 1, weights__encoding=encoding, **more)
        found = []
        for seed in range(6):
            y = output(lab, hw, codes, weight.astype(np.float32), seed)
            found.append(y[1])
        return np.std(found, axis=0).mean()  # over chips, whose inputs and weights are equal

    plain = size()
    assert size(dac__inl_lsb=1e-6) == pytest.approx(plain, rel=0.02)


@pytest.mark.parametrize("kind", list(KINDS))
def test_shares_are_the_variances_of_averages_over_a_series(kind):
    white, slow = KINDS[kind]
    corner = corner_hz(kind)
    device = build("rram", {"noise": {"corner": f"{corner} Hz", "span": f"{SPAN_S} s"}})
    spectrum = device.spectrum(PULSE_S)
    assert spectrum.white == pytest.approx(white, abs=1e-4)
    assert spectrum.flicker == pytest.approx(slow, abs=1e-4)
    weights = [2.0**p for p in range(8)]
    found = spectrum.shares(Reads(PULSE_S, PULSE_S, FRAME * PULSE_S), weights)
    rows = np.concatenate([series(kind)(row) for row in range(8)])
    frames = rows.reshape(len(rows), -1, FRAME)
    assert found.total == pytest.approx(rows.var(), rel=0.03)
    mean_of_frames = frames.mean(axis=2).var() - white / FRAME  # those of white noise are no share
    assert found.held == pytest.approx(mean_of_frames, abs=0.04)
    inputs_ = frames.reshape(len(rows), -1, 8)
    inputs_ = inputs_ - rows.mean()
    pairs = [(i, j) for i in range(8) for j in range(i + 1, 8)]
    size = sum(weights[i] * weights[j] for i, j in pairs)
    common = sum(
        weights[i] * weights[j] * (inputs_[..., i] * inputs_[..., j]).mean() for i, j in pairs
    )
    assert found.held + found.shared == pytest.approx(common / size, abs=0.03)


@pytest.mark.slow
def test_telegraph_signals_are_lorentzians():
    rng = np.random.default_rng(3)
    for corner in (0.002, 0.05, 1.0):  # over the duration of a read
        jumps = telegraph(200, 4096, corner, rng)
        assert telegraph_variance(1.0, corner) == pytest.approx(jumps.var(), rel=0.03)
        spectrum = Spectrum(0.0, 0.0, 1.0, 1.0, PULSE_S, corner / PULSE_S)
        for apart_ in (1, 3, 2000):
            found = (jumps[:, apart_:] * jumps[:, :-apart_]).mean() / jumps.var()
            expected = spectrum.covariance(PULSE_S, apart_ * PULSE_S)
            assert expected == pytest.approx(found, abs=0.03)


def test_averages_of_flicker_noise_have_the_closed_form():
    scale = np.geomspace(1e2, 1e9, 2_000_001)  # Hz
    exact = np.trapezoid(np.sinc(scale * PULSE_S) ** 2 / scale, scale)
    assert flicker_variance(PULSE_S, 1e-2) == pytest.approx(exact, rel=1e-5)
    assert flicker_variance(1e-9, 1.0) == pytest.approx(
        math.log(1e9) + 1.5 - np.euler_gamma - math.log(2 * math.pi), rel=1e-9
    )


def test_far_reads_have_the_covariance_of_moments():
    spectrum = Spectrum(0.0, 0.6, 0.4, 1.0, PULSE_S, 3e3)
    near = spectrum.covariance(PULSE_S, 999 * PULSE_S)
    assert spectrum.covariance(PULSE_S, 1001 * PULSE_S) == pytest.approx(near, rel=2e-3)


def test_a_longer_read_averages_white_noise_and_hardly_any_slow_noise():
    def sigma(pulse_s, **noise):
        device = build("rram", {"noise": noise | {"read": "1 us"}})
        return math.sqrt(device.spectrum(pulse_s).shares(Reads(pulse_s, pulse_s, 1e-2)).total)

    assert sigma(4e-6, corner="0 Hz") == pytest.approx(0.5)
    slow = sigma(4e-6, corner="1 THz", span="1 h")
    assert slow == pytest.approx(math.sqrt(1 - math.log(4) / (math.log(3.6e9) - 0.9151)), rel=1e-3)


def test_pulses_of_an_input_alone_in_its_frame_share_what_is_held():
    spectrum = build("rram", {"noise": {"corner": "1 THz"}}).spectrum(PULSE_S)
    found = spectrum.shares(Reads(PULSE_S, PULSE_S, 8 * PULSE_S), [2.0**p for p in range(8)])
    assert 0 <= found.shared < 0.02
    assert found.total == pytest.approx(1)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ("1/f", "device.noise: expected fields such as"),
        ({"corner": "-1 kHz"}, "device.noise.corner"),
        ({"knee": "1 kHz"}, "device.noise.knee"),
        ({"telegraph": "40 %"}, "telegraph_corner: expected beside"),
        ({"telegraph_corner": "1 kHz"}, "telegraph_corner: expected beside"),
        ({"span": "0 s"}, "device.noise.span"),
    ],
)
def test_wrong_noise_is_refused_in_words(noise, message):
    with pytest.raises(ConfigError, match=message):
        build("rram", {"noise": noise})
