"""Networks that are asked for a class: shapes, roundings, and what chips take of them."""

import numpy as np
import pytest
import torch

import cimsim
from cimsim.chip.load import load_hw
from cimsim.engine.samples import collect
from cimsim.session.loading import load_network
from cimsim.zoo import registry
from cimsim.zoo.cifar import FULL_SCALE, Activation, ResNet9, ResNet20
from cimsim.zoo.weights import shipped_cards


def shapes_of(net):
    return [tuple(p.shape) for name, p in net.named_parameters() if p.dim() > 1]


def test_resnet20_is_the_published_one():
    shapes = shapes_of(ResNet20())
    expected = [(16, 3, 3, 3), *[(16, 16, 3, 3)] * 6]
    for before, after in ((16, 32), (32, 64)):
        expected += [(after, before, 3, 3), (after, after, 3, 3), (after, before, 1, 1)]
        expected += [(after, after, 3, 3)] * 4
    assert sorted(shapes) == sorted([*expected, (10, 64)])
    assert sum(np.prod(shape) for shape in shapes) == 270_896


def test_the_second_layer_of_resnet9_fills_the_rows_of_a_core():
    shapes = shapes_of(ResNet9())
    assert len(shapes) == 9
    assert 9 * shapes[1][1] == 252


@pytest.mark.parametrize("name", registry.CLASSIFIERS)
def test_the_graph_computes_what_the_network_does(name):
    torch.manual_seed(0)
    net = registry.build(name).eval()
    x = torch.rand([int(n) for n in net.shapes[0].split("x")])
    graph = cimsim.trace(net, (x,))
    with torch.no_grad():
        wanted = net(x)
    torch.testing.assert_close(graph.reference(x)[0], wanted, atol=1e-4, rtol=1e-4)
    assert wanted.shape == (1, 10)


def test_activations_round_alike_with_and_without_gradients():
    act = Activation(3, 1.4)
    x = torch.linspace(-1, 2, 997, requires_grad=True)
    with torch.no_grad():
        plain = act(x)
    trained = act(x)
    torch.testing.assert_close(trained, plain)
    steps = trained.detach() / (1.4 / 7)
    torch.testing.assert_close(steps, steps.round(), atol=1e-5, rtol=0)
    assert int(steps.round().max()) == 7
    assert int(steps.round().min()) == 0
    trained.sum().backward()
    inside = (x > 0) & (x < 1.4)
    assert torch.equal(x.grad != 0, inside.detach())
    assert act.clip.grad == pytest.approx(float((x > 1.4).sum()))


def test_a_chip_of_as_many_bits_takes_the_steps_of_the_network():
    torch.manual_seed(0)
    net = ResNet20().eval()
    with torch.no_grad():
        for n, act in enumerate(m for m in net.modules() if isinstance(m, Activation)):
            act.clip.copy_(torch.tensor(FULL_SCALE if n == 0 else 0.5 + 0.1 * n))
    x = torch.rand(1, 3, 32, 32)
    graph, chip = cimsim.trace(net, (x,)), load_hw("neurram130nm")
    samples = collect(graph, chip, [(x,)])
    clips = {round(float(m.clip.detach()), 4) for m in net.modules() if isinstance(m, Activation)}
    scales = set()
    for op in graph.matrix_ops:
        code = samples[op.name].code(chip, op)
        assert code.zero_point == 0
        scales.add(round(7 * code.scale, 4))
    assert scales == clips


@pytest.mark.parametrize("task", ["keywords", "classification"])
def test_shipped_weights_load(task):
    for card in shipped_cards(task):
        network = load_network(card.model, weights=card.file)
        assert network.card is not None
        assert max(network.card.accuracy.values()) > 50
        assert card.file.stat().st_size < 2.6e6
        assert card.sigma == ()
        assert not card.covers(15)
