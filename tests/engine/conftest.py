"""Networks of a few layers built by hand, and chips to put them on."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from cimsim.chip.cells import build
from cimsim.chip.load import load_hw
from cimsim.engine.calibrate import calibrate
from cimsim.engine.execute import execute
from cimsim.engine.program import program
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp, Ref, TensorSpec, Window
from cimsim.mapping.mapping import map_graph

EXACT = {"device.sigma_program": 0, "device.sigma_read": 0}
NOISY = {"adc__kind": "sar", "device__sigma_read": "2 %", "device__sigma_program": "2 %"}
PLAIN = {"calibration.column_gain": False, "calibration.column_offset": False}


def chip(**overrides):
    """A small eFlash chip without any error: dots are written as two underscores."""
    base = EXACT | PLAIN | {"tile.count": 4000, "adc.kind": "ideal", "array.rows": 32}
    base |= {"array.cols": 32, "weights.scale": "layer", "inputs.percentile": 100}
    return load_hw("eflash40nm", base | {k.replace("__", "."): v for k, v in overrides.items()})


def conv(
    weight, size, *, name="layer", source="x", stride=(1, 1), padding=(0, 0, 0, 0),
    dilation=(1, 1), groups=1, block=1, bias=None, weights_id="",
):  # fmt: skip
    """A `MatrixOp` of a torch convolution weight [c_out * block**2, c_in / groups, k_y, k_x]."""
    n_out, per_group, k_y, k_x = weight.shape
    matrix = weight.reshape(groups, n_out // groups, per_group, k_y, k_x).transpose(0, 3, 4, 2, 1)
    matrix = np.ascontiguousarray(matrix.reshape(groups, -1, n_out // groups), np.float32)
    window = Window((k_y, k_x), stride, padding, dilation)
    n_wy, n_wx = window.positions(*size)
    channels = n_out // block**2
    return MatrixOp(
        name, (source,), TensorSpec((1, per_group * groups, *size)),
        TensorSpec((1, channels, n_wy * block, n_wx * block)), matrix, bias, window,
        (channels, block, block), weights_id=weights_id,
    )  # fmt: skip


def conv_oracle(x, weight, *, stride, padding, dilation, groups, block):
    """float64 convolution and pixel shuffle by torch."""
    top, bottom, left, right = padding
    padded = functional.pad(x.double(), (left, right, top, bottom))
    y = functional.conv2d(
        padded, torch.from_numpy(weight).double(), None, stride, 0, dilation, groups
    )
    return functional.pixel_shuffle(y, block) if block > 1 else y


def linear(weight, positions, *, name="layer", source="x"):
    """A `MatrixOp` of a torch linear weight [out, in] on an input [1, positions, in]."""
    n_out, n_in = weight.shape
    return MatrixOp(
        name, (source,), TensorSpec((1, positions, n_in)), TensorSpec((1, positions, n_out)),
        np.ascontiguousarray(weight.T[None], np.float32), None, Window(), (n_out, 1, 1), "last",
        "linear",
    )  # fmt: skip


def relu(name, source, shape):
    return DigitalOp(
        name, (source,), TensorSpec(tuple(shape)), "relu", torch.ops.aten.relu.default,
        (Ref(source),), locality="pointwise", ops_per_element=1.0,
    )  # fmt: skip


def added(name, one, other, shape):
    return DigitalOp(
        name, (one, other), TensorSpec(tuple(shape)), "add", torch.ops.aten.add.Tensor,
        (Ref(one), Ref(other)), locality="pointwise", ops_per_element=1.0,
    )  # fmt: skip


def graph(*ops, outputs=None):
    """The ops behind an input ``x`` of the first one's input shape."""
    return LayerGraph("net", [InputOp("x", ops[0].input), *ops], outputs or [ops[-1].name])


def prepare(network, hw, frames, seed=0, **options):
    """Map, program and calibrate."""
    device = build(hw.device.kind, hw.device.parameters)
    written = program(map_graph(network, hw), device, seed)
    return calibrate(written, [(x,) for x in frames], seed, **options)


def run(network, hw, x, *, calibration=None, frame=0, seed=0, threads=1):
    """From graph to `Execution` of one frame, calibrated on itself by default."""
    ready = prepare(network, hw, [x] if calibration is None else calibration, seed, threads=threads)
    return execute(ready, (x,), frame, seed, threads)


def whole_numbers(shape, low, high, seed=0):
    """Random whole numbers that reach both ends, so that a calibrated step is exactly 1."""
    x = np.random.default_rng(seed).integers(low, high + 1, shape).astype(np.float32)
    x.reshape(-1)[0] = low
    x.reshape(-1)[-1] = high
    return x


@pytest.fixture
def lab():
    return SimpleNamespace(
        chip=chip, conv=conv, conv_oracle=conv_oracle, linear=linear, relu=relu, graph=graph,
        prepare=prepare, run=run, whole_numbers=whole_numbers,
    )  # fmt: skip
