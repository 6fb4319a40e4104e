"""In-place operators: read directly where that is safe, taken apart by torch where it is not."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from cimsim.frontends.functional import is_functional
from cimsim.frontends.torch_export import _KNOWN, _quiet, from_exported


class InPlace(nn.Module):
    """A convolution, then the given function of its output and of the input."""

    def __init__(self, then):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.then = then

    def forward(self, x):
        return self.then(self.conv(x), x)


def fresh(y, x):
    return functional.hardtanh_(functional.relu_(y).mul_(3.0)) + x


def after_pooling(y, x):
    return functional.max_pool2d(y, 2).relu_()


def read_before(y, x):
    before = y + 1
    y.relu_()
    return before, y


def through_a_view(y, x):
    y.view(1, -1)[:, 1:].neg_()
    return y * 1


def through_a_slice(y, x):
    y[:, 0].relu_()
    return y + x


def through_a_cast(y, x):
    y.to(torch.float32).neg_()
    return y * 2


def on_the_input(y, x):
    return (x + 0).relu_() + x.neg() + y


def assigned(y, x):
    y[:, :, 1:2] = 5.0
    return y


def two_sources(y, x):
    y.add_(x)
    return y


@pytest.mark.parametrize(
    ("then", "direct"),
    [
        (fresh, True),
        (after_pooling, True),
        (on_the_input, True),
        (read_before, False),
        (through_a_view, False),
        (through_a_slice, False),
        (through_a_cast, False),
        (assigned, False),
        (two_sources, False),
    ],
)
def test_in_place_writes(then, direct):
    torch.manual_seed(0)
    model = InPlace(then).eval()
    x = torch.randn(1, 2, 4, 4)
    with torch.no_grad(), _quiet():
        program = torch.export.export(model, (x,))
        expected = model(x.clone())
    assert is_functional(program.graph_module.graph, _KNOWN) is direct
    expected = expected if isinstance(expected, tuple) else (expected,)
    for y, z in zip(from_exported(program, "net").reference(x), expected, strict=True):
        torch.testing.assert_close(y, z, rtol=1e-5, atol=1e-6)


def test_the_users_program_is_not_changed():
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(inplace=True)).eval()
    x = torch.randn(1, 2, 3, 3)
    with torch.no_grad(), _quiet():
        program = torch.export.export(model, (x,))
    before = str(program.graph)
    from_exported(program, "net")
    assert str(program.graph) == before
    assert "relu_" in before
