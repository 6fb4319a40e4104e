"""With every non-ideality off, the chip is an integer-quantised network, bit for bit.

The oracle is written from the documentation alone: plain torch float64 convolutions of integers
on the layer graph's matrices. Of the chip it takes nothing but the calibrated input codes.
"""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import cimsim
from cimsim.chip.cells import build
from cimsim.engine.calibrate import calibrate
from cimsim.engine.execute import execute
from cimsim.engine.program import program
from cimsim.graph.ir import InputOp, MatrixOp, Ref
from cimsim.zoo.cim_conv import CIMConv

SMALL = {
    "array.rows": 20, "array.cols": 12, "adc.count": 3, "tile.count": 900,
    "weights.scale": "layer", "inputs.percentile": 100, "adc.range": "full", "adc.bits": 32,
}  # fmt: skip
EXACT_CELL = {"device.sigma_program": 0, "device.sigma_read": 0}
IDEAL_CELL = {"device.kind": "ideal", "device.g_max": "2 uS", "device.g_min": "0.1 uS"}


class Convolutions(nn.Module):
    """Grouped, strided, dilated, depthwise, 1 x 1; one convolution is used twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(4, 15, 3, padding=1)
        self.grouped = nn.Conv2d(15, 9, 3, padding=1, groups=3, bias=False)
        self.strided = nn.Conv2d(9, 8, (5, 3), stride=(2, 3), padding=(2, 1))
        self.dilated = nn.Conv2d(8, 8, 3, padding=(2, 3), dilation=(2, 3))
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.point = nn.Conv2d(8, 5, 1)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = functional.leaky_relu(self.strided(self.grouped(x)), 0.1)
        x = x + self.dilated(self.dilated(x))
        return self.point(torch.cat([self.depthwise(x)[:, :4], x[:, 4:]], dim=1))


class Transposed(nn.Module):
    """Transposed convolutions of kernel 4 and 3 at stride 2, with a skip connection."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.up4 = nn.ConvTranspose2d(6, 5, 4, stride=2, padding=1)
        self.again = nn.Conv2d(5, 6, 3, stride=2, padding=1)
        self.up3 = nn.ConvTranspose2d(6, 3, 3, stride=2, padding=1, output_padding=1, bias=False)

    def forward(self, x):
        return x - self.up3(torch.relu(self.again(torch.relu(self.up4(torch.relu(self.down(x)))))))


class Blocks(nn.Module):
    """CIM-CONV down, in place and up, one with a batch norm, one that reads a signed map."""

    def __init__(self):
        super().__init__()
        self.smooth = CIMConv(3, 4, stride=4, block=4)
        self.down = CIMConv(4, 6, stride=4, block=1, norm=True)
        self.up = CIMConv(6, 3, stride=1, block=4, activation=False)
        self.last = CIMConv(3, 3, stride=2, block=2, activation=False)

    def forward(self, x):
        return self.last(self.up(self.down(self.smooth(x))))


