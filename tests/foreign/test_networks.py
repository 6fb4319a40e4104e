"""Foreign networks through all stages: traced, equal to torch, mapped, timed and executed.

The oracle of the execution is written here from the description in docs/model.md: weights and
inputs rounded to integers, an exact product, scale and bias, all in float64.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cimsim.chip.cells import device_of
from cimsim.chip.load import load_hw
from cimsim.engine.execute import execute
from cimsim.engine.prepare import prepare
from cimsim.errors import GraphError
from cimsim.frontends.torch_export import trace
from cimsim.mapping.mapping import map_graph
from cimsim.timing.simulate import simulate

_spec = importlib.util.spec_from_file_location("networks", Path(__file__).with_name("networks.py"))
networks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(networks)
NETS = networks.NETS

# one of each kind in the fast suite
FAST = {
    "einsum, columns of several heads", "einsum, a matrix for each head", "bmm, constant left",
    "einsum, bilinear", "einsum, two of each", "several factors", "multiplied and summed",
    "matmul, constant left", "bilinear", "conv3d, all bends", "transposed 1d", "conv1d",
    "transposed 3d, all bends", "lstm, both ways, two layers", "lstm, projections",
    "lstm, time first", "gru, state from outside", "rnn", "lstm cell", "channel shuffle",
    "window attention", "tokens", "complex numbers", "filter in the spectrum", "sparse constant",
    "system of equations",
}  # fmt: skip
EXACT = {
    "device.sigma_program": 0, "device.sigma_read": 0, "adc.kind": "ideal", "tile.count": 400,
    "calibration.column_gain": False, "calibration.column_offset": False,
    "inputs.percentile": 100, "weights.bits": 12, "inputs.bits": 14, "weights.scale": "layer",
    "weights.rounding": "nearest",
}  # fmt: skip


def integer_product(op, code, x):
    """What an exact chip makes of an input map: integers, their product, scale and bias."""
    low, top = -code.zero_point, code.top - code.zero_point
    whole = (x.double() / code.scale).round().clamp(low, top)
    step = float(np.abs(op.weight).max()) / (2**11 - 1)
    q = torch.from_numpy(np.rint(op.weight.astype(np.float64) / step))
    bias = 0 if op.bias is None else torch.from_numpy(op.bias.astype(np.float64))
    if op.layout == "last":
        return whole @ q[0] * (step * code.scale) + bias
    k_y, k_x = op.window.kernel
    top_, bottom, left, right = op.window.padding
    kernel = q.reshape(op.groups, k_y, k_x, -1, op.group_cols).permute(0, 4, 3, 1, 2)
    kernel = kernel.reshape(op.n_cols, -1, k_y, k_x)
    y = functional.conv2d(
        functional.pad(whole, (left, right, top_, bottom)), kernel, None, op.window.stride, 0,
        op.window.dilation, op.groups,
    )  # fmt: skip
    y = y * (step * code.scale) + (0 if op.bias is None else bias[:, None, None])
    channels, high, wide = op.out_block
    b, _, rows, cols = y.shape
    y = y.reshape(b, channels, high, wide, rows, cols).permute(0, 1, 4, 2, 5, 3)
    return y.reshape(b, channels, rows * high, cols * wide)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own advice
@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in NETS]
)
def test_a_network_goes_through_all_stages(name):
    module, inputs = NETS[name]
    module.eval()
    with torch.no_grad():
        want = module(*inputs)
    want = want if isinstance(want, tuple) else (want,)
    graph = trace(module, inputs)
    for got, one in zip(graph.reference(*inputs), want, strict=True):
        assert got.shape == one.shape
        assert float((got - one).abs().max()) <= 1e-5 * float(one.abs().max())
    assert not graph.uncosted

    hw = load_hw("eflash40nm", EXACT)
    mapping = map_graph(graph, hw)
    assert simulate(mapping).interval > 0
    others = [
        tuple(torch.randn_like(x) if x.is_floating_point() else x for x in inputs) for _ in range(3)
    ]
    ready = prepare(mapping, device_of(hw), [*others, inputs], 0)
    met = []

    def compare(op, x, y):
        met.append(op.name)
        exact = integer_product(op, ready.ops[op.name].code, x)
        size = float(exact.abs().max())
        assert float((y.double() - exact).abs().max()) <= 4e-7 * max(size, 1e-30), op.name

    done = execute(ready, inputs, 0, 0, capture=compare)
    assert met == [op.name for op in graph.matrix_ops]
    for got, one in zip(done.outputs, want, strict=True):
        # 12-bit weights and 14-bit inputs
        error = (got - one).square().mean().sqrt()
        assert float(error) < 5e-3 * float(one.square().mean().sqrt())


def steps_of(module, steps):
    """Mapping and latency of a module that reads ``steps`` time steps."""
    hw = load_hw("eflash40nm", EXACT)
    mapping = map_graph(trace(module.eval(), (torch.randn(1, steps, 6),)), hw)
    return mapping, simulate(mapping).cycles_first_frame


@pytest.mark.slow
def test_a_recurrent_layer_has_its_weights_once_and_takes_time_for_each_step():
    torch.manual_seed(0)
    layer, cell = networks.Recurrent("LSTM", 6, 12, batch_first=True), networks.Cells("LSTMCell")
    cell.cell.weight_ih.data = layer.r.weight_ih_l0.data
    times = {}
    for steps in (4, 8, 12):
        mapping, times[steps] = steps_of(layer, steps)
        assert mapping.total.weights == 48 * (6 + 12)
        assert mapping.arrays_used == 2
        # one application of each matrix a step; the first state is zero
        assert [c.windows for c in mapping.counts.values()] == [1] * (2 * steps - 1)
        assert steps_of(cell, steps)[1] == pytest.approx(times[steps], rel=1e-3)
    each = times[8] - times[4]
    assert times[12] - times[8] == pytest.approx(each, rel=1e-2)
    assert each > 4 * 918  # one conversion of an array, four times


@pytest.mark.parametrize(
    ("shape", "options"), [((9, 3, 6), {}), ((3, 9, 6), {"batch_first": True})]
)
def test_a_batch_is_charged_per_sample_wherever_its_axis_is(shape, options):
    module = networks.Recurrent("LSTM", 6, 12, **options).eval()
    several = trace(module, (torch.randn(*shape),))
    assert several.batch == 3
    one = trace(module, (torch.randn(*(1 if n == 3 else n for n in shape)),))
    hw = load_hw("eflash40nm", EXACT)
    maps = [map_graph(graph, hw) for graph in (several, one)]
    assert maps[0].total == maps[1].total
    assert simulate(maps[0]).cycles_first_frame == simulate(maps[1]).cycles_first_frame


@pytest.mark.parametrize(("kind", "samples"), [("by hand", 3), ("cell", 3), ("cell", 40)])
def test_time_steps_of_one_matrix_are_calibrated_together(kind, samples):
    """Alone each step would see two samples: an error of 0.4 without any noise."""
    torch.manual_seed(0)
    module = (networks.LstmByHand() if kind == "by hand" else networks.Cells("LSTMCell")).eval()
    inputs = [(torch.randn(1, 20, 6),) for _ in range(samples + 1)]
    hw = load_hw("eflash40nm", {"device.sigma_program": 0, "device.sigma_read": 0})
    mapping = map_graph(trace(module, inputs[0]), hw)
    ready = prepare(mapping, device_of(hw), inputs[:-1], 0)
    for layer in mapping.layers:
        assert len({id(ready.ops[name]) for name in layer.ops}) == 1
        assert ready.ops[layer.ops[0]].windows == samples * len(layer.ops)
    got = execute(ready, inputs[-1], 0, 0).outputs[0]
    with torch.no_grad():
        want = module(*inputs[-1])
    assert float((got - want).square().mean().sqrt()) < 0.06 * float(want.square().mean().sqrt())


def test_a_weighted_sum_is_no_matrix():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.w = nn.Linear(6, 5), nn.Parameter(torch.randn(4, 1))

        def forward(self, x):
            return (self.a(x) * self.w).sum(1)

    graph = trace(Pooled(), (torch.randn(1, 4, 6),))
    assert [op.name for op in graph.matrix_ops] == ["a"]


def test_time_first_is_seen_behind_other_layers():
    class Front(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.r = nn.Linear(6, 5), nn.LSTM(5, 8)

        def forward(self, x):
            return self.r(self.a(x))[0][-1]

    graph = trace(Front(), (torch.randn(9, 2, 6),))
    assert graph.batch == 2
    assert graph["a"].windows == 9


def test_a_series_without_a_batch_is_refused():
    with pytest.raises(GraphError, match=r"needs an input \[B, C, L\] with a batch axis"):
        trace(nn.Conv1d(3, 4, 3), (torch.randn(3, 9),))
