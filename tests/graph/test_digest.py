"""Two networks have one hash when, and only when, they do the same arithmetic."""

import functools

import pytest
import torch
from torch import nn

import cimsim
from cimsim.chip.load import chip_hash, load_hw
from cimsim.graph.digest import operations_hash, weights_hash


class Small(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.a, self.how = nn.Conv2d(3, 3, 3, padding=1), how
        self.register_buffer("constant", torch.tensor([0.5]))

    def forward(self, x):
        return self.how(self, x, self.a(x))


def scaled(factor):
    return lambda net, x, y: x + factor * y


@functools.cache
def hashes(name):
    torch.manual_seed(0)
    net = Small(WAYS[name])
    if name == "other constant":
        net.constant += 1e-7
    graph = cimsim.trace(net.eval(), (torch.zeros(1, 3, 8, 8),), name=name)
    return operations_hash(graph), weights_hash(graph)


WAYS = {
    "minus": lambda net, x, y: x - y,
    "scaled": scaled(0.3),
    "scaled a little more": scaled(0.3 + 1e-12),
    "times 5": scaled(5),
    "times 5.0": scaled(5.0),
    "other names": lambda net, first, second: first + 0.3 * second,
    "constant": lambda net, x, y: x + net.constant * y,
    "other constant": lambda net, x, y: x + net.constant * y,
    "turned round": lambda net, x, y: y - x,
    "clamped": lambda net, x, y: (x - y).clamp(0, 1),
    "clamped elsewhere": lambda net, x, y: (x - y).clamp(0, 0.9),
    "own function": lambda net, x, y: helper(x, y),
}


def helper(x, y):
    return x + 0.3 * y


@pytest.mark.parametrize(
    ("one", "other"),
    [("minus", "scaled"), ("scaled", "scaled a little more"), ("minus", "turned round"),
     ("constant", "other constant"), ("clamped", "clamped elsewhere"), ("minus", "clamped")],
)  # fmt: skip
def test_other_arithmetic_has_another_hash(one, other):
    assert hashes(one)[1] == hashes(other)[1]
    assert hashes(one)[0] != hashes(other)[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [("times 5", "times 5.0"), ("scaled", "other names"), ("scaled", "own function")],
)
def test_the_same_arithmetic_has_the_same_hash(one, other):
    assert hashes(one) == hashes(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["adc.noise_lsb=1"], ["adc.noise_lsb=1.0"]),
        (["device.g_max=11.5 nS"], ["device.g_max=0.0115 uS"]),
        (["name=other"], []),
        (["device.kind=pcm", "conditions.time=24 h"], ["device.kind=pcm", "conditions.time=1 d"]),
    ],
)
def test_a_number_is_the_same_however_it_is_written(one, other):
    assert chip_hash(load_hw("eflash40nm", one)) == chip_hash(load_hw("eflash40nm", other))


@pytest.mark.parametrize("text", ["adc.noise_lsb=1e-9", "device.g_max=11.6 nS", "adc.bits=7"])
def test_another_chip_has_another_hash(text):
    assert chip_hash(load_hw("eflash40nm", [text])) != chip_hash(load_hw("eflash40nm"))
