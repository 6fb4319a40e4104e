"""What has time and energy, against counts by hand."""

import pytest
import torch
from torch import nn

from cimsim.errors import InputError
from cimsim.frontends.torch_export import trace
from cimsim.graph.coverage import Coverage, check, coverage


class Mixed(nn.Module):
    """A matrix, a product of activations, and a function of matrices that nobody charges."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 6)

    def forward(self, x):
        y = self.a(x)
        z = y @ y.transpose(1, 2)
        return torch.linalg.matrix_exp(z)


def test_shares_are_those_counted_by_hand():
    found = coverage(trace(Mixed(), (torch.randn(1, 5, 8),)))
    assert found.macs_on_arrays == 5 * 8 * 6
    assert found.macs_digital == 5 * 6 * 5
    assert (found.weights_modelled, found.weights_missing) == (8 * 6 + 6, 0)
    assert "linalg_matrix_exp" in [m.op for m in found.missing]
    assert found.macs == 1.0
    assert found.moved == pytest.approx((30 + 25) / (30 + 25 + found.values_missing))
    assert found.lines()[1].startswith("not modelled, no time and no energy: ")
    assert "linalg_matrix_exp (forward (graph/test_coverage.py" in found.lines()[1]
    assert Coverage.from_dict(found.to_dict()) == found


class Transformed(nn.Module):
    """Most of the MACs in an operator without a cost rule."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 8)

    def forward(self, x):
        y = self.a(x)[None]
        return torch.nn.functional.conv_transpose2d(y, y.reshape(1, 1, 40, 8))


def test_a_network_that_is_mostly_free_is_refused_by_name():
    graph = trace(Transformed(), (torch.randn(1, 40, 8),))
    assert coverage(graph).macs < 0.95
    with pytest.raises(InputError, match=r"Not modelled: conv_transpose2d .*--partial"):
        check(graph, partial=False)
    assert check(graph, partial=True).macs_missing == (40 * 8) ** 2


def test_a_matrix_that_is_applied_often_has_its_weights_once():
    class Twice(Mixed):
        def forward(self, x):
            return self.a(x) + self.a(2 * x)

    found = coverage(trace(Twice(), (torch.randn(1, 5, 8),)))
    assert found.macs_on_arrays == 2 * 5 * 48
    assert found.weights_modelled == 54
    assert found.complete
