from __future__ import annotations

import numpy as np
import pytest
import torch

from cimsim.chip.cells import build
from cimsim.chip.load import load_hw
from cimsim.crossbar.encode import encode_weights
from cimsim.crossbar.programmed import program_array
from cimsim.training.cells import Cells, weight_scales


def chip(**overrides):
    return load_hw("eflash40nm", {k.replace("__", "."): v for k, v in overrides.items()})


@pytest.mark.parametrize("rule", ["layer", "column", "balanced"])
@pytest.mark.parametrize("groups", [1, 3])
def test_scales_are_those_of_the_engine(rule, groups):
    rng = np.random.default_rng(0)
    matrix = rng.normal(0, rng.uniform(0.01, 1, (groups, 1, 7)), (groups, 20, 7))
    matrix[0, :, 3] = 0
    matrix = matrix.astype(np.float32)
    q, scales = encode_weights(matrix, 127, rule)
    got = weight_scales(torch.from_numpy(matrix).transpose(1, 2), 127, rule)
    np.testing.assert_allclose(got.numpy().reshape(-1), scales, rtol=1e-6)
    levels = (torch.from_numpy(matrix).transpose(1, 2) / got).round().transpose(1, 2)
    np.testing.assert_array_equal(levels.numpy(), q)


def test_a_matrix_of_zeros_has_scale_one():
    for rule in ("layer", "column", "balanced"):
        assert torch.equal(weight_scales(torch.zeros(1, 4, 5), 127, rule), torch.ones(1, 4, 1))


def test_moments_are_those_of_the_device_model():
    hw = chip()
    device, cells = build(hw.device.kind, hw.device.parameters), Cells.of(hw)
    lsb = (device.g_max_s - device.g_min_s) / 127
    g = device.g_min_s + lsb * np.arange(128)
    erased = device.program_sigma(g[:1])
    want = np.hypot(device.program_sigma(g), erased) / lsb
    # 8192 samples: a standard deviation is known to 0.8 %
    np.testing.assert_allclose(cells.sigma.numpy(), want, rtol=5 * 0.008)
    np.testing.assert_allclose((cells.sigma.numpy() / want).mean(), 1, atol=5 * 0.008 / 128**0.5)
    read = (device.read_sigma(g) ** 2 + device.read_sigma(g[:1]) ** 2) / lsb**2
    # cells with an error fluctuate a little less on average: the shape is concave
    np.testing.assert_allclose(cells.read_variance.numpy()[10:], read[10:], rtol=0.03)
    assert not cells.mean[:1].any()


@pytest.mark.parametrize("shape", ["saturating", "uniform"])
def test_written_weights_have_the_moments_of_written_arrays(shape):
    hw = chip(device__program_shape=shape)
    device, cells = build(hw.device.kind, hw.device.parameters), Cells.of(hw)
    q = np.random.default_rng(0).integers(-127, 128, (200, 200)).astype(np.int32)
    written = program_array(q, device, 7, [np.random.default_rng(1)])
    nominal = torch.from_numpy(q).float()
    got = cells.written(nominal, torch.Generator().manual_seed(0)).numpy()
    error, expected = got - q, written.difference - q
    n = q.size
    assert error.std() == pytest.approx(expected.std(), rel=5 / np.sqrt(n))
    for sign in (-1, 1):
        side = q * sign > 64
        # cells that would go below 0 S stay there: pairs err towards larger magnitudes
        pooled = 5 * expected.std() * np.sqrt(2 / side.sum())
        assert error[side].mean() == pytest.approx(expected[side].mean(), abs=pooled)
    reading = cells.reading(nominal).numpy()
    assert reading.mean() == pytest.approx(written.read_variance.mean(), rel=0.01)


def test_exact_cells_hold_what_they_are_given():
    cells = Cells.of(chip(device__sigma_program=0, device__sigma_read=0))
    nominal = torch.tensor([-127.0, -3.4, 0.0, 77.7, 127.0])
    assert torch.equal(cells.written(nominal, torch.Generator()), nominal)
    assert not cells.reading(nominal).any()
