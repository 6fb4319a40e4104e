"""A whole network on the chip: its error falls as each non-ideality does, and then vanishes."""

import functools
from itertools import pairwise

import numpy as np
import pytest
import torch

import cimsim
from cimsim.chip.cells import build
from cimsim.engine.calibrate import calibrate
from cimsim.engine.execute import execute
from cimsim.engine.program import program
from cimsim.session.frames import window_of_frames
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import to_float
from cimsim.video.noise import add_awgn

SIZE, SIGMA = 32, 15.0
WHOLE_RANGE = {"inputs.percentile": 100}
NO_CELL_ERROR = WHOLE_RANGE | {"device.sigma_program": 0, "device.sigma_read": 0}
EXACT_ADC = {"adc.kind": "ideal"}


@functools.cache
def network():
    """The shipped denoising block, frames to judge on and frames to calibrate on."""
    found = cimsim.load_network("fastdvdnet-block")
    graph = cimsim.trace(found.module, found.example(SIZE, SIZE))
    return graph, inputs("default", 3, 1), inputs("cat", 2, 2)


def inputs(scene, frames, seed):
    clean = to_float(embedded_clip(scene, frames=frames, height=SIZE, width=SIZE))
    noisy = add_awgn(clean, SIGMA, seed)
    return [window_of_frames(noisy, t, 3, SIGMA, 2) for t in range(frames)]


def ready(seed=0, **overrides):
    graph, _, scene = network()
    chip = cimsim.load_hw("eflash40nm", overrides["chip"])
    device = build(chip.device.kind, chip.device.parameters)
    return calibrate(program(cimsim.map_graph(graph, chip), device, seed), scene, seed)


@functools.cache
def error(*changes, seeds=(0,)):
    """Mean squared difference between chip and float network on one frame."""
    graph, frames, _ = network()
    expected = graph.reference(*frames[1])[0]
    squares = [
        (execute(ready(s, chip=dict(changes)), frames[1], 1, s).outputs[0] - expected).square()
        for s in seeds
    ]
    return float(torch.stack(squares).mean())


def series(field, values, others, seeds=(0,)):
    return [error(*others.items(), (field, value), seeds=seeds) for value in values]


def falls(errors):
    """Each step is smaller than the one before, but for 2 % of it."""
    return all(after < 1.02 * before for before, after in pairwise(errors))


@pytest.mark.slow
def test_error_falls_with_converter_bits_down_to_that_of_an_ideal_one():
    errors = series("adc.bits", (4, 6, 8, 10), NO_CELL_ERROR)
    rest = error(*(NO_CELL_ERROR | {"adc.percentile": 100, "adc.bits": 32}).items())
    assert falls([*errors, rest])
    # two bits are a factor of 16 in squared error as long as the converter dominates
    assert 8 < (errors[0] - rest) / (errors[1] - rest) < 32
    assert errors[3] < errors[0] / 30


def test_error_falls_with_the_square_of_the_programming_error():
    others = WHOLE_RANGE | EXACT_ADC | {"device.sigma_read": 0}
    errors = series("device.sigma_program", ("4 %", "2 %", "1 %", 0), others, seeds=(0, 1))
    assert falls(errors)
    rest = errors[3]
    for large, small in pairwise(errors[:3]):
        # the digital column correction and clipped inputs take it a little away from 4
        assert 2.5 < (large - rest) / (small - rest) < 6
    assert rest < errors[2] / 2


@pytest.mark.slow
def test_error_falls_with_the_square_of_the_read_noise():
    others = WHOLE_RANGE | EXACT_ADC | {"device.sigma_program": 0}
    *errors, rest = series("device.sigma_read", ("4 %", "2 %", "1 %", 0), others)
    assert falls([*errors, rest])
    for large, small in pairwise(errors):
        assert 2.5 < (large - rest) / (small - rest) < 6


@pytest.mark.slow
def test_error_falls_with_weight_bits():
    errors = series("weights.bits", (4, 6, 8), NO_CELL_ERROR | EXACT_ADC)
    assert falls(errors)
    assert errors[0] > 5 * errors[1] > 25 * errors[2]


@pytest.mark.slow
def test_error_falls_with_input_bits():
    others = NO_CELL_ERROR | EXACT_ADC | {"weights.bits": 12, "dac.bits": 4}
    *errors, rest = series("inputs.bits", (4, 6, 8, 16), others)
    assert falls([*errors, rest])
    # the rest is clipping: activations of the judged clip above the range of the calibration
    for coarse, fine in pairwise(errors):
        assert 8 < (coarse - rest) / (fine - rest) < 32  # a factor of 16 by the step alone


def test_without_noise_and_with_16_bits_the_chip_is_the_float_network():
    """What remains is clipping: activations of the judged clip above the calibrated range."""
    fine = NO_CELL_ERROR | EXACT_ADC | {"weights.bits": 16, "inputs.bits": 16}
    remaining = error(*fine.items())
    assert remaining < 5e-6  # 53 dB below full scale: at most 0.0006 rms on frames of [0, 1]
    graph, frames, _ = network()
    chip = cimsim.load_hw("eflash40nm", fine)
    device = build(chip.device.kind, chip.device.parameters)
    programmed = program(cimsim.map_graph(graph, chip), device, 0)
    own = calibrate(programmed, [frames[1]], 0)  # its own range: nothing is clipped
    difference = execute(own, frames[1], 1, 0).outputs[0] - graph.reference(*frames[1])[0]
    assert difference.abs().max() < 2e-4


@functools.cache
def default_chip(seed):
    return ready(seed, chip={})


def frame(t, seed=0, threads=1):
    calibrated, (_, frames, _) = default_chip(0), network()
    return execute(calibrated, frames[t], t, seed, threads=threads).outputs[0].numpy()


def test_threads_and_order_of_frames_do_not_change_a_bit():
    forward = [frame(t) for t in (0, 1, 2)]
    backward = [frame(t, threads=2) for t in (2, 1, 0)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forward, backward, strict=True))


def test_programming_and_calibration_repeat_and_do_not_depend_on_threads():
    graph, frames, scene = network()
    chip = cimsim.load_hw("eflash40nm")
    device = build(chip.device.kind, chip.device.parameters)
    again = calibrate(program(cimsim.map_graph(graph, chip), device, 0), scene, 0, threads=2)
    assert np.array_equal(execute(again, frames[0], 0, 0).outputs[0].numpy(), frame(0))


@pytest.mark.parametrize("what", ["reads", "cells", "frame number"])
def test_another_seed_or_frame_is_another_draw(what):
    _, frames, _ = network()
    if what == "reads":
        other = frame(0, seed=1)
    elif what == "cells":
        other = execute(default_chip(1), frames[0], 0, 0).outputs[0].numpy()
    else:
        other = execute(default_chip(0), frames[0], 5, 0).outputs[0].numpy()
    assert not np.array_equal(other, frame(0))
    # drawn from the same chip model all the same: the difference is small
    assert np.square(other - frame(0)).mean() < 1e-3
