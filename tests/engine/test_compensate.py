"""Drift compensation against closed forms and against the published PCM formulas."""

import math

import numpy as np
import pytest
import torch

from benchmarks.crosscheck.pcm import published
from cimsim.chip.cells import build
from cimsim.energy.activation import full_activation
from cimsim.energy.compensation import compensation
from cimsim.engine.execute import execute
from cimsim.engine.prepare import prepare
from cimsim.errors import ConfigError
from cimsim.mapping.mapping import map_graph

DAY = 86400.0
ROWS, COLS, SIDE = 576, 96, 24


@pytest.fixture(scope="module")
def weight():
    return np.random.default_rng(0).normal(0, 1, (COLS, ROWS, 1, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def frame():
    x = np.random.default_rng(1).uniform(0, 1, (1, ROWS, SIDE, SIDE))
    return torch.from_numpy(x.astype(np.float32))


def aged_chip(lab, time_s, compensation="none", rows=1024, **device):
    base = lab.chip(
        array__rows=rows, array__cols=512, dac__bits=8, inputs__bits=8,
        conditions__time=f"{time_s} s", conditions__compensation=compensation,
    )  # fmt: skip
    return base.model_copy(update={"device": type(base.device)(**device)})


def output(lab, hw, weight, frame, seed=0):
    mapping = map_graph(lab.graph(lab.conv(weight, (SIDE, SIDE))), hw)
    device = build(hw.device.kind, hw.device.parameters)
    ready = prepare(mapping, device, [(frame,)], seed, threads=1)
    return execute(ready, (frame,), 0, seed, 1).outputs[0].numpy()[0].reshape(COLS, -1)


def size(error):
    """Root mean square over windows and columns."""
    return math.sqrt(np.mean(error**2))


@pytest.fixture(scope="module")
def sparse(frame):
    """A tenth of the rows driven at a time: noise that stays and noise that does not err alike."""
    keep = np.random.default_rng(2).random(frame.shape) < 0.1
    return frame * torch.from_numpy(keep.astype(np.float32))


@pytest.mark.parametrize("compensate", ["none", "global"])
@pytest.mark.parametrize("time_s", [1.0, 3600.0, DAY, 365 * DAY])
def test_layers_on_pcm_err_as_the_published_formulas_say(lab, weight, sparse, compensate, time_s):
    hw = aged_chip(lab, time_s, compensate, kind="pcm")
    matrix = weight[:, :, 0, 0].astype(np.float64)
    x = sparse.numpy().astype(np.float64)[0].reshape(ROWS, -1)
    exact = matrix @ x
    ours = np.mean([size(output(lab, hw, weight, sparse, seed) - exact) for seed in (0, 1)])
    rngs = [np.random.default_rng(seed) for seed in (10, 11, 12)]  # not that of the weights
    scaled = compensate == "global"
    found = [size(published(matrix, x, time_s, scaled, rng) - exact) for rng in rngs]
    assert ours == pytest.approx(np.mean(found), rel=0.03)


def test_what_all_cells_lost_alike_comes_back_whole(lab, weight, frame):
    cells = {"kind": "eflash", "g_max": "11.5 nS", "drift_per_decade": "5 %", "drift_start": "60 s"}
    fresh = output(lab, aged_chip(lab, 0, **cells), weight, frame)
    old = output(lab, aged_chip(lab, 59940, **cells), weight, frame)
    held = output(lab, aged_chip(lab, 59940, "global", **cells), weight, frame)
    limit = 1e-4 * np.abs(fresh).max()  # conductances have 16 bits
    np.testing.assert_allclose(old, 0.85 * fresh, rtol=0, atol=limit)
    np.testing.assert_allclose(held, fresh, rtol=0, atol=limit)


def test_each_array_has_a_factor_of_its_own(lab, weight, frame):
    mapping = map_graph(
        lab.graph(lab.conv(weight, (SIDE, SIDE))), aged_chip(lab, DAY, "global", 200, kind="pcm")
    )
    hw = mapping.chip
    ready = prepare(mapping, build(hw.device.kind, hw.device.parameters), [(frame,)], 0, threads=1)
    arrays = ready.programmed.layers["layer"].arrays
    factors = [array.written.factors[0] for array in arrays]
    assert len(set(factors)) == len(arrays) >= 3
    # nu of 0.049 to 0.1 over a day
    assert all((DAY / 20) ** 0.04 < factor < (DAY / 20) ** 0.11 for factor in factors)


def test_columns_are_fitted_anew_and_converter_ranges_stay(lab, weight, frame):
    graph = lab.graph(lab.conv(weight, (SIDE, SIDE)))

    def ops(time_s, compensation="none", **more):
        hw = aged_chip(lab, time_s, compensation, kind="pcm")
        update = {
            "adc": hw.adc.model_copy(update={"kind": "sar", "bits": 8}),
            "calibration": hw.calibration.model_copy(
                update={"column_gain": True, "column_offset": True}
            ),
            "conditions": hw.conditions.model_copy(update=more),
        }
        hw = hw.model_copy(update=update)
        device = build(hw.device.kind, hw.device.parameters)
        return prepare(map_graph(graph, hw), device, [(frame,)], 0, threads=1).ops["layer"]

    fresh, column, anew = ops(0), ops(30 * DAY, "column"), ops(30 * DAY, recalibrate=True)
    assert fresh.ranges == column.ranges != anew.ranges
    assert (column.gain > 1.2 * fresh.gain).all()  # 30 days cost a third of the current
    np.testing.assert_allclose(column.gain, anew.gain, rtol=0.1)


@pytest.mark.parametrize(
    ("conditions", "reads"),
    [
        ({}, 0),
        ({"compensation": "global"}, 0),  # nothing has changed yet
        ({"time": "1 d"}, 0),
        ({"time": "1 d", "compensation": "global"}, ROWS),
        ({"time": "1 d", "compensation": "column"}, SIDE * SIDE),
        ({"time": "1 d", "recalibrate": True}, SIDE * SIDE),
    ],
)
def test_its_reads_take_time_and_energy(lab, weight, conditions, reads):
    hw = aged_chip(lab, 0, kind="pcm")
    hw = hw.model_copy(update={"conditions": type(hw.conditions)(**conditions)})
    mapping = map_graph(lab.graph(lab.conv(weight, (SIDE, SIDE))), hw)
    energy_j, time_s = compensation(mapping, 1)
    full = full_activation(hw)
    assert time_s == pytest.approx(reads * full.interval_s)
    one = full.energy_j["array"] + full.energy_j["dac"]
    alone = conditions.get("compensation") == "global"
    each = full.total_j - (one * (1 - 1 / 1024) if alone else 0.0)
    assert energy_j == pytest.approx(reads * each)


@pytest.mark.parametrize("samples", [None, 1, 3, 1000])
def test_columns_are_read_with_as_many_windows_as_calibration_looks_at(lab, weight, frame, samples):
    hw = aged_chip(lab, DAY, "column", kind="pcm")
    mapping = map_graph(lab.graph(lab.conv(weight, (SIDE, SIDE))), hw)
    frames = hw.calibration.frames if samples is None else samples
    reads = round(compensation(mapping, samples)[1] / full_activation(hw).interval_s)
    assert reads == min(2048, frames * SIDE * SIDE)
    if frames < 4:
        device = build(hw.device.kind, hw.device.parameters)
        ready = prepare(mapping, device, [(frame,)] * frames, 0, threads=1)
        assert reads == ready.ops["layer"].windows


def test_compensation_beside_a_new_calibration_is_refused(lab):
    with pytest.raises(
        ConfigError, match=r"conditions.*compensation: expected none beside recalib"
    ):
        lab.chip(conditions__recalibrate=True, conditions__compensation="column")
