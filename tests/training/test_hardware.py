from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.chip.cells import build
from cimsim.chip.load import load_hw
from cimsim.engine.calibrate import calibrate
from cimsim.engine.execute import execute
from cimsim.engine.program import program
from cimsim.engine.rounding import round_to_inputs
from cimsim.engine.samples import collect
from cimsim.errors import ConfigError, SimulationError
from cimsim.training.cells import Cells
from cimsim.training.hardware import ChipInTheLoop

PLAIN = {"calibration.column_gain": False, "calibration.column_offset": False}
SMALL = {"weights.rounding": "nearest", "array.rows": 64, "array.cols": 32, "tile.count": 4000}
QUIET = {"device.sigma_program": 0, "device.sigma_read": 0}
FINE = QUIET | {"weights.bits": 16, "inputs.bits": 16, "dac.bits": 16, "adc.kind": "ideal",
                "inputs.percentile": 100}  # fmt: skip


class Net(nn.Module):
    """Groups that share an array, stride, split rows, norms with and without bias, a shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(6, 12, 3, padding=1, groups=3, bias=False)
        self.first_norm = nn.BatchNorm2d(12)
        self.down = nn.Conv2d(12, 16, 5, stride=2, padding=2)
        self.down_norm = nn.BatchNorm2d(16)
        self.last = nn.Conv2d(16, 12, 3, padding=1)
        self.up = nn.PixelShuffle(2)

    def forward(self, x, noise_map):
        full = torch.relu(self.first_norm(self.first(torch.cat([x, noise_map], 1))))
        return self.up(self.last(torch.relu(self.down_norm(self.down(full)))))


def network():
    torch.manual_seed(0)
    net = Net().eval()
    for norm in (net.first_norm, net.down_norm):
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.3, 3)
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias, 0, 0.3)
    return net


def batch(n=1, seed=1):
    x = torch.rand(n, 5, 24, 28, generator=torch.Generator().manual_seed(seed)) - 0.2
    return x, torch.full((n, 1, 24, 28), 0.06)


def chip(overrides=()):
    return load_hw("eflash40nm", SMALL | dict(overrides))


def in_loop(net, overrides=(), inputs=None):
    loop = ChipInTheLoop(net, chip(overrides))
    loop.calibrate(*(batch() if inputs is None else inputs))
    return loop


def on_chip(loop, net, inputs, seed=0):
    with torch.no_grad(), loop.applied(seed):
        return net(*inputs)


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        ({"adc.kind": "ideal"}, 0),
        (PLAIN, 0.05),
        (PLAIN | {"adc.scope": "layer", "adc.bits": 6, "adc.percentile": 98}, 0.05),
        (PLAIN | {"adc.method": "least_error", "adc.bits": 5}, 0.05),
        (PLAIN | {"adc.range": "full", "adc.bits": 14, "weights.scale": "layer"}, 3.0),
        (PLAIN | {"weights.scale": "column", "inputs.percentile": 95}, 0.05),
        ({"calibration.column_gain": True, "calibration.column_offset": True}, 3.0),
    ],
    # full: no current lies exactly between two codes, and the last bit of a float decides;
    # corrected: the fit is of other samples
    ids=["ideal adc", "default", "coarse", "least error", "full", "clipped inputs", "corrected"],
)
def test_without_errors_the_network_computes_what_the_engine_does(overrides, steps):
    net, inputs = network(), batch()
    hw = chip(QUIET | overrides)
    mapping = cimsim.map_graph(cimsim.trace(net, inputs), hw)
    device = build(hw.device.kind, hw.device.parameters)
    ready = calibrate(program(mapping, device, 0), [inputs], 0, threads=1)
    engine = execute(ready, inputs, 0, 0, threads=1).outputs[0]
    loop = in_loop(net, QUIET | overrides)
    got = on_chip(loop, net, inputs)
    # what a step of the last layer's converters is worth at the output
    last = ready.ops["last"]
    scale = float(ready.programmed.layer_of("last").scales.max()) * last.code.scale
    lsb = max(r.lsb for r in last.ranges) * scale
    assert float((got - engine).abs().max()) < steps * lsb + 1e-6
    for layer in loop.layers:
        assert layer.ranges.code.scale == pytest.approx(ready.ops[layer.name].code.scale, rel=1e-6)
        assert layer.ranges.code.zero_point == ready.ops[layer.name].code.zero_point
    assert float((got - net(*inputs).detach()).abs().max()) > 0


@pytest.mark.parametrize("bits", [4, 6])
def test_few_bits_are_rounded_to_the_inputs_as_the_engine_rounds_them(bits):
    net, inputs = network(), batch()
    hw = chip(QUIET | {"weights.rounding": "inputs", "weights.bits": bits})
    mapping = cimsim.map_graph(cimsim.trace(net, inputs), hw)
    samples = collect(mapping.graph, hw, [inputs])
    integers = round_to_inputs(mapping, samples, threads=1)
    loop = ChipInTheLoop(net, hw)
    loop.calibrate(*inputs)
    for layer in loop.layers:
        found = layer.write(0).cells.detach().numpy()
        q = next(q for name, q in integers.items() if name.startswith(layer.name + "*")
                 or name == layer.name)  # fmt: skip
        wanted = np.swapaxes(q, 1, 2)
        assert np.abs(found - np.rint(found)).max() < 1e-3
        assert (np.rint(found) == wanted).mean() > 0.97  # sampled windows differ
        nearest = np.rint(layer._scaled(layer._folded()[0])[0].detach().numpy())
        assert (np.rint(found) != nearest).mean() > 0.05


def test_between_calibrations_weights_move_and_keep_their_rounding():
    net = network()
    loop = in_loop(net, QUIET | {"weights.rounding": "inputs", "weights.bits": 4})
    layer = loop.layers[1]
    before = layer.write(0).cells.detach().clone()
    with torch.no_grad():
        layer.matrix.weight[0, 0, 0, 0] += 1e-3 * layer.matrix.weight.abs().max()
    moved = layer.write(0).cells.detach() - before
    assert float(moved.abs().max()) > 0
    assert int((moved.abs() > 1e-6).sum()) == 1
    other = ChipInTheLoop(net, loop.chip)
    other.load_state_dict(loop.state_dict())
    assert torch.equal(other.layers[1].write(0).cells, layer.write(0).cells)


def test_with_fine_steps_and_no_errors_outputs_and_gradients_are_those_of_the_float_network():
    net, (x, noise_map) = network(), batch()
    loop = in_loop(net, FINE)
    target = torch.rand(1, 3, 24, 28, generator=torch.Generator().manual_seed(2))
    found = []
    for chipped in (False, True):
        x = x.detach().clone().requires_grad_()
        net.zero_grad()
        if chipped:
            with loop.applied(0):
                loss = (net(x, noise_map) - target).square().mean()
                loss.backward()
        else:
            loss = (net(x, noise_map) - target).square().mean()
            loss.backward()
        found.append([loss.detach(), x.grad, *(p.grad.clone() for p in net.parameters())])
    names = ["loss", "input", *(name for name, _ in net.named_parameters())]
    for name, want, got in zip(names, *found, strict=True):
        error = float((got - want).norm() / want.norm())
        assert error < 5e-3, name


@pytest.mark.parametrize("rule", ["layer", "column", "balanced"])
def test_the_largest_weight_learns_what_its_scale_costs(rule):
    """Errors are so many LSB: a larger scale makes all of them larger, against differences."""
    torch.manual_seed(0)
    net = nn.Conv2d(3, 4, 3, bias=False)
    x = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(1)) - 0.3
    exact = {"adc.kind": "ideal", "inputs.bits": 16, "dac.bits": 16, "inputs.percentile": 100}
    loop = in_loop(net, PLAIN | exact | {"weights.rounding": "inputs", "weights.scale": rule}, (x,))
    (layer,) = loop.layers
    flat = torch.full_like(layer.cells.sigma, 3.0)  # else an error changes with its weight, too
    layer._cells = Cells(torch.zeros_like(flat), flat, layer.cells.read_variance)
    target = torch.randn(1, 4, 10, 10, generator=torch.Generator().manual_seed(2))

    def loss():
        with loop.applied(7):
            return (net(x) * target).double().sum()

    loss().backward()
    largest = int(net.weight.detach().abs().argmax())
    learnt = net.weight.grad.flatten()[largest]
    ends = []
    for change in (3e-4, -3e-4):
        with torch.no_grad():
            net.weight.view(-1)[largest] += change
            ends.append(loss())
            net.weight.view(-1)[largest] -= change
    slope = (ends[0] - ends[1]) / 6e-4
    assert float(learnt) == pytest.approx(float(slope), rel=2e-3)
    out = nn.functional.conv2d(x, torch.eye(27).reshape(27, 3, 3, 3))
    of_float = (out[0, largest % 27] * target[0, largest // 27]).sum()
    assert abs(float(learnt) - float(of_float)) > 0.1  # what a plain network would learn


def test_a_matrix_of_zeros_has_finite_gradients():
    net = nn.Conv2d(3, 4, 3, bias=False)
    nn.init.zeros_(net.weight)
    x = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    loop = in_loop(net, {}, (x,))
    with loop.applied(0):
        net(x).sum().backward()
    assert bool(torch.isfinite(net.weight.grad).all())


def test_gradients_are_finite_with_everything_on_and_vanish_where_inputs_are_clipped():
    net = network().train()
    loop = in_loop(net, {"inputs.percentile": 90, "adc.noise_lsb": 0.5})
    x, noise_map = batch(2, seed=5)
    x = x.requires_grad_()
    with loop.applied(3):
        net(x, noise_map).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert float(parameter.grad.abs().max()) > 0, name
    code = loop.layers[0].ranges.code
    level = x.detach() / code.scale + code.zero_point
    outside = (level < -0.5) | (level > code.top + 0.5)
    assert 0.01 < float(outside.float().mean()) < 0.3
    assert not x.grad[outside].any()
    assert float((x.grad[~outside] != 0).float().mean()) > 0.9  # the ReLUs stop some


def test_more_bits_bring_the_network_closer_to_float():
    net, inputs = network(), batch()
    exact = net(*inputs).detach()
    errors = []
    for bits in (4, 6, 8, 10):
        loop = in_loop(net, QUIET | {"adc.bits": bits, "adc.percentile": 100, "weights.bits": 12,
                                     "inputs.percentile": 100})  # fmt: skip
        errors.append(float((on_chip(loop, net, inputs) - exact).square().mean().sqrt()))
    assert all(few > 1.5 * more for few, more in itertools.pairwise(errors)), errors


def test_larger_programming_error_does_more():
    net, inputs = network(), batch()
    exact = net(*inputs).detach()
    errors = []
    for sigma in ("0", "1 %", "2 %", "4 %", "8 %"):
        loop = in_loop(net, {"device.sigma_program": sigma})
        draws = [on_chip(loop, net, inputs, seed) - exact for seed in range(8)]
        errors.append(float(torch.stack(draws).square().mean().sqrt()))
    assert errors == sorted(errors)
    assert errors[-1] > 3 * errors[1]


def test_a_seed_is_a_chip():
    net, inputs = network(), batch()
    loop = in_loop(net)
    first = on_chip(loop, net, inputs, 7)
    assert torch.equal(on_chip(loop, net, inputs, 7), first)
    assert not torch.equal(on_chip(loop, net, inputs, 8), first)
    with torch.no_grad(), loop.applied(7):
        again = [net(*inputs), net(*inputs)]
    assert torch.equal(again[0], first)
    # the same cells, read anew: without read noise there is nothing new
    assert not torch.equal(again[0], again[1])
    loop = in_loop(net, {"device.sigma_read": 0})
    with torch.no_grad(), loop.applied(7):
        assert torch.equal(net(*inputs), net(*inputs))


def test_what_is_written_without_gradients_does_not_serve_a_pass_with_them():
    net, inputs = network(), batch()
    loop = in_loop(net, {"device.sigma_read": 0})
    with loop.applied(0):
        with torch.no_grad():
            plain = net(*inputs)
        graded = net(*inputs)
        graded.sum().backward()
    assert torch.equal(plain, graded.detach())
    assert all(p.grad is not None for p in net.parameters())


def test_the_network_is_untouched_outside_even_after_an_error():
    net, inputs = network(), batch()
    net.down.train()
    loop = ChipInTheLoop(net, chip())
    state = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [part.training for part in net.modules()]
    want = net(*inputs).detach()
    loop.calibrate(*inputs)
    assert [part.training for part in net.modules()] == modes
    net.train()
    with loop.applied(0):
        assert not torch.equal(net(*inputs).detach(), want)
        assert list(net.state_dict()) == list(state)
    with pytest.raises(RuntimeError, match="channels"), loop.applied(0):
        net(torch.zeros(1, 4, 24, 28), inputs[1])
    with pytest.raises(RuntimeError, match="channels"):
        loop.calibrate(torch.zeros(1, 4, 24, 28), inputs[1])
    net.eval()
    assert torch.equal(net(*inputs).detach(), want)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert all("forward" not in part.__dict__ for part in net.modules())


def test_batch_norms_are_folded_by_running_statistics_in_training_mode_too():
    net, inputs = network(), batch(3)
    loop = in_loop(net)
    want = on_chip(loop, net, inputs)
    net.train()
    before = net.first_norm.running_mean.clone()
    assert torch.equal(on_chip(loop, net, inputs), want)
    assert torch.equal(net.first_norm.running_mean, before)


class Lonely(nn.Module):
    """A norm with no matrix before it stays digital; a matrix is used twice; a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(5)
        self.conv = nn.Conv2d(5, 5, 3, padding=1)
        self.head = nn.Linear(5, 3)

    def forward(self, x, noise_map):
        y = self.conv(torch.relu(self.conv(self.norm(x))) + noise_map)
        return self.head(y.mean((2, 3)))


