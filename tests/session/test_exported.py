"""Networks from .pt2 files: the counts and values of the module they came from."""

import pytest
import torch
from torch import nn

import cimsim
from cimsim.errors import GraphError, InputError
from cimsim.session.exported import load_exported
from cimsim.session.loading import load_network, weights_hash


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(4, 5),
    ).eval()  # fmt: skip


def saved(path, dynamic=None):
    x = torch.randn(1, 3, 8, 8)
    torch.export.save(torch.export.export(net(), (x,), dynamic_shapes=dynamic), path)
    return str(path)


def test_a_file_is_the_network_that_it_came_from(tmp_path):
    loaded = load_network(saved(tmp_path / "net.pt2")).taking(None)
    x = torch.randn(1, 3, 8, 8)
    graph = cimsim.trace(loaded.module, loaded.example(1, 1))
    own = cimsim.trace(net(), (x,))
    assert [op.n_weights for op in graph.matrix_ops] == [op.n_weights for op in own.matrix_ops]
    torch.testing.assert_close(graph.reference(x)[0], net()(x))
    torch.testing.assert_close(loaded.module(x), net()(x))
    assert not loaded.random_weights
    assert weights_hash(loaded.module) == weights_hash(
        load_network(str(tmp_path / "net.pt2")).module
    )


def test_open_sizes_are_named_and_can_be_fixed(tmp_path):
    width = torch.export.Dim("width", min=4, max=64)
    name = saved(tmp_path / "net.pt2", ({3: width},))
    with pytest.raises(InputError, match=r"net: input 'input' has the shape .* --input-shape"):
        load_network(name).taking(None)
    loaded = load_network(name).taking(["1x3x8x16"])
    x = torch.randn(1, 3, 8, 16)
    graph = cimsim.trace(loaded.module, loaded.example(1, 1))
    torch.testing.assert_close(graph.reference(x)[0], net()(x))


def test_files_that_hold_no_program_are_refused(tmp_path):
    (tmp_path / "broken.pt2").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"broken\.pt2' cannot be read .* torch\.export\.save"):
        load_exported(tmp_path / "broken.pt2")
    with pytest.raises(InputError, match="no such file"):
        load_network(str(tmp_path / "none.pt2"))
    with pytest.raises(InputError, match="such files are not read"):
        load_network("net.tflite")
    with pytest.raises(InputError, match="has weights of its own"):
        load_network(saved(tmp_path / "net.pt2"), weights="w.pt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused_with_the_way_out():
    scripted = torch.jit.trace(net(), torch.randn(1, 3, 8, 8))
    with pytest.raises(GraphError, match=r"TorchScript .* \(\.pt2\)"):
        cimsim.trace(scripted, (torch.randn(1, 3, 8, 8),))
