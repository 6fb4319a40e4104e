from __future__ import annotations

import pytest
import torch
from torch import nn

from cimsim.training.folding import conv_layers, folded, matrix_layers


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 30, 3), nn.BatchNorm2d(30), nn.ReLU(), nn.Conv2d(30, 20, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(20, 4),
    )  # fmt: skip


def test_layers_are_paired_with_their_norms():
    model = network()
    assert list(conv_layers(model)) == [(model[0], model[1]), (model[3], None)]
    assert list(matrix_layers(model)) == [
        ("0", model[0], model[1]), ("3", model[3], None), ("6", model[6], None)
    ]  # fmt: skip


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_folded_layer_computes_what_matrix_and_norm_do(bias, affine):
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 5, 3, bias=bias), nn.BatchNorm2d(5, affine=affine).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 10)
    if affine:
        nn.init.uniform_(norm.weight, -2, 2)
        nn.init.normal_(norm.bias)
    x = torch.randn(2, 3, 8, 8)
    gain, shift = folded(conv, norm)
    got = nn.functional.conv2d(x, conv.weight * gain[:, None, None, None], shift)
    torch.testing.assert_close(got, norm(conv(x)), rtol=1e-5, atol=1e-5)


def test_a_matrix_without_norm_keeps_its_bias():
    for bias in (True, False):
        layer = nn.Linear(3, 5, bias=bias)
        gain, shift = folded(layer, None)
        assert gain is None
        assert torch.equal(shift, layer.bias if bias else torch.zeros(5))
