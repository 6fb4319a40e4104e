"""CIM-CONV is a literal unfold, one matrix product, ReLU, and blocks laid side by side."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from cimsim.frontends import passes
from cimsim.frontends.builder import GraphBuilder
from cimsim.frontends.matrices import conv2d_op
from cimsim.frontends.torch_export import trace
from cimsim.graph.ir import TensorSpec
from cimsim.graph.layout import from_vectors, im2col, to_nhwc
from cimsim.graph.reference import run

cim_conv = pytest.importorskip("cimsim.zoo.cim_conv")
aten = torch.ops.aten


def literal(layer, x):
    """Unfold -> fully connected -> ReLU -> reshape to blocks -> place, in loops and float64."""
    weight, bias = layer.fc.weight.detach().double(), layer.fc.bias.detach().double()
    kernel, stride, block = weight.shape[-1], layer.stride, layer.block
    columns = functional.unfold(x.double(), kernel, padding=1, stride=stride)
    matrix = weight.flatten(1)
    rows = (x.shape[2] + 2 - kernel) // stride + 1
    cols = (x.shape[3] + 2 - kernel) // stride + 1
    c_out = matrix.shape[0] // block**2
    y = torch.zeros(x.shape[0], c_out, rows * block, cols * block, dtype=torch.float64)
    for b in range(x.shape[0]):
        for window in range(rows * cols):
            vector = matrix @ columns[b, :, window] + bias
            if isinstance(layer.act, torch.nn.ReLU):
                vector = vector.clamp_min(0)
            i, j = divmod(window, cols)
            patch = vector.reshape(c_out, block, block)
            y[b, :, i * block : (i + 1) * block, j * block : (j + 1) * block] = patch
    return y


def graph_of(layer, shape):
    """Build the graph that `trace` makes of one layer, without the export."""
    build = GraphBuilder("layer")
    x = build.input("x", TensorSpec(shape))
    weight, bias = layer.fc.weight.detach(), layer.fc.bias.detach()
    op = conv2d_op("fc", "x", build.spec(x), weight, bias, stride=layer.stride, padding=1)
    last = build.matrix(op, weight, bias)
    spec = build.spec(last)
    if isinstance(layer.act, torch.nn.ReLU):
        last = build.digital("act", build.call(aten.relu.default, (last,), {}, spec), "")
    if layer.block > 1:
        b, (batch, channels, height, width) = layer.block, spec.shape
        spec = TensorSpec((batch, channels // b**2, height * b, width * b))
        call = build.call(aten.pixel_shuffle.default, (last, b), {}, spec)
        last = build.digital("to_pixels", call, "")
    return passes.run_all(build.finish([last.name]))


sizes = st.tuples(st.integers(3, 11), st.integers(3, 11))
layers = {
    "c_in": st.integers(1, 3),
    "c_out": st.integers(1, 3),
    "stride": st.integers(1, 4),
    "block": st.integers(1, 4),
    "activation": st.booleans(),
    "seed": st.integers(0, 999),
}


@settings(deadline=None, max_examples=40)
@given(size=sizes, **layers)
def test_module_graph_and_window_products_equal_the_literal_definition(
    size, c_in, c_out, stride, block, activation, seed
):
    torch.manual_seed(seed)
    layer = cim_conv.CIMConv(c_in, c_out, stride=stride, block=block, activation=activation)
    kernel = layer.fc.kernel_size[0]
    size = tuple(max(n, kernel - 2) for n in size)
    x = torch.randn(2, c_in, *size)
    expected = literal(layer, x)
    with torch.no_grad():
        torch.testing.assert_close(layer(x).double(), expected, rtol=1e-5, atol=1e-5)
    graph = graph_of(layer, (1, c_in, *size))
    torch.testing.assert_close(run(graph, x)[0].double(), expected, rtol=1e-5, atol=1e-5)

    # the window vectors that an array would see
    (op,) = graph.matrix_ops
    assert op.out_block == (c_out, block, block)
    vectors = im2col(op, to_nhwc(op, x.numpy()))
    products = np.einsum("wgr,grc->wgc", vectors, op.weight).reshape(2, *op.window_grid, -1)
    placed = from_vectors(op, products + op.bias)
    placed = np.maximum(placed, 0) if activation else placed
    np.testing.assert_allclose(placed, expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("stride", "block"), [(8, 8), (2, 1), (1, 2), (4, 2)])
def test_trace_finds_the_matrix(stride, block):
    torch.manual_seed(stride)
    layer = cim_conv.CIMConv(2, 3, stride=stride, block=block)
    x = torch.randn(1, 2, 16, 24)
    graph = trace(layer, (x,))
    expected = literal(layer, x)
    torch.testing.assert_close(run(graph, x)[0].double(), expected, rtol=1e-5, atol=1e-5)
    (op,) = graph.matrix_ops
    assert op.name == "fc"
    assert op.kind == ("cim_conv" if block > 1 else "conv2d")
    assert op.windows == math.ceil(16 / stride) * math.ceil(24 / stride)
    assert op.out_block == (3, block, block)
    assert op.group_rows == layer.fc.kernel_size[0] ** 2 * 2
    assert [d.op for d in graph.digital_ops] == ["relu"]


def test_replacing_the_bias_moves_every_pixel_of_its_block_place():
    layer = cim_conv.CIMConv(1, 2, stride=2, block=3, activation=False)
    graph = graph_of(layer, (1, 1, 4, 4))
    (op,) = graph.matrix_ops
    bias = np.zeros(op.n_cols, np.float32)
    bias[9 + 3 * 1 + 2] = 1.0  # channel 1, dy 1, dx 2
    weight = np.zeros_like(op.weight)
    changed = graph.with_ops([graph["x"], replace(op, weight=weight, bias=bias)])
    (y,) = run(changed, torch.zeros(1, 1, 4, 4))
    assert y.sum() == op.windows
    assert y[0, 1, 1::3, 2::3].eq(1).all()
