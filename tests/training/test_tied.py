from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from cimsim.training.tied import TiedAdam, TiedKernel, random_kernels
from cimsim.zoo.cim_conv import CIMConv


def layer(c_in=2, c_out=3, stride=4):
    torch.manual_seed(0)
    return CIMConv(c_in, c_out, stride=stride, block=stride, activation=False)


def test_a_spread_kernel_is_a_convolution():
    conv = layer()
    tied = TiedKernel(conv)
    kernel = torch.zeros(3, 2, 9, 9)
    kernel[:, :, 3:6, 3:6] = torch.randn(3, 2, 3, 3)
    x = torch.randn(1, 2, 12, 16)
    with torch.no_grad():
        conv.fc.weight.copy_(tied.spread(kernel))
        conv.fc.bias.zero_()
        expected = functional.conv2d(x, kernel[:, :, 3:6, 3:6], padding=1)
        torch.testing.assert_close(conv(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_gather_is_the_adjoint_of_spread(stride):
    conv = CIMConv(2, 3, stride=stride, block=stride, kernel=stride + 2)
    tied = TiedKernel(conv)
    weight = torch.randn(conv.fc.weight.shape, dtype=torch.float64)
    size = 2 * stride + 1
    kernel = torch.randn(3, 2, size, size, dtype=torch.float64)
    tied.place = tied.place.double()
    left = (tied.spread(kernel) * weight).sum()
    right = (kernel * tied.gather(weight)).sum()
    torch.testing.assert_close(left, right)


def optimise(share, n_steps=3):
    conv = layer()
    group = {"params": list(conv.parameters()), "lr": 1e-2}
    optimiser = (
        torch.optim.Adam([group], betas=(0.9, 0.99), fused=True)
        if share is None
        else TiedAdam([group], conv, share)
    )
    x = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    for _ in range(n_steps):
        optimiser.zero_grad()
        (conv(x) - 1).square().mean().backward()
        optimiser.step()
    return conv.fc.weight.detach()


def test_share_zero_is_adam():
    assert torch.equal(optimise(0.0), optimise(None))


def test_the_extra_step_is_shared_by_all_positions():
    tied = TiedKernel(layer())
    extra = optimise(1.0, n_steps=1) - optimise(0.0, n_steps=1)
    counts = tied.gather(torch.ones_like(extra))
    kernel = tied.gather(extra) / counts.clamp_min(1)
    torch.testing.assert_close(tied.spread(kernel), extra, rtol=1e-3, atol=1e-7)
    assert float(extra.abs().max()) == pytest.approx(1e-2, rel=1e-3)  # Adam's first step: the rate


def test_random_kernels_ignore_the_mean_and_have_the_norm_asked_for():
    conv = layer(stride=8)
    kernels = random_kernels(conv, 2, 0.5)
    assert kernels.shape == (2 * 64, 2, 10, 10)
    inner = TiedKernel(conv).gather(kernels) / TiedKernel(conv).gather(
        torch.ones_like(kernels)
    ).clamp_min(1)
    torch.testing.assert_close(
        inner.square().sum(dim=(1, 2, 3)).sqrt(), torch.full((2,), 0.5), rtol=1e-3, atol=1e-3
    )
    assert float(inner.sum(dim=(1, 2, 3)).abs().max()) < 1e-4
