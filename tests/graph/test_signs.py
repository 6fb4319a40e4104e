"""Which layers are proven to see no negative input: checked against what they really see."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import cimsim
from cimsim.graph.reference import run


class Net(nn.Module):
    """Convolutions behind one operation each."""

    def __init__(self, *between):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.between = between

    def forward(self, x):
        y = self.first(x)
        for step in self.between:
            y = step(y)
        return self.second(y)


PROVEN = {
    "relu": (torch.relu,),
    "relu6": (functional.relu6,),
    "sigmoid": (torch.sigmoid,),
    "clamp": (lambda y: y.clamp(0, 1),),
    "clamp from below": (lambda y: y.clamp(min=0.1),),
    "pool": (torch.relu, lambda y: functional.max_pool2d(y, 2)),
    "mean": (torch.relu, lambda y: functional.avg_pool2d(y, 2)),
    "sum of two": (torch.relu, lambda y: y + 0.5 * y),
    "padded": (torch.relu, lambda y: functional.pad(y, (1, 1, 1, 1), value=0.5)),
    "moved": (torch.relu, lambda y: y.flip(1).reshape(1, 8, -1, 4).permute(0, 1, 3, 2)),
    "joined": (torch.relu, lambda y: torch.cat([y[:, :4], y[:, 4:]], 1)),
    "upsampled": (torch.relu, lambda y: functional.interpolate(y, scale_factor=2)),
}
NOT_PROVEN = {
    "nothing": (),
    "leaky": (lambda y: functional.leaky_relu(y, 0.1),),
    "difference": (torch.relu, lambda y: y - 1),
    "negative factor": (torch.relu, lambda y: y * -0.5),
    "negative constant": (torch.relu, lambda y: y + (-1.0)),
    "negative padding value": (torch.relu, lambda y: functional.pad(y, (1, 1), value=-1.0)),
    "tanh": (torch.tanh,),
    "clamp from above": (lambda y: y.clamp(max=1),),
    "clamp to both signs": (lambda y: y.clamp(-1, 1),),
    "bicubic": (
        torch.relu, lambda y: functional.interpolate(y, scale_factor=2, mode="bicubic"),
    ),
}  # fmt: skip


def smallest_inputs(graph, x):
    found = {}

    def capture(op, value):
        found[op.name] = float(value.min())

    run(graph, x, capture=capture)
    return found


@pytest.mark.parametrize("name", [*PROVEN, *NOT_PROVEN])
def test_signs(name):
    torch.manual_seed(0)
    net = Net(*(PROVEN | NOT_PROVEN)[name]).eval()
    graph = cimsim.trace(net, (torch.zeros(1, 3, 8, 8),))
    first, second = graph.matrix_ops
    assert first.signed
    assert second.signed == (name in NOT_PROVEN)
    smallest = smallest_inputs(graph, torch.randn(1, 3, 8, 8) * 3)
    assert smallest[first.name] < 0
    if not second.signed:
        assert smallest[second.name] >= 0


ZOO = ["cimnet", "fastdvdnet-block", "baseline-o2", "dncnn", "ffdnet"]


@pytest.mark.parametrize("name", ZOO)
def test_no_layer_of_the_zoo_sees_a_negative_input_that_was_excluded(name):
    options = {"coarse": 1} if name == "cimnet" else {}
    network = cimsim.load_network(name, options, "random")
    graph = cimsim.trace(network.module, network.example(32, 32), name=name)
    inputs = [torch.randn(op.output.shape) for op in graph.inputs]
    found = {}

    def capture(op, value):
        found[op.name] = float(value.min())

    run(graph, *inputs, capture=capture)
    proven = [op.name for op in graph.matrix_ops if not op.signed]
    assert len(proven) > len(graph.matrix_ops) / 2
    assert min(found[op] for op in proven) >= 0


def test_layers_that_share_their_weights_share_the_answer():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return self.conv(torch.relu(self.conv(x)))

    graph = cimsim.trace(Shared().eval(), (torch.zeros(1, 3, 8, 8),))
    assert [op.signed for op in graph.matrix_ops] == [True, True]
