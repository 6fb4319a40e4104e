from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.errors import ConfigError
from cimsim.pruning.modules import channels_of
from cimsim.pruning.saliency import saliency


class Tiny(nn.Module):
    """Two paths that are added, a norm, a shuffle: small enough for whole Jacobians."""

    def __init__(self, relu=True):
        super().__init__()
        self.first, self.norm = nn.Conv2d(4, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
        self.side, self.up = nn.Conv2d(5, 20, 3, padding=1, stride=2), nn.PixelShuffle(2)
        self.last = nn.Conv2d(5, 3, 3, padding=1)
        self.act = nn.ReLU() if relu else nn.Identity()

    def forward(self, x, noise_map, gates=None):
        ones = torch.ones(5) if gates is None else gates
        gate = ones.reshape(1, 5, 1, 1)
        full = self.act(self.norm(self.first(torch.cat([x, noise_map], 1))) * gate)
        return self.last(full + self.up(self.side(full) * ones.repeat_interleave(4)[:, None, None]))


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    model = Tiny().eval()
    for name, value in (("running_mean", 0.1), ("running_var", 0.7)):
        getattr(model.norm, name).fill_(value)
    nn.init.uniform_(model.norm.weight, 0.3, 2)
    nn.init.normal_(model.norm.bias)
    graph = cimsim.trace(Plain(model), (torch.rand(1, 3, 8, 8), torch.rand(1, 1, 8, 8)))
    return Plain(model), *channels_of(Plain(model), graph)


class Plain(nn.Module):
    """The network without its gates, which a trace would take for inputs."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x, noise_map):
        inner = self.inner
        full = inner.act(inner.norm(inner.first(torch.cat([x, noise_map], 1))))
        return inner.last(full + inner.up(inner.side(full)))


def batches(count):
    generator = torch.Generator().manual_seed(4)
    return [
        (torch.rand(1, 3, 8, 8, generator=generator), torch.full((1, 1, 8, 8), 0.06),
         torch.rand(1, 3, 8, 8, generator=generator))
        for _ in range(count)
    ]  # fmt: skip


def test_the_network_and_its_gated_twin_agree(tiny):
    x, noise_map, _ = batches(1)[0]
    torch.testing.assert_close(tiny[0](x, noise_map), tiny[0].inner(x, noise_map))


def test_taylor_is_the_squared_derivative_by_a_gate(tiny):
    model, channels, known = tiny
    crops = batches(3)
    wanted = np.zeros(5)
    for x, noise_map, clean in crops:
        gates = torch.ones(5, requires_grad=True)
        (model.inner(x, noise_map, gates) - clean).square().mean().backward()
        wanted += gates.grad.double().numpy() ** 2 / len(crops)
    found = saliency("taylor", model, channels, known, crops)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.slow
def test_output_is_the_power_that_a_gate_moves(tiny):
    model, channels, known = tiny
    x, noise_map, clean = batches(1)[0]
    jacobian = torch.autograd.functional.jacobian(
        lambda gates: model.inner(x, noise_map, gates), torch.ones(5)
    )
    wanted = jacobian.square().mean(dim=(0, 1, 2, 3)).double().numpy()
    found = saliency("output", model, channels, known, [(x, noise_map, clean)] * 3000)
    np.testing.assert_allclose(found, wanted, rtol=0.15)


def test_sizes_are_relative_to_their_group(tiny):
    model, channels, known = tiny
    scale = model.inner.norm.weight.detach().abs().double().numpy()
    weight = model.inner.side.weight.detach().flatten(1).square().sum(1).reshape(5, 4).sum(1)
    found = saliency("bn", model, channels, known, [])
    assert found.mean() == pytest.approx(1)
    wanted = scale + weight.double().numpy()  # a matrix without a norm counts by its weights
    np.testing.assert_allclose(found, wanted / wanted.mean(), rtol=1e-5)
    gain = (model.inner.norm.weight / (0.7 + model.inner.norm.eps) ** 0.5).detach()
    first = model.inner.first.weight.detach().flatten(1).square().sum(1) * gain**2
    wanted = (first + weight).double().numpy()
    found = saliency("l2", model, channels, known, [])
    np.testing.assert_allclose(found, wanted / wanted.mean(), rtol=1e-5)


def test_an_unknown_kind_is_named(tiny):
    with pytest.raises(ConfigError, match=r"--saliency: 'tailor' is unknown.*taylor"):
        saliency("tailor", *tiny, batches(1))
