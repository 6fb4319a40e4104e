"""Networks that are recorded without torch's compiler: the same graphs as torch.export's."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.errors import GraphError
from cimsim.frontends import plain, torch_export
from cimsim.session.loading import RANDOM, load_network, load_outline
from cimsim.studies.graphs import packed

NETWORKS = [
    ("cimnet", {"stride": 8}, (32, 48)),
    ("cimnet", {"stride": 2}, (20, 16)),
    ("cimnet", {"stride": 4, "stages": 2}, (17, 23)),  # padded and cropped
    ("fastdvdnet", {"width": 8, "per_frame": 4}, (16, 16)),
    ("baseline-o1", {"stride": 4}, (32, 32)),
    ("abla-net", {"stride": 2}, (16, 16)),
    ("dncnn", {}, (12, 16)),
    ("foldnet", {}, (32, 32)),
    ("ffdnet", {}, (12, 16)),
]


@pytest.mark.parametrize(("name", "options", "size"), NETWORKS)
def test_recorded_graph_is_the_exported_one(name, options, size, monkeypatch):
    network = load_network(name, options, RANDOM)
    example = network.example(*size)
    assert plain.recorded(network.module, example) is not None
    recorded, arrays = packed(cimsim.trace(network.module, example))
    monkeypatch.setattr(torch_export, "recorded", lambda *_: None)
    exported, others = packed(cimsim.trace(network.module, example))
    assert recorded == exported
    assert all(np.array_equal(array, others[key]) for key, array in arrays.items())


def test_compiler_of_torch_is_not_loaded():
    code = (
        "import sys, cimsim; from cimsim.session.loading import load_network; "
        "n = load_network('cimnet', {'stride': 2}, 'random'); "
        "cimsim.trace(n.module, n.example(16, 16)); "
        "sys.exit('torch._dynamo' in sys.modules or 'sympy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_network_of_the_users_is_exported():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.conv(x)

    assert plain.recorded(Own(), (torch.zeros(1, 3, 4, 4),)) is None


def test_wrong_shapes_are_refused_as_by_torch():
    network = load_network("cimnet", {"stride": 8}, RANDOM)
    frames, noise = network.example(32, 32)
    assert plain.recorded(network.module, (frames[:, :6], noise)) is None
    with pytest.raises(GraphError, match="export failed"):
        cimsim.trace(network.module, (frames[:, :6], noise))


def test_a_weight_that_stands_in_two_places_is_exported():
    network = load_network("dncnn", {}, RANDOM)
    layers = [part for part in network.module.modules() if isinstance(part, nn.Conv2d)]
    layers[2].weight = layers[3].weight
    assert not plain.is_plain(network.module)


def test_outline_has_the_shapes_and_no_memory():
    options = {"stride": 2}
    whole, outline = (
        load(name="cimnet", options=options)
        for load in (lambda name, options: load_network(name, options, RANDOM), load_outline)
    )
    known, found = (cimsim.trace(net.module, net.example(16, 16)) for net in (whole, outline))
    assert [op.output for op in known] == [op.output for op in found]
    for op, other in zip(known.matrix_ops, found.matrix_ops, strict=True):
        assert (op.name, op.weights_id, op.weight.shape) == (
            other.name, other.weights_id, other.weight.shape,
        )  # fmt: skip
        assert not any(other.weight.strides)
