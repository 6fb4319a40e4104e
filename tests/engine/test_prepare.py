"""Order of writing, calibrating and ageing; faults and pulses of a whole mapping."""

import math

import numpy as np
import pytest
import torch

from cimsim.chip.cells import build
from cimsim.engine.calibrate import calibrate
from cimsim.engine.execute import execute
from cimsim.engine.prepare import prepare
from cimsim.engine.program import program
from cimsim.errors import ConfigError
from cimsim.mapping.mapping import map_graph

COLUMNS = {"calibration__column_gain": True, "calibration__column_offset": True}
PCM = {"device__kind": "pcm", "device__program_scale": 0, "device__read_scale": 0}


def random_frame(shape, seed=0):
    x = np.random.default_rng(seed).uniform(0, 1, shape)
    return torch.from_numpy(x.astype(np.float32))


def layer(lab, **options):
    weight = np.random.default_rng(0).normal(0, 1, (8, 3, 3, 3)).astype(np.float32)
    return lab.conv(weight, (24, 25), padding=(1, 1, 1, 1), **options)


def chip(lab, **overrides):
    """Without the errors of eFlash where another kind of cell is asked for."""
    own = {k.replace("__", "."): v for k, v in overrides.items()}
    if "device.kind" not in own:
        return lab.chip(**overrides)
    base = lab.chip(**{k: v for k, v in overrides.items() if not k.startswith("device")})
    raw = {k.removeprefix("device."): v for k, v in own.items() if k.startswith("device.")}
    return base.model_copy(update={"device": type(base.device)(**raw)})


def ready(lab, hw, seed=0, threads=1):
    device = build(hw.device.kind, hw.device.parameters)
    mapping = map_graph(lab.graph(layer(lab)), hw)
    frames = [(random_frame((1, 3, 24, 25), 1),)]
    return prepare(mapping, device, frames, seed, threads=threads)


def output(calibrated, threads=1):
    x = random_frame((1, 3, 24, 25), 2)
    return execute(calibrated, (x,), 0, 0, threads).outputs[0].numpy()


def cells(calibrated):
    arrays = calibrated.programmed.layers["layer"].arrays
    return [array.written.difference for array in arrays]


def test_without_conditions_it_is_program_and_calibrate(lab):
    hw = chip(lab, device__sigma_program="2 %", **COLUMNS)
    device = build(hw.device.kind, hw.device.parameters)
    written = program(map_graph(lab.graph(layer(lab)), hw), device, 3)
    frames = [(random_frame((1, 3, 24, 25), 1),)]
    by_hand = calibrate(written, frames, 3, 1)
    np.testing.assert_array_equal(output(by_hand), output(ready(lab, hw, 3)))


def test_drift_that_all_cells_share_shrinks_the_output_and_a_new_calibration_undoes_it(lab):
    drift = {"device__drift_per_decade": "5 %", "device__drift_start": "1 min", **COLUMNS}
    old = {"conditions__time": "59940 s"}  # 1000 times the start: three decades
    fresh = output(ready(lab, chip(lab, **drift)))
    kept = output(ready(lab, chip(lab, **drift, **old)))
    renewed = output(ready(lab, chip(lab, **drift, **old, conditions__recalibrate=True)))
    # conductances have 16 bits
    np.testing.assert_allclose(kept, 0.85 * fresh, rtol=0, atol=1e-4 * np.abs(fresh).max())
    np.testing.assert_allclose(renewed, fresh, rtol=0, atol=1e-4 * np.abs(fresh).max())


def test_a_new_calibration_recovers_what_cells_lost_on_average(lab):
    exact = output(ready(lab, chip(lab, **PCM, **COLUMNS)))
    old = {**PCM, **COLUMNS, "conditions__time": "30 d"}
    kept = output(ready(lab, chip(lab, **old))) - exact
    renewed = output(ready(lab, chip(lab, **old, conditions__recalibrate=True))) - exact
    assert np.sqrt(np.mean(kept**2)) > 0.3 * exact.std()  # the cells lost some 40 %
    assert 0 < np.sqrt(np.mean(renewed**2)) < 0.25 * np.sqrt(np.mean(kept**2))


