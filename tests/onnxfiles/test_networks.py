"""The same network from torch, from an ONNX file and from a .pt2 file: the same answers."""

import math

import numpy as np
import pytest
import torch

import cimsim
import cimsim.tasks.contract
from cimsim.session.loading import load_network, weights_hash
from cimsim.timing.simulate import simulate
from tests.onnxfiles import nets

onnx = pytest.importorskip("onnx")
from onnx.reference import ReferenceEvaluator  # noqa: E402

from tests.onnxfiles.writer import write  # noqa: E402

CASES = {
    "resnet18": (lambda: nets.ResNet18(8, 10), (1, 3, 32, 32)),
    "mobilenetv2": (lambda: nets.MobileNetV2(0.25, 10), (1, 3, 32, 32)),
    "unet": (lambda: nets.UNet(4), (1, 3, 16, 32)),
    "transformer": (lambda: nets.Transformer(own=True), (1, 12)),
}


def made(name):
    build, shape = CASES[name]
    torch.manual_seed(0)
    module = nets.ready(build())
    x = torch.randint(0, 50, shape) if len(shape) == 2 else torch.randn(shape)
    return module, (x,)


def answers(graph):
    """Counts, arrays and cycles."""
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm", {"tile.count": 4000}))
    timeline = simulate(mapping)
    return {
        "macs": sum(op.n_weights * op.windows for op in graph.matrix_ops),
        "weights": sum(op.n_weights for op in graph.matrix_ops),
        "matrices": [(op.weight.shape, op.window, op.kind) for op in graph.matrix_ops],
        "digital": sum(op.ops_per_element * math.prod(op.output.shape) for op in graph.digital_ops),
        "arrays": mapping.arrays_used,
        "cycles": (timeline.interval, timeline.cycles_first_frame),
    }


def compare(path, module, inputs):
    """Check counts, cycles and values of a file against the module it came from."""
    network = load_network(str(path)).taking(None)
    own, graph = cimsim.trace(module, inputs), cimsim.trace(network.module, inputs)
    assert answers(graph) == answers(own)
    with torch.no_grad():
        want = module(*inputs)
    for got in (graph.reference(*inputs)[0], network.module(*inputs)):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-4)
    return graph, want


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_file_of_an_old_opset_is_the_network(name, tmp_path):
    module, inputs = made(name)
    path = write(module, inputs, tmp_path / f"{name}.onnx")
    _, want = compare(path, module, inputs)
    if name == "transformer":  # the interpreter of ONNX takes minutes for the others
        feeds = {"tokens": inputs[0].numpy()}
        (second,) = ReferenceEvaluator(onnx.load(path)).run(None, feeds)
        np.testing.assert_allclose(second, want.numpy(), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [18, 20, 22])
