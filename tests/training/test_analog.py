"""Errors of one layer have the statistics of the engine's, over many chips."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.chip.cells import build
from cimsim.chip.load import load_hw
from cimsim.engine.calibrate import calibrate
from cimsim.engine.execute import execute
from cimsim.engine.program import program
from cimsim.training.hardware import ChipInTheLoop
from tests.thorough import some

CHIPS = 80
SMALL = {
    "weights.rounding": "nearest", "array.rows": 40, "array.cols": 8, "tile.count": 4000,
    "calibration.column_gain": False, "calibration.column_offset": False,
}  # fmt: skip
QUIET = {"device.sigma_program": 0, "device.sigma_read": 0}
CORRECTED = {"calibration.column_gain": True, "calibration.column_offset": True}


class One(nn.Module):
    """A convolution of 54 rows: two row tiles and two column tiles."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(6, 12, 3, padding=1)

    def forward(self, x, noise_map):
        return self.layer(torch.cat([x, noise_map], 1))


def errors(overrides):
    """Outputs of many chips less the float ones: engine and training, [chips, cols, pixels]."""
    torch.manual_seed(0)
    net = One().eval()
    # brightness differs by channel and is not zero on average: columns err alike everywhere
    x = torch.rand(1, 5, 20, 21) * torch.tensor([1, 0.3, 0.6, 1, 0.1]).reshape(1, 5, 1, 1) - 0.1
    noise_map = torch.full((1, 1, 20, 21), 0.3)
    hw = load_hw("eflash40nm", SMALL | overrides)
    mapping = cimsim.map_graph(cimsim.trace(net, (x, noise_map)), hw)
    device = build(hw.device.kind, hw.device.parameters)
    loop = ChipInTheLoop(net, hw)
    loop.calibrate(x, noise_map)
    found = np.empty((2, CHIPS, 12, 20 * 21))
    with torch.no_grad():
        exact = net(x, noise_map)
        for seed in range(CHIPS):
            ready = calibrate(program(mapping, device, seed), [(x, noise_map)], seed, threads=1)
            engine = execute(ready, (x, noise_map), 0, seed, threads=1).outputs[0]
            with loop.applied(seed):
                training = net(x, noise_map)
            for side, y in enumerate((engine, training)):
                found[side, seed] = (y - exact).reshape(12, -1)
    return found


CHANGES = {
    "program": {"device.sigma_read": 0},
    "read": {"device.sigma_program": 0},
    "clipped": {"device.sigma_program": "4 %", "device.program_shape": "uniform"},
    "converters": QUIET | {"adc.gain_sigma": "3 %", "adc.offset_sigma_lsb": 2,
                           "adc.noise_lsb": 1.5},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "corrected"),
    some(
        itertools.product(CHANGES, ["raw", "corrected"]),
        ("program", "raw"), ("read", "corrected"), ("clipped", "raw"),
        ("converters", "raw"), ("converters", "corrected"),
    ),
)  # fmt: skip
def test_mean_and_power_of_the_error_are_those_of_the_engine(changes, corrected):
    found = errors(CHANGES[changes] | (CORRECTED if corrected == "corrected" else {}))
    power = np.square(found).mean(-1)  # of each chip and column
    mean, spread = power.mean(1), power.std(1) / np.sqrt(CHIPS)
    # 12 columns; what is simplified may cost 3 % of the power
    allowed = 4.5 * np.hypot(*spread) + 0.03 * mean[0]
    assert (np.abs(mean[1] - mean[0]) < allowed).all()
    total = power.mean(-1)
    pooled = 4 * np.hypot(*total.std(-1)) / np.sqrt(CHIPS) + 0.03 * total[0].mean()
    assert abs(total[1].mean() - total[0].mean()) < pooled
    offset = found.mean(-1)
    pooled = np.hypot(*offset.std(1)) / np.sqrt(CHIPS)
    assert (np.abs(offset[1].mean(0) - offset[0].mean(0)) < 4.5 * pooled + 1e-5).all()


def test_the_power_of_every_pixel_follows_that_of_its_inputs():
    # read noise alone, and no converter that would hide how it varies over the map
    found = errors({"device.sigma_program": 0, "adc.kind": "ideal"})
    variance = found.var(1)
    engine, training = variance.mean(1)
    assert np.corrcoef(engine, training)[0, 1] > 0.8
    # 12 columns x 80 chips: a variance is known to 4.6 %, of which two are compared
    z = np.log(training / engine) / (np.sqrt(2) * np.sqrt(2 / (12 * CHIPS)))
    assert np.abs(z).max() < 5
    columns = np.log(variance[1].mean(1) / variance[0].mean(1))
    assert np.abs(columns).max() < 5 * np.sqrt(2) * np.sqrt(2 / (420 * CHIPS)) + 0.02
