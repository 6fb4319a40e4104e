from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cimsim.training.weight_noise import (
    KNEE,
    WeightNoise,
    chip_weights,
    conv_layers,
    error_sigma,
    folded_gain,
    round_weights,
)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 30, 3), nn.BatchNorm2d(30), nn.ReLU(), nn.Conv2d(30, 20, 3), nn.ReLU()
    )


def test_sigma_closed_form():
    weight = torch.tensor([0.0, 0.5, -2.0])
    expected = 0.02 * 2.0 * (1 - np.exp(-np.array([0.0, 0.5, 2.0]) / (KNEE * 2.0)))
    assert np.allclose(error_sigma(weight, 0.02).numpy(), expected, rtol=1e-6)
    assert not error_sigma(torch.zeros(3), 0.02).any()


def test_layers_are_paired_with_their_norms():
    model = network()
    assert list(conv_layers(model)) == [(model[0], model[1]), (model[3], None)]


def test_weights_are_rounded_and_disturbed_as_folded():
    model = network()
    model[1].running_var.uniform_(0.1, 10)
    nn.init.uniform_(model[1].weight, 0.2, 3)
    for conv, norm in conv_layers(model):
        gain = folded_gain(conv, norm)
        grid = chip_weights((conv.weight * gain).detach(), bits=8, fraction=0.0, seed=0)
        sigma = error_sigma(grid, 0.02)
        draws = []
        noise = WeightNoise(model, 0.02)
        for seed in range(40):
            with noise.applied(seed):
                draws.append(((conv.weight * gain - grid) / sigma).detach())
        z = torch.stack(draws)
        # weights near zero have sigma near the rounding of the addition
        z = z[:, sigma > 1e-4]
        assert float(z.mean()) == pytest.approx(0, abs=5 / np.sqrt(z.numel()))
        assert float(z.std()) == pytest.approx(1, abs=5 / np.sqrt(2 * z.numel()))


def test_rounded_weights_are_what_a_chip_without_errors_holds():
    model = network()
    model[1].running_var.uniform_(0.1, 10)
    plain = network()
    plain.load_state_dict(model.state_dict())
    round_weights(model)
    expected = chip_weights(
        plain[0].weight.detach() * folded_gain(plain[0], plain[1]), bits=8, fraction=0.0, seed=0
    )
    torch.testing.assert_close(
        model[0].weight.detach() * folded_gain(model[0], model[1]), expected, rtol=1e-5, atol=1e-7
    )
    once = [p.detach().clone() for p in model.parameters()]
    round_weights(model)  # a second time changes nothing
    for a, b in zip(once, model.parameters(), strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-5, atol=1e-7)


def test_weights_come_back_exactly_even_after_an_error():
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    with (
        pytest.raises(RuntimeError, match="stop"),
        WeightNoise(model, 0.1).applied(0),
    ):
        raise RuntimeError("stop")
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_same_seed_same_error_and_none_for_zero():
    model = network()
    noise = WeightNoise(model, 0.1)
    seen = []
    for seed in (1, 1, 2):
        with noise.applied(seed):
            seen.append(model[0].weight.detach().clone())
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    original = model[0].weight.detach().clone()
    with WeightNoise(model, 0.0).applied(1):
        assert torch.equal(model[0].weight, original)


def test_gradient_is_that_of_the_disturbed_network():
    model = network().eval()
    x = torch.randn(1, 2, 8, 8)
    with WeightNoise(model, 0.1).applied(3):
        disturbed = [p.detach().clone() for p in model.parameters()]
        model(x).square().sum().backward()
    got = [p.grad.clone() for p in model.parameters()]
    other = network().eval()
    with torch.no_grad():
        for parameter, value in zip(other.parameters(), disturbed, strict=True):
            parameter.copy_(value)
    other(x).square().sum().backward()
    for a, b in zip(got, other.parameters(), strict=True):
        torch.testing.assert_close(a, b.grad)


@pytest.mark.parametrize("bits", [4, 8])
def test_chip_weights_lie_on_a_symmetric_grid(bits):
    weight = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    grid = chip_weights(weight, bits=bits, fraction=0.0, seed=0)
    step = float(weight.abs().max()) / (2 ** (bits - 1) - 1)
    assert float((grid - weight).abs().max()) <= step / 2 * 1.0001
    levels = (grid / step).round()
    torch.testing.assert_close(levels * step, grid)
    assert float(levels.abs().max()) == 2 ** (bits - 1) - 1