def test_other_shapes_of_networks_compute_on_the_chip():
    torch.manual_seed(0)
    net, inputs = Lonely().eval(), batch(2)
    net.norm.running_var.fill_(0.5)
    loop = in_loop(net, FINE, inputs)
    net.train()
    got = on_chip(loop, net, inputs)
    torch.testing.assert_close(got, net.eval()(*inputs), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_layout_and_autocast_change_little(layout):
    net, inputs = network(), batch()
    loop = in_loop(net, {"device.sigma_read": 0})
    want = on_chip(loop, net, inputs)
    net.to(memory_format=layout)
    moved = tuple(part.to(memory_format=layout) for part in inputs)
    torch.testing.assert_close(on_chip(loop, net, moved), want, rtol=0, atol=0.03 * want.std())
    with torch.autocast("cpu", torch.bfloat16):
        low = on_chip(loop, net, moved)
    assert low.dtype == torch.float32
    assert 0 < float((low - want).square().mean().sqrt()) < 0.05 * want.std()


def test_ranges_round_trip_and_are_renewed_by_every_calibration(tmp_path):
    net, inputs = network(), batch()
    loop = in_loop(net)
    want = on_chip(loop, net, inputs, 5)
    torch.save(loop.state_dict(), tmp_path / "ranges.pt")
    other = ChipInTheLoop(net, chip())
    other.load_state_dict(torch.load(tmp_path / "ranges.pt", weights_only=True))
    assert torch.equal(on_chip(other, net, inputs, 5), want)
    top = loop.layers[0].ranges.code.scale
    for held in (loop, other):
        held.calibrate(3 * inputs[0], inputs[1])
    assert torch.equal(on_chip(other, net, inputs, 5), on_chip(loop, net, inputs, 5))
    assert loop.layers[0].ranges.code.scale > 1.1 * top
    loop.calibrate(*inputs)
    assert torch.equal(on_chip(loop, net, inputs, 5), want)
    state = loop.state_dict()
    with pytest.raises(ConfigError, match=r"layer 'fist' is unknown.*did you mean first"):
        loop.load_state_dict(
            {name.replace("first", "fist"): value for name, value in state.items()}
        )
    with pytest.raises(ConfigError, match="layer 'last': input_range is missing"):
        loop.load_state_dict({k: v for k, v in state.items() if not k.startswith("last")})
    with pytest.raises(ConfigError, match="layer 'first' are of another chip"):
        ChipInTheLoop(net, chip({"array.cols": 5})).load_state_dict(state)


def test_a_chip_without_ranges_is_refused():
    net = network()
    with (
        pytest.raises(SimulationError, match=r"layer 'first' has no ranges; call calibrate"),
        ChipInTheLoop(net, chip()).applied(0),
    ):
        pass
    with pytest.raises(SimulationError, match=r"layer 'first': its input .* NaN"):
        in_loop(net, inputs=(torch.full((1, 5, 24, 28), torch.nan), batch()[1]))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"dac.bits": 2},
            r"dac.bits: .* one pulse; with 2 of 8 bits they take 4.*--set dac.bits=8",
        ),
        ({"conditions.temperature": "85 C"}, r"conditions: hardware-aware training draws sound"),
        ({"faults.stuck_on": "1 %"}, r"faults: hardware-aware training draws sound cells"),
        ({"weights.cell_bits": 3}, r"weights.cell_bits: .* with 3 of 7 bits a cell it takes 3"),
        (
            {"weights.encoding": "offset"},
            r"weights.encoding: .* differential only, got offset.*--set weights.encoding=differ",
        ),
        ({"inputs.signed": "phases"}, r"inputs.signed: .* knows offset only, got phases"),
        ({"adc.range": "power2"}, r"adc.range: .* got power2.*--set adc.range=calibrated"),
        ({"adc.inl_bow_lsb": 0.5}, r"adc.inl_bow_lsb: .* knows 0.0 only, got 0.5"),
        (
            {"adc.kind": "tests.plugs.subranging:Subranging"},
            r"adc.kind: .* without curves only, got tests.*--set adc.kind=sar",
        ),
        ({"dac.gain_sigma": "1 %"}, r"dac.gain_sigma: .* knows 0.0 only, got 0.01"),
    ],
)
def test_chips_that_cannot_be_modelled_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        ChipInTheLoop(network(), chip(overrides))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (nn.ConvTranspose2d(5, 3, 2), "layer '0': ConvTranspose2d cannot be modelled"),
        (nn.Conv2d(5, 3, 3, padding=1, padding_mode="reflect"), "layer '0': padding_mode: expec"),
        (nn.BatchNorm2d(5, track_running_stats=False), "batch norm '0': track_running_stats"),
        (nn.ReLU(), "no Conv2d and no Linear"),
    ],
)
def test_layers_that_cannot_be_modelled_are_named(part, message):
    with pytest.raises(ConfigError, match=message):
        ChipInTheLoop(nn.Sequential(part), chip())


