"""Networks of aihwkit-lightning: their learned ranges become those of the chip."""

import pytest
import torch
from torch import nn

pytest.importorskip("aihwkit_lightning")
from aihwkit_lightning.nn import AnalogConv2d, AnalogLinear
from aihwkit_lightning.nn.conversion import convert_to_analog
from aihwkit_lightning.optim import AnalogOptimizer
from aihwkit_lightning.simulator.configs import (
    TorchInferenceRPUConfig,
    WeightNoiseInjectionType,
)

import cimsim
from cimsim.frontends.trainers import lowered, trained_for
from cimsim.tasks.questions import Classification
from cimsim.tasks.sources import Arrays
from cimsim.timing.simulate import simulate


def config(rows=-1, out=254):
    made = TorchInferenceRPUConfig()
    made.pre_post.input_range.enable = True
    made.pre_post.input_range.init_from_data = 5
    made.forward.inp_res, made.forward.out_res, made.forward.out_bound = 254, out, 12.0
    # without a type the deviation is not used
    made.modifier.noise_type = WeightNoiseInjectionType.ADD_NORMAL
    made.modifier.std_dev, made.mapping.max_input_size = 0.03, rows
    return made


def data(count, seed):
    rng = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (count,), generator=rng)
    centres = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(9))
    return centres[y] + 2.5 * torch.randn(count, 3, 8, 8, generator=rng), y


def trained(steps=60):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, 4)
    )
    net = convert_to_analog(net, config())
    optimizer = AnalogOptimizer(torch.optim.SGD, net.analog_layers, net.parameters(), lr=0.05)
    net.train()
    for step in range(steps):
        x, y = data(64, step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()


def test_a_trained_network_comes_in_with_its_ranges_and_is_asked():
    net = trained()
    assert trained_for(net) == {"inputs.bits": 8, "adc.bits": 8}
    x, y = data(120, 1000)
    with torch.no_grad():
        there = float((net(x).argmax(1) == y).float().mean())
    graph = cimsim.trace(net, (x[:1],), name="trained")
    assert [op.kind for op in graph.matrix_ops] == ["conv2d", "linear"]
    for op, layer in zip(graph.matrix_ops, net.analog_layers(), strict=True):
        assert op.rounding.ends[1] == pytest.approx(float(layer.input_range[0].detach()))
        assert op.rounding.high == 127
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm", trained_for(net)))
    task = Classification(source=Arrays((x.numpy(),), y.numpy()), samples=100, calibration=16)
    result = cimsim.run(mapping, task)
    here = next(m for m in result.measures if m.name == "top1")
    assert there > 0.6
    assert abs(here.reference - 100 * there) < 3
    assert abs(here.chip[0] - 100 * there) < 10
    assert result.energy.total_j > 0
    assert simulate(mapping).interval > 0


@pytest.mark.parametrize("rows", [-1, 40])
def test_inputs_are_clipped_and_rounded_as_there(rows):
    torch.manual_seed(0)
    layer = AnalogLinear(100, 6, rpu_config=config(rows, out=-1)).eval()
    with torch.no_grad():
        layer.input_range.copy_(torch.linspace(0.7, 1.3, len(layer.in_sizes)))
    layer.rpu_config.forward.out_bound = 0.0
    x = torch.randn(5, 100)
    with torch.no_grad():
        assert float((lowered(layer)(x) - layer(x.clone())).abs().max()) < 1e-5
    assert lowered(layer) is not layer
    convolution = AnalogConv2d(3, 4, 3, padding=1, rpu_config=config(out=-1)).eval()
    convolution.rpu_config.forward.out_bound = 0.0
    x = 2 * torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        assert float((lowered(convolution)(x) - convolution(x.clone())).abs().max()) < 1e-5


def test_layers_that_learn_their_weights_ranges_keep_their_own_arithmetic():
    made = config()
    made.modifier.quantization_type = type(made.modifier.quantization_type)["DISCRETIZE"]
    made.modifier.res = 254
    layer = AnalogLinear(6, 3, rpu_config=made)
    assert type(lowered(nn.Sequential(layer))[0]) is AnalogLinear


def test_other_modules_stay_as_they_are():
    plain = nn.Linear(3, 4)
    assert lowered(plain) is plain
    assert trained_for(plain) == {}