def test_a_kept_calibration_is_that_of_time_zero_on_the_aged_cells(lab):
    noisy = {"device__kind": "pcm", "adc__kind": "sar", "adc__bits": 8, **COLUMNS}
    old = {"conditions__time": "10 d"}
    fresh, kept = ready(lab, chip(lab, **noisy)), ready(lab, chip(lab, **noisy, **old))
    renewed = ready(lab, chip(lab, **noisy, **old, conditions__recalibrate=True))
    for a, b in zip(cells(kept), cells(renewed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (np.abs(cells(fresh)[0]) >= np.abs(cells(kept)[0])).mean() > 0.9
    ops = [run.ops["layer"] for run in (fresh, kept, renewed)]
    np.testing.assert_array_equal(ops[0].gain, ops[1].gain)
    np.testing.assert_array_equal(ops[0].offset, ops[1].offset)
    assert ops[0].ranges == ops[1].ranges != ops[2].ranges
    assert (ops[0].gain != ops[2].gain).all()


def test_temperature_acts_like_time(lab):
    warm = {"conditions__temperature": "85 C"}
    fresh, kept = ready(lab, chip(lab)), ready(lab, chip(lab, **warm))
    hw = chip(lab)
    left = build(hw.device.kind, hw.device.parameters).exponent(358.15)
    assert left == pytest.approx(0.92167, abs=1e-5)  # 3 % of full scale at most
    step = 11.49 / 127  # nS per weight LSB
    for cold, hot in zip(cells(fresh), cells(kept), strict=True):
        # w ** e of both cells of each pair
        pair = [(0.01 + step * np.maximum(sign * cold, 0)) / 11.5 for sign in (1, -1)]
        law = 11.5 / step * (pair[0] ** left - pair[1] ** left)
        np.testing.assert_allclose(hot, law, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("conditions", [{}, {"conditions__time": "1 d"}])
def test_aged_and_faulty_chips_repeat_bit_for_bit(lab, conditions):
    hw = chip(
        lab, device__kind="pcm", faults__stuck_on="2 %", faults__stuck_off="3 %", **conditions
    )
    first, again = ready(lab, hw), ready(lab, hw, threads=2)
    np.testing.assert_array_equal(output(first), output(again, threads=2))
    assert (cells(first)[0] != cells(ready(lab, hw, seed=1))[0]).mean() > 0.9


def test_cells_of_a_layer_do_not_depend_on_other_layers(lab):
    hw = chip(lab, **PCM, faults__stuck_on="5 %", conditions__time="1 d")
    device = build(hw.device.kind, hw.device.parameters)
    other = lab.conv(np.ones((8, 8, 1, 1), np.float32), (24, 25), name="other", source="layer")
    alone = program(map_graph(lab.graph(layer(lab)), hw), device, 0)
    beside = program(map_graph(lab.graph(layer(lab), other), hw), device, 0)
    for a, b in zip(alone.layers["layer"].arrays, beside.layers["layer"].arrays, strict=True):
        np.testing.assert_array_equal(a.written.difference, b.written.difference)


def test_stuck_cells_have_their_share_of_the_chip(lab):
    weight = np.zeros((64, 128, 3, 3), np.float32)
    weight[0, 0] = 1
    op = lab.conv(weight, (8, 8), name="layer")
    hw = lab.chip(faults__stuck_on="0.5 %", array__rows=128, array__cols=64)
    device = build(hw.device.kind, hw.device.parameters)
    layers = program(map_graph(lab.graph(op), hw), device, 0).layers["layer"]
    found = np.concatenate([a.written.difference[:, 1:].reshape(-1) for a in layers.arrays])
    n = found.size  # erased pairs: +127 or -127 where one of the two is stuck
    for value in (127, -127):
        share = 0.005 * 0.995
        assert abs((np.rint(found) == value).mean() - share) < 4 * math.sqrt(share / n)


@pytest.mark.parametrize("cell_bits", [7, 4])
def test_a_map_hits_the_physical_cell_of_the_array_in_its_tile(lab, tmp_path, cell_bits):
    slices = 1 if cell_bits == 7 else 2
    op = lab.conv(np.zeros((40, 4, 3, 3), np.float32) + 1, (8, 8), name="layer")
    at = 3 + (slices - 1) * (32 // slices)  # weight column 3 of the last slice
    (tmp_path / "map.csv").write_text(
        f"tile,array,row,col,cell,fault\n1,0,2,{at},+,off\n3,0,2,5,+,off\n"
    )
    overrides = {"weights__cell_bits": cell_bits, "faults__map": str(tmp_path / "map.csv")}
    hw = lab.chip(**overrides)
    device = build(hw.device.kind, hw.device.parameters)
    mapping = map_graph(lab.graph(op), hw)
    layer_at = program(mapping, device, 0).layers["layer"]
    sound = program(map_graph(lab.graph(op), lab.chip(weights__cell_bits=cell_bits)), device, 0)
    changed = []
    for slot, array, before in zip(
        mapping.layers[0].slots[0], layer_at.arrays, sound.layers["layer"].arrays, strict=True
    ):
        rows, cols = np.nonzero(array.written.difference != before.written.difference)
        changed += [(slot.tile, int(r), int(c)) for r, c in zip(rows, cols, strict=True)]
    n_cols = layer_at.arrays[1].written.n_cols
    expected = {(1, 2, 3 + (slices - 1) * n_cols), (3, 2, 5)}
    assert set(changed) == expected


def test_pulses_per_cell_are_those_of_the_loop(lab):
    verify = {"tolerance": "0.5 %", "gain": 1, "pulse_sigma": "1 %", "max_pulses": 500}
    op = lab.conv(np.ones((64, 32, 3, 3), np.float32), (8, 8), name="layer")
    hw = chip(lab, device__kind="ideal", device__verify=verify)
    written = program(map_graph(lab.graph(op), hw), build("ideal", {"verify": verify}), 0)
    # all weights are full scale: half of the cells take 1 / p pulses, their partners none
    p = math.erf(0.5 / math.sqrt(2))
    n = 64 * 32 * 9
    sigma = math.sqrt(1 - p) / p / math.sqrt(n)
    assert abs(2 * written.pulses_per_cell - 1 / p) < 4 * sigma
    assert program(map_graph(lab.graph(op), hw), build("ideal", {}), 0).pulses_per_cell is None


def test_conditions_that_the_cells_do_not_know_are_refused(lab):
    with pytest.raises(ConfigError, match=r"conditions\.time: .*'eflash', got 21 y"):
        ready(lab, chip(lab, conditions__time="21 y"))