def test_a_norm_that_does_not_follow_its_matrix_is_named():
    class Crossed(nn.Sequential):
        def forward(self, x, noise_map):
            return super().forward(x)

    net = Crossed(nn.Conv2d(5, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    loop = ChipInTheLoop(net, chip())
    with pytest.raises(ConfigError, match="batch norm after layer '0' does not take"):
        loop.calibrate(*batch())
    assert all("forward" not in part.__dict__ for part in net.modules())


@pytest.mark.parametrize("name", ["cimnet", "fastdvdnet-block", "baseline-o2", "ffdnet"])
def test_networks_of_the_zoo_take_a_step(name):
    from cimsim.zoo import registry

    torch.manual_seed(0)
    net = registry.build(name, **({"stride": 4} if "stride" in registry.info(name).options else {}))
    loop = ChipInTheLoop(net, load_hw("eflash40nm"))
    x = torch.rand(1, 3 * net.n_frames, 32, 32)
    noise_map = torch.full((1, 1, 32, 32), 0.06)
    loop.calibrate(x, noise_map)
    exact = net.eval()(x, noise_map).detach()
    with loop.applied(0):
        y = net(x, noise_map)
        y.square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert 0 < float((y - exact).detach().square().mean().sqrt()) < float(exact.std())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_computes_what_the_cpu_does():
    net, inputs = network(), batch()
    loop = in_loop(net, QUIET | PLAIN)
    want = on_chip(loop, net, inputs)
    net.cuda()
    moved = tuple(part.cuda() for part in inputs)
    other = in_loop(net, QUIET | PLAIN, moved)
    got = on_chip(other, net, moved).cpu()
    torch.testing.assert_close(got, want, rtol=0, atol=0.03 * float(want.std()))
