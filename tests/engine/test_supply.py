"""A supply with a resistance: one factor for all columns of an activation."""

import numpy as np
import pytest
import torch

from cimsim.chip.cells import build
from cimsim.engine.execute import execute
from cimsim.engine.prepare import prepare
from cimsim.mapping.mapping import map_graph

ROWS, COLS, WINDOWS = 30, 12, 50
G_MAX, G_MIN = 11.5e-9, 0.01e-9


@pytest.mark.parametrize("bits", [8, 1])
def test_all_columns_read_less_by_what_all_cells_draw(lab, bits):
    rng = np.random.default_rng(0)
    q = rng.integers(-127, 128, (ROWS, COLS))
    q[0, 0] = 127
    codes = rng.integers(0, 256, (WINDOWS, ROWS))
    codes[0, 0], codes[1] = 255, 0
    ohm = 1e6
    hw = lab.chip(dac__bits=bits, inputs__bits=8, array__r_supply=f"{ohm} ohm")
    x = torch.from_numpy(codes[None].astype(np.float32))
    mapping = map_graph(lab.graph(lab.linear(q.T.astype(np.float32), WINDOWS)), hw)
    device = build(hw.device.kind, hw.device.parameters)
    ready = prepare(mapping, device, [(x,)], 0, threads=1)
    found = execute(ready, (x,), 0, 0, 1).outputs[0].numpy()[0]
    # a pair holds a step for each unit of its weight and two erased cells
    rows_s = (np.abs(q) * (G_MAX - G_MIN) / 127 + 2 * G_MIN).sum(axis=1)
    expected = 0.0
    for shift in range(0, 8, bits):
        pulse = codes >> shift & (2**bits - 1)
        factor = 1 / (1 + ohm * (pulse / (2**bits - 1)) @ rows_s)
        expected = expected + 2**shift * factor[:, None] * (pulse @ q)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-2)
    assert 0.01 < 1 - np.abs(found).sum() / np.abs(codes @ q).sum() < 0.9