@pytest.mark.parametrize("name", [*CASES, "attention", "LSTM", "GRU", "both ways"])
def test_a_file_of_torchs_exporter_is_the_network(name, opset, tmp_path):
    torch.manual_seed(0)
    if name in CASES:
        module, inputs = made(name)
    elif name == "attention":
        module, inputs = nets.Transformer(own=False).eval(), (torch.randint(0, 50, (1, 12)),)
    else:
        options = {"bidirectional": True} if name == "both ways" else {}
        kind = "LSTM" if options else name
        module, inputs = nets.Recurrent(kind, **options).eval(), (torch.randn(1, 5, 6),)
    compare(nets.export(module, inputs, tmp_path / "net.onnx", opset), module, inputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_pt2_file_is_the_network(name, tmp_path):
    module, inputs = made(name)
    torch.export.save(torch.export.export(module, inputs), tmp_path / f"{name}.pt2")
    compare(tmp_path / f"{name}.pt2", module, inputs)


def test_open_sizes_have_names_and_are_fixed(tmp_path):
    module, inputs = made("unet")
    path = write(module, inputs, tmp_path / "net.onnx")
    model = onnx.load(path)
    axes = model.graph.input[0].type.tensor_type.shape.dim
    for axis, name in zip(axes, ["n", "", "height", "width"], strict=True):
        if name:
            axis.dim_param = name
    onnx.save(model, path)
    network = load_network(str(path))
    with pytest.raises(cimsim.errors.InputError, match=r"nx3xheightxwidth.*open.*--input-shape"):
        network.taking(None)
    x = torch.randn(1, 3, 16, 48)
    graph = cimsim.trace(network.module, network.taking(["1x3x16x48"]).example(1, 1))
    torch.testing.assert_close(graph.reference(x)[0], module(x).detach(), rtol=0, atol=1e-4)
    axes[2].dim_param = axes[3].dim_param = "side"
    onnx.save(model, path)
    with pytest.raises(cimsim.errors.InputError, match="is nx3xsidexside of numbers"):
        load_network(str(path)).module(x)


def test_a_denoiser_takes_frames_of_any_size(tmp_path):
    class Denoiser(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Conv2d(10, 3, 3, padding=1)

        def forward(self, x, noise):
            return self.a(torch.cat([x, noise], 1))

    torch.manual_seed(0)
    frames, noise = torch.randn(1, 9, 8, 8), torch.randn(1, 1, 8, 8)
    path = write(Denoiser(), (frames, noise), tmp_path / "d.onnx")
    model = onnx.load(path)
    for given in model.graph.input:
        for axis, name in zip(given.type.tensor_type.shape.dim[2:], "hw", strict=True):
            axis.dim_param = name
    onnx.save(model, path)
    network = load_network(str(path))
    assert (network.n_frames, network.noise_map) == (3, True)
    graph = cimsim.trace(network.module, network.example(24, 32))
    assert cimsim.tasks.contract.Contract.of(graph).size == (24, 32)


def test_weights_beside_the_file_are_read_and_hashed(tmp_path):
    module, inputs = made("unet")
    model = onnx.load(write(module, inputs, tmp_path / "a.onnx"))
    onnx.save(
        model, tmp_path / "b.onnx", save_as_external_data=True, location="b.bin", size_threshold=64
    )
    one, two = (load_network(str(tmp_path / f"{n}.onnx")).module for n in "ab")
    assert (tmp_path / "b.onnx").stat().st_size < 20_000
    assert weights_hash(one) == weights_hash(two)
    torch.testing.assert_close(one(*inputs), two(*inputs), rtol=0, atol=0)


def test_nodes_are_called_as_in_the_file(tmp_path):
    module, inputs = made("transformer")
    graph = cimsim.trace(cimsim.load_onnx(write(module, inputs, tmp_path / "n.onnx")), inputs)
    assert graph.matrix_ops[0].name.startswith("Add_")
    assert "Softmax" in {op.name.partition("_")[0] for op in graph.digital_ops}
    assert graph.matrix_ops[0].weights_id.endswith("layers.0.qkv.bias")


def test_a_branch_with_a_known_condition_is_taken(tmp_path):
    helper = onnx.helper
    one = helper.make_graph([helper.make_node("Relu", ["x"], ["a"])], "a", [],
                            [helper.make_tensor_value_info("a", 1, [2])])  # fmt: skip
    two = helper.make_graph([helper.make_node("Neg", ["x"], ["b"])], "b", [],
                            [helper.make_tensor_value_info("b", 1, [2])])  # fmt: skip
    condition = onnx.numpy_helper.from_array(np.array(False), "c")
    node = helper.make_node("If", ["c"], ["y"], then_branch=one, else_branch=two)
    ends = [[helper.make_tensor_value_info(name, 1, [2])] for name in "xy"]
    graph = helper.make_graph([node], "g", *ends, [condition])
    file = tmp_path / "if.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.write_bytes(model.SerializeToString())
    assert cimsim.load_onnx(file)(torch.tensor([1.0, -2.0])).tolist() == [-1.0, 2.0]
