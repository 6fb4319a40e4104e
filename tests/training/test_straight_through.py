from __future__ import annotations

import torch

from cimsim.crossbar.adc import AdcRange
from cimsim.crossbar.encode import InputCode
from cimsim.training.straight_through import convert, encode, stand_in


def test_codes_are_those_of_the_engine_and_clipped_inputs_pass_no_gradient():
    code = InputCode.of_range(-0.37, 1.61, 6)
    x = torch.linspace(-1, 2.5, 1001).requires_grad_()
    got = encode(x, code.scale, code.zero_point, code.top)
    want = code.encode(x.detach().numpy()).astype(float) - code.zero_point
    torch.testing.assert_close(got.detach().double(), torch.from_numpy(want), rtol=0, atol=0)
    weight = torch.randn(1001)
    (got * weight).sum().backward()
    level = x.detach() / code.scale + code.zero_point
    inside = (level > -0.5) & (level < code.top + 0.5)
    assert 0 < inside.sum() < len(inside)
    torch.testing.assert_close(x.grad, torch.where(inside, weight / code.scale, 0.0))


def test_conversions_are_those_of_the_engine_and_clipped_sums_pass_no_gradient():
    adc = AdcRange.covering(-3000, 5000, 7)
    sums = torch.linspace(-6000, 8000, 501)[:, None].repeat(1, 2).requires_grad_()
    gain, offset = torch.tensor([1.0, 1.1]), torch.tensor([0.0, 0.7])
    step = torch.full((2,), adc.lsb)
    got = convert(sums, gain, offset - adc.lo / step, None, step, adc.top)
    for j in range(2):
        mismatched = sums.detach()[:, j].double() * float(gain[j]) + adc.lsb * float(offset[j])
        want = adc.decode(adc.encode(mismatched.numpy())) - adc.lo
        torch.testing.assert_close(got.detach()[:, j].double(), torch.from_numpy(want))
    got.sum().backward()
    level = sums.detach() * gain / step + offset - adc.lo / step
    inside = (level > -0.5) & (level < adc.top + 0.5)
    torch.testing.assert_close(sums.grad, inside * gain)


def test_noise_moves_the_level_before_it_is_rounded():
    sums = torch.zeros(10_000, 1)
    noise = torch.randn(10_000, 1, generator=torch.Generator().manual_seed(0))
    one = torch.ones(1)
    got = convert(sums, one, 100 * one, noise, 4 * one, 255)
    torch.testing.assert_close(got, 4 * (100 + noise).round())


def test_the_stand_in_gets_the_gradient_of_the_cells():
    nominal, cells = torch.randn(2, 3, 4).requires_grad_(), torch.randn(2, 3, 4)
    outer = torch.randn(2, 3, 4)
    y = stand_in(nominal, cells)
    assert torch.equal(y.detach(), cells)
    (y * outer).sum().backward()
    assert torch.equal(nominal.grad, outer)
