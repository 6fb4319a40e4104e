from __future__ import annotations

import pytest
import torch
from torch import nn

from cimsim.chip.load import load_hw
from cimsim.mapping.strategies import strategy
from cimsim.training.patches import MatrixShape


def chip(rows=1024, cols=1024):
    return load_hw("eflash40nm", {"array.rows": rows, "array.cols": cols})


CONVS = {
    "plain": lambda: nn.Conv2d(6, 8, 3, padding=1),
    "strided": lambda: nn.Conv2d(6, 8, (5, 4), stride=(4, 3), padding=(2, 1)),
    "grouped": lambda: nn.Conv2d(6, 9, 3, groups=3, dilation=2, padding=2),
    "same": lambda: nn.Conv2d(6, 8, (4, 3), padding="same"),
    "valid": lambda: nn.Conv2d(6, 8, 3, padding="valid"),
}


@pytest.mark.parametrize("name", CONVS)
@pytest.mark.filterwarnings("ignore:Using padding=.same.")  # torch copies, so what
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_both_ways_multiply_as_torch_does_with_the_same_gradients(name, layout):
    torch.manual_seed(0)
    conv = CONVS[name]().to(memory_format=layout)
    shape = MatrixShape.of(conv, chip())
    outer = None
    grads = []
    for way in ("torch", "vectors", "convolved"):
        x = torch.randn(2, 6, 13, 11, generator=torch.Generator().manual_seed(1))
        x = x.to(memory_format=layout).requires_grad_()
        conv.zero_grad()
        matrix = shape.matrix(conv.weight)
        if way == "torch":
            y = nn.functional.conv2d(
                x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups
            )
            outer = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
        elif way == "vectors":
            y = shape.output(shape.multiplied(shape.vectors(x), matrix))
        else:
            y = shape.output(shape.convolved(x, matrix.reshape(shape.n_cols, -1)))
        (y * outer).sum().backward()
        grads.append((y.detach(), x.grad, conv.weight.grad.clone()))
    for got in grads[1:]:
        for a, b in zip(got, grads[0], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_linear_layer_takes_its_input_as_it_is():
    layer, x = nn.Linear(7, 5, bias=False), torch.randn(2, 3, 7)
    shape = MatrixShape.of(layer, chip())
    y = shape.output(shape.multiplied(shape.vectors(x), shape.matrix(layer.weight)))
    torch.testing.assert_close(y, layer(x))
    assert shape.sampled(x, 100).shape == (6, 1, 7)


@pytest.mark.parametrize("name", CONVS)
def test_sampled_windows_are_windows(name):
    conv = CONVS[name]()
    shape, x = MatrixShape.of(conv, chip()), torch.randn(2, 6, 13, 11)
    every = shape.vectors(x).reshape(-1, shape.groups, shape.group_rows)
    assert torch.equal(shape.sampled(x, len(every)), every)
    few = shape.sampled(x, 9)
    assert 7 <= len(few) <= 9
    assert all(any(torch.equal(a, b) for b in every) for a in few)


@pytest.mark.parametrize("name", CONVS)
@pytest.mark.parametrize(("rows", "cols"), [(1024, 1024), (40, 5), (16, 2), (20, 64), (54, 6)])
def test_pieces_are_those_of_the_conventional_mapping(name, rows, cols):
    from cimsim.graph.ir import MatrixOp, TensorSpec, Window

    conv, hw = CONVS[name](), chip(rows, cols)
    shape = MatrixShape.of(conv, hw)
    weight = shape.matrix(conv.weight.detach()).transpose(1, 2).contiguous().numpy()
    op = MatrixOp(
        "layer", ("x",), TensorSpec((1, 6, 13, 13)), TensorSpec((1, conv.out_channels, 9, 9)),
        weight, None, Window(shape.kernel, (1, 1), (0, 0, 0, 0), shape.dilation),
        (conv.out_channels, 1, 1),
    )  # fmt: skip
    layout = strategy("im2col").place(op, hw)
    wanted = set()
    for blocks in layout.by_array:
        columns = {
            b.group * shape.group_cols + b.src_col0 + c for b in blocks for c in range(b.cols)
        }
        wanted.add((blocks[0].src_row0, blocks[0].rows, frozenset(columns)))
    found = {
        (tile.start, tile.stop - tile.start, frozenset(range(block.start, block.stop)))
        for tile in shape.tiles
        for block in shape.blocks
    }
    assert found == wanted
