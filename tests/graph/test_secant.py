"""Differences at the output are weights times what each matrix adds, of any size."""

import pytest
import torch
from torch import nn

import cimsim
from cimsim.graph.secant import all_values, as_vectors, pulled_back


class Bent(nn.Module):
    """Convolutions of several kinds with everything between them that is exact."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.first = nn.Conv2d(3, 8, 3, padding=1, stride=2)
        self.deep = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.gate = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        one = torch.relu(self.first(x))
        two = torch.sigmoid(self.gate(one)) * torch.tanh(self.deep(one))
        return self.up(torch.cat([two[:, :4], nn.functional.hardswish(two[:, 4:])], 1)) + x[:, :1]


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.lstm, self.out = nn.LSTM(5, 7, batch_first=True), nn.Linear(7, 3)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


def differences(net, x, size, chosen=None):
    """Return what the output changes by, and the sum of weights times errors."""
    graph = cimsim.trace(net.eval(), (x,), name="net")
    before = all_values(graph, (x,))
    generator, given = torch.Generator().manual_seed(1), {}
    for op in graph.matrix_ops:  # in order, so that errors pass through those behind
        after = all_values(graph, (x,), given)
        error = size * torch.randn(after[op.name].shape, generator=generator)
        given[op.name] = after[op.name] + error
        given[op.name + "!"] = error
    errors = {op.name: given.pop(op.name + "!") for op in graph.matrix_ops}
    after = all_values(graph, (x,), given)
    out = graph.outputs[0]
    weight = torch.randn(after[out].shape, generator=generator)
    weights = pulled_back(graph, before, after, (weight,))
    total = float((weight.double() * (after[out] - before[out]).double()).sum())
    parts = [float((weights[n].double() * e.double()).sum()) for n, e in errors.items()]
    return total, sum(parts), graph


@pytest.mark.parametrize("size", [1e-3, 0.1, 1.0])
def test_the_sum_is_the_difference_of_any_size(size):
    x = torch.randn((1, 3, 10, 12), generator=torch.Generator().manual_seed(0))
    total, parts, _ = differences(Bent(), x, size)
    assert parts == pytest.approx(total, rel=1e-3, abs=1e-4 * size)


def test_the_gates_of_an_lstm_are_followed_to_third_order():
    x = torch.randn((1, 6, 5), generator=torch.Generator().manual_seed(0))
    small, parts, _ = differences(Recurrent(), x, 0.01)
    assert parts == pytest.approx(small, rel=2e-3)
    large, parts, _ = differences(Recurrent(), x, 0.1)
    assert parts == pytest.approx(large, rel=0.05)


def test_output_vectors_are_in_the_order_of_the_matrix():
    x = torch.randn((1, 3, 10, 12), generator=torch.Generator().manual_seed(0))
    graph = cimsim.trace(Bent().eval(), (x,), name="net")
    values = all_values(graph, (x,))
    up = next(op for op in graph.matrix_ops if op.out_block[1] > 1)
    rows = values[up.inputs[0]][0].permute(1, 2, 0).reshape(-1, up.n_rows)
    expected = rows @ torch.from_numpy(up.weight[0]) + torch.from_numpy(up.bias)
    assert torch.allclose(as_vectors(up, values[up.name]), expected, atol=1e-5)


class Quantised(nn.Module):
    """A rounding without a derivative between two layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)

    def forward(self, x):
        y = torch.relu(self.first(x))
        y = torch.fake_quantize_per_tensor_affine(y, 0.1, 0, 0, 15)
        return torch.round(self.second(y) * 8) / 8


@pytest.mark.parametrize("size", [0.02, 0.5])
def test_roundings_are_followed(size):
    x = torch.randn((1, 3, 10, 12), generator=torch.Generator().manual_seed(0))
    total, parts, _ = differences(Quantised(), x, size)
    assert parts == pytest.approx(total, rel=2e-3, abs=2e-3)
