from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from cimsim.zoo.cim_conv import CIMConv, default_kernel
from cimsim.zoo.errors import ZooError


def literal(layer: CIMConv, x: torch.Tensor, c_out: int, *, relu: bool) -> torch.Tensor:
    """The definition: pad, unfold, one linear map per patch, ReLU, lay the blocks side by side."""
    kernel, stride, block = layer.fc.kernel_size[0], layer.stride, layer.block
    batch, _, height, width = x.shape
    padded = functional.pad(x, (1, 1, 1, 1))
    rows = (height + 2 - kernel) // stride + 1
    columns = (width + 2 - kernel) // stride + 1
    matrix = layer.fc.weight.reshape(layer.fc.out_channels, -1)
    out = torch.zeros(batch, c_out, rows * block, columns * block, dtype=x.dtype)
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride, j * stride
            patch = padded[:, :, top : top + kernel, left : left + kernel].reshape(batch, -1)
            vector = patch @ matrix.T + layer.fc.bias
            vector = vector.clamp_min(0) if relu else vector
            into = out[:, :, i * block : (i + 1) * block, j * block : (j + 1) * block]
            into.copy_(vector.reshape(batch, c_out, block, block))
    return out


@settings(max_examples=15, deadline=None)
@given(
    stride=st.sampled_from([1, 2, 3, 4, 8]),
    block=st.integers(1, 8),
    c_in=st.integers(1, 3),
    c_out=st.integers(1, 3),
    n_rows=st.integers(1, 3),
    n_columns=st.integers(1, 3),
    relu=st.booleans(),
    seed=st.integers(0, 99),
)
def test_equals_unfold_linear_reshape(stride, block, c_in, c_out, n_rows, n_columns, relu, seed):
    torch.manual_seed(seed)
    layer = CIMConv(c_in, c_out, stride=stride, block=block, activation=relu).double()
    x = torch.randn(2, c_in, n_rows * stride, n_columns * stride, dtype=torch.float64)
    with torch.no_grad():
        expected = literal(layer, x, c_out, relu=relu)
        torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
    assert expected.shape[2:] == (n_rows * block, n_columns * block)


def test_every_pixel_of_a_block_sees_its_own_input():
    for stride in (2, 4, 8, 16):
        layer = CIMConv(1, 1, stride=stride, block=stride, activation=False)
        with torch.no_grad():
            layer.fc.weight.fill_(1.0)
            layer.fc.bias.zero_()
        x = torch.zeros(1, 1, 3 * stride, 3 * stride, requires_grad=True)
        for y in range(stride):
            (grad,) = torch.autograd.grad(layer(x)[0, 0, stride + y, stride + y], x)
            assert grad[0, 0, stride + y, stride + y] == 1


def test_norm_is_the_same_map_once_folded():
    torch.manual_seed(3)
    layer = CIMConv(2, 3, stride=4, block=2, norm=True)
    layer(torch.randn(4, 2, 16, 16))  # moves the running statistics
    layer.eval()
    plain = CIMConv(2, 3, stride=4, block=2)
    gain = layer.norm.weight / torch.sqrt(layer.norm.running_var + layer.norm.eps)
    with torch.no_grad():
        plain.fc.weight.copy_(layer.fc.weight * gain.reshape(-1, 1, 1, 1))
        plain.fc.bias.copy_(layer.norm.bias - gain * layer.norm.running_mean)
        x = torch.randn(1, 2, 16, 16)
        torch.testing.assert_close(layer(x), plain(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 3), (4, 6), (8, 10), (16, 18)])
def test_default_kernel(stride, kernel):
    assert default_kernel(stride) == kernel


def test_scale():
    assert CIMConv.scaled(1, 1, stride=8, scale=Fraction(1, 8)).block == 1
    assert CIMConv.scaled(1, 1, stride=2, scale=3).block == 6
    assert CIMConv(1, 1, stride=8, block=4).scale == Fraction(1, 2)


@pytest.mark.parametrize("scale", [Fraction(1, 3), 0, -1])
def test_scale_that_gives_no_whole_block_is_refused(scale):
    with pytest.raises(ZooError, match=r"scale.*stride 8"):
        CIMConv.scaled(1, 1, stride=8, scale=scale)


@pytest.mark.parametrize("block", [0, -2, 1.5])
def test_block_must_be_a_positive_integer(block):
    with pytest.raises(ZooError, match=r"block.*positive integer"):
        CIMConv(1, 1, stride=2, block=block)