class Classifier(nn.Module):
    """Pooling and linear layers; the second one reads signed features on several positions."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.mix = nn.Linear(8, 25)
        self.head = nn.Linear(25, 14)

    def forward(self, x):
        x = functional.max_pool2d(torch.relu(self.norm(self.conv(x))), 4)
        x = self.mix(x.flatten(2).transpose(1, 2))
        return torch.softmax(self.head(x), dim=-1), self.head(x.mean(dim=1))


NETS = {
    "convolutions": (Convolutions, (1, 4, 13, 11)), "transposed": (Transposed, (1, 3, 12, 16)),
    "blocks": (Blocks, (1, 3, 16, 8)), "classifier": (Classifier, (1, 3, 12, 8)),
}  # fmt: skip
SETTINGS = {
    "8 bit": {},
    "ideal cell": IDEAL_CELL,
    "ideal adc": {"adc.kind": "ideal", "adc.bits": 1},
    "bit serial": {"dac.bits": 2, "weights.cell_bits": 3},
    "odd bits": {"inputs.bits": 5, "dac.bits": 3, "weights.bits": 6, "weights.cell_bits": 2},
    "per column": {"weights.scale": "column", "inputs.percentile": 99},
    "balanced": {"weights.scale": "balanced"},
    "offset cells": {"weights.encoding": "offset", "weights.cell_bits": 3},
    "two's complement": {"weights.encoding": "twos_complement", "weights.cell_bits": 4},
    "phases": {"inputs.signed": "phases", "dac.bits": 3},
    "rows": {"inputs.signed": "rows"},
    "power of two": {"adc.range": "power2", "adc.percentile": 100},
    "everything else": {
        "weights.encoding": "offset",
        "weights.cell_bits": 4,
        "inputs.signed": "rows",
        "adc.range": "power2",
        "adc.method": "least_error",
        "adc.kind": "ramp",
        "adc.t_conversion": "0.4 us",
    },
    "no correction": {"calibration.column_gain": False, "calibration.column_offset": False},
}


@functools.cache
def make(name):
    torch.manual_seed(5)
    kind, shape = NETS[name]
    net = kind()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):  # a batch norm that folds to something
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    frames = torch.randn(3, *shape[1:], generator=torch.Generator().manual_seed(6))
    return net.eval(), cimsim.trace(net, (torch.zeros(shape),), name), frames.split(1)


def interpret(graph, inputs, matrix):
    """Execute a graph: digital operations with torch, matrices with ``matrix(op, x)``."""

    def fill(value):
        if isinstance(value, Ref):
            return values[value.name]
        if isinstance(value, list | tuple):
            return type(value)(map(fill, value))
        return value

    values, given = {}, iter(inputs)
    for op in graph:
        if isinstance(op, InputOp):
            values[op.name] = next(given)
        elif isinstance(op, MatrixOp):
            values[op.name] = matrix(op, values[op.inputs[0]])
        else:
            values[op.name] = op.target(
                *fill(op.args), **{k: fill(v) for k, v in op.kwargs.items()}
            )
    return tuple(values[name] for name in graph.outputs)


def product(op, x, weight):
    """Matrix times every window in float64, [B, n_cols, n_wy, n_wx] or [B, ..., cols]."""
    if op.layout == "last":
        return torch.einsum("...r,rc->...c", x, weight[0])
    rows, cols = op.window.kernel
    kernels = weight.unflatten(1, (rows, cols, -1)).permute(0, 4, 3, 1, 2).flatten(0, 1)
    top, bottom, left, right = op.window.padding
    x = functional.pad(x, (left, right, top, bottom))
    return functional.conv2d(
        x, kernels, stride=op.window.stride, dilation=op.window.dilation, groups=op.groups
    )


def unfold(op, y, factor, bias):
    """``y * factor + bias`` for each column, laid out as pixels."""
    if op.layout == "last":
        return y * factor + bias
    y = y * factor[:, None, None] + bias[:, None, None]
    _, *block = op.out_block
    size = (y.shape[2] * block[0], y.shape[3] * block[1])
    return functional.fold(y.flatten(2), size, kernel_size=block, stride=block)


def bias_of(op):
    return torch.zeros(op.n_cols) if op.bias is None else torch.from_numpy(op.bias.copy())


def exact(op, x):
    weight = torch.from_numpy(op.weight.astype(np.float64))
    y = product(op, x.double(), weight)
    return unfold(op, y, torch.ones(op.n_cols, dtype=torch.float64), bias_of(op).double()).float()


def integer(chip, codes):
    """Matrices on integer inputs and weights, exact sums, one rounding to float32 at the end."""
    q_max = 2 ** (chip.weights.bits - 1) - 1

    def run(op, x):
        scale, zero = codes[op.name].code.scale, codes[op.name].code.zero_point
        q = torch.round(x.double() / scale) + zero
        if chip.inputs.signed != "offset" and op.signed:  # sign and magnitude
            top = 2 ** (chip.inputs.bits - 1) - 1
            q = q.clamp(-top, top)
        else:
            q = q.clamp(0, 2**chip.inputs.bits - 1) - zero  # a padded pixel is activation 0
        weight = torch.from_numpy(op.weight.astype(np.float64))
        step = largest_weights(weight, chip.weights.scale) / q_max
        w = torch.round(weight / step.reshape(op.groups, 1, op.group_cols))
        sums = product(op, q, w)
        assert torch.equal(sums, sums.round())
        return unfold(op, sums, scale * step, bias_of(op).double()).float()

    return run


def largest_weights(weight, scale):
    """Weight of full scale for each column of [groups, rows, cols]."""
    by_column = weight.abs().amax(dim=1).flatten()
    whole = by_column.max().expand(by_column.shape)
    if scale == "layer":
        return whole
    if scale == "column":
        return by_column
    # balanced: a column may draw as much as the one that draws most under one scale for all
    current = torch.maximum(weight.clamp(min=0).sum(1), (-weight).clamp(min=0).sum(1)).flatten()
    return torch.maximum(by_column, current / current.max() * whole)


@pytest.mark.parametrize("name", NETS)
def test_the_oracle_itself_computes_the_network(name):
    net, graph, frames = make(name)
    with torch.no_grad():
        expected = net(frames[2])
    expected = expected if isinstance(expected, tuple) else (expected,)
    for got, want in zip(interpret(graph, (frames[2],), exact), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", NETS)
def test_chip_equals_the_integer_network_bit_for_bit(name, settings):
    _, graph, frames = make(name)
    chosen = SETTINGS[settings]
    cell = {} if "device.kind" in chosen else EXACT_CELL
    chip = cimsim.load_hw("eflash40nm", {**SMALL, **cell, **chosen})
    mapping = cimsim.map_graph(graph, chip)
    device = build(chip.device.kind, chip.device.parameters)
    calibrated = calibrate(program(mapping, device, 3), [(f,) for f in frames[:2]], 3)
    # the judged frame is larger than what was calibrated on: codes saturate at both ends
    for frame, x in enumerate((frames[0], 1.5 * frames[2])):
        got = execute(calibrated, (x,), frame, 3).outputs
        want = interpret(graph, (x,), integer(chip, calibrated.ops))
        for a, b in zip(got, want, strict=True):
            assert a.dtype == torch.float32
            assert torch.equal(a, b), (a - b).abs().max()


@pytest.mark.parametrize("name", NETS)
def test_the_networks_take_several_row_and_column_tiles(name):
    _, graph, _ = make(name)
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm", SMALL))
    assert max(layer.layout.row_tiles for layer in mapping.layers) > 1
    assert any(block.src_col0 > 0 for layer in mapping.layers for block in layer.layout.blocks)


def test_a_lossy_converter_or_a_noisy_cell_breaks_the_equality():
    """The comparison above can fail: with 6 bits, or with programming error, it does."""
    _, graph, frames = make("blocks")
    for change in ({"adc.bits": 6}, {"device.sigma_program": "1 %"}, {"device.sigma_read": "1 %"}):
        chip = cimsim.load_hw("eflash40nm", {**SMALL, **EXACT_CELL, **change})
        device = build(chip.device.kind, chip.device.parameters)
        programmed = program(cimsim.map_graph(graph, chip), device, 3)
        calibrated = calibrate(programmed, [(frames[0],)], 3)
        got = execute(calibrated, (frames[2],), 0, 3).outputs[0]
        want = interpret(graph, (frames[2],), integer(chip, calibrated.ops))[0]
        assert not torch.equal(got, want)
        assert (got - want).abs().max() < want.abs().max()
