"""Two networks have one hash when, and only when, they do the same arithmetic."""

import functools
import runpy

import pytest
import torch
from torch import nn
from torch.nn import functional

import cimsim
from cimsim.chip.load import chip_hash, load_hw
from cimsim.graph.digest import operations_hash, weights_hash
from cimsim.graph.own_operators import code_of


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
    "divided by 0": lambda net, x, y: torch.where(y > 0, 0.0, y) / 1e-30,
    "divided by -0": lambda net, x, y: torch.where(y > 0, -0.0, y) / 1e-30,
    "by half precision": lambda net, x, y: y.half().float(),
    "by bfloat16": lambda net, x, y: y.bfloat16().float(),
    "whole": lambda net, x, y: (9 * y).to(torch.int32).float(),
    "rounded": lambda net, x, y: (9 * y).round(),
    "leaky": lambda net, x, y: functional.leaky_relu(y, 0.1),
    "leakier": lambda net, x, y: functional.leaky_relu(y, 0.2),
    "gelu": lambda net, x, y: functional.gelu(y),
    "gelu by tanh": lambda net, x, y: functional.gelu(y, approximate="tanh"),
    "one layer": lambda net, x, y: Gain(0.5)(y),
    "one of the same text": lambda net, x, y: Gain(0.25)(y),
    "pooled with its edge": lambda net, x, y: functional.avg_pool2d(y, 3, 1, 1),
    "pooled without": lambda net, x, y: functional.avg_pool2d(y, 3, 1, 1, count_include_pad=False),
}


def helper(x, y):
    return x + 0.3 * y


class Gain(nn.Module):
    """Two of them print the same."""

    def __init__(self, gain):
        super().__init__()
        self.gain = gain

    def forward(self, x):
        return self.gain * x


def registered(factor):
    """Register an operator of one name, whose code only the factory's argument tells apart."""

    @torch.library.custom_op("cimsim_tests::scaled", mutates_args=())
    def scale(x: torch.Tensor) -> torch.Tensor:
        return factor * x

    @scale.register_fake
    def shape(x):
        return torch.empty_like(x)

    return scale


@pytest.mark.slow
def test_the_code_of_a_registered_operator_counts():
    found = []
    for factor in (0.5, 0.25, 0.5):
        torch.manual_seed(0)
        scale = registered(factor)
        net = Small(lambda net, x, y, scale=scale: scale(y))
        found.append(operations_hash(cimsim.trace(net.eval(), (torch.zeros(1, 3, 8, 8),))))
    assert found[0] == found[2] != found[1]


def test_the_file_of_an_operator_of_a_library_counts(tmp_path):
    found = []
    for factor in (0.5, 0.25):
        file = tmp_path / f"operators{factor}.py"
        file.write_text(
            "import torch\n"
            "library = torch.library.Library('cimsim_tests_old', 'DEF')\n"
            "library.define('scaled(Tensor x) -> Tensor')\n"
            f"library.impl('scaled', lambda x: {factor} * x, 'CPU')\n"
            "library.impl('scaled', lambda x: torch.empty_like(x), 'Meta')\n"
        )
        held = runpy.run_path(str(file))
        found.append([*code_of(torch.ops.cimsim_tests_old.scaled.default)])
        held["library"]._destroy()
    assert found[0] != found[1]
    assert all(found)
    assert not [*code_of(torch.ops.aten.relu.default)]


@pytest.mark.parametrize(
    ("one", "other"),
    [("minus", "scaled"), ("scaled", "scaled a little more"), ("minus", "turned round"),
     ("constant", "other constant"), ("clamped", "clamped elsewhere"), ("minus", "clamped"),
     ("divided by 0", "divided by -0"), ("by half precision", "by bfloat16"), ("whole", "rounded"),
     ("leaky", "leakier"), ("gelu", "gelu by tanh"), ("one layer", "one of the same text"),
     ("pooled with its edge", "pooled without")],
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
