"""Quantised networks: the file's codes are the chip's, and the values those of ONNX."""

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.chip.cells import device_of
from cimsim.chip.load import load_hw
from cimsim.engine.execute import execute
from cimsim.engine.prepare import prepare
from cimsim.graph.reference import apply_matrix
from cimsim.timing.simulate import simulate
from tests.onnxfiles import nets

onnx = pytest.importorskip("onnx")
from onnx import helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from tests.onnxfiles.writer import Writer  # noqa: E402

EXACT = {
    "device.sigma_program": 0, "device.sigma_read": 0, "adc.kind": "ideal", "tile.count": 400,
    "calibration.column_gain": False, "calibration.column_offset": False, "weights.bits": 8,
    "inputs.bits": 8, "weights.scale": "column", "weights.rounding": "nearest",
}  # fmt: skip


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 3, stride=2)
        self.up, self.head = nn.ConvTranspose2d(6, 4, 2, stride=2), nn.Linear(4, 5)

    def forward(self, x):
        x = self.up(torch.relu(self.b(torch.relu(self.a(x)))))
        return self.head(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


def quantised(module, inputs, kind=np.uint8, per_channel=True):
    """Put the two nodes in front of every matrix, with ranges of the activations."""
    model = Writer(module, inputs, 19).model()
    reference = onnx.ModelProto()
    reference.CopyFrom(model)
    reads = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose", "Gemm")]
    for node in reads:
        reference.graph.output.append(helper.make_tensor_value_info(node.input[0], 1, None))
    feeds = {model.graph.input[0].name: inputs[0].numpy()}
    seen = ReferenceEvaluator(reference).run(None, feeds)[1:]
    told, nodes = {}, []
    stored = {one.name: one for one in model.graph.initializer}
    for node in model.graph.node:
        if node in reads:
            values = seen[reads.index(node)]
            told[node.name] = around(model, nodes, node, values, kind)
            axis = 1 if node.op_type == "ConvTranspose" else 0
            coded(model, nodes, node, numpy_helper.to_array(stored[node.input[1]]),
                  axis if per_channel else None)  # fmt: skip
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model, told


def around(model, nodes, node, values, kind):
    low, high = min(float(values.min()), 0), max(float(values.max()), 0)
    info = np.iinfo(kind)
    if kind == np.int8:
        scale, zero = np.float32(max(-low, high) / 127), 0
    else:
        scale = np.float32((high - low) / (info.max - info.min))
        zero = round(info.min - low / float(scale))
    store(model, f"{node.name}.s", scale)
    store(model, f"{node.name}.z", kind(zero))
    parts = [f"{node.name}.s", f"{node.name}.z"]
    nodes.append(helper.make_node("QuantizeLinear", [node.input[0], *parts], [f"{node.name}.q"]))
    nodes.append(helper.make_node("DequantizeLinear", [f"{node.name}.q", *parts],
                                  [f"{node.name}.d"]))  # fmt: skip
    node.input[0] = f"{node.name}.d"
    return float(scale), int(zero)


def coded(model, nodes, node, weight, axis):
    others = tuple(i for i in range(weight.ndim) if i != axis) if axis is not None else None
    # ends a little beyond the largest weight: they are the file's to choose
    step = (np.abs(weight).max(axis=others) * 1.25 / 127).astype(np.float32)
    shape = [1] * weight.ndim
    if axis is not None:
        shape[axis] = -1
    q = np.clip(np.rint(weight / step.reshape(shape)), -127, 127).astype(np.int8)
    store(model, f"{node.name}.w", q)
    store(model, f"{node.name}.ws", step)
    store(model, f"{node.name}.wz", np.zeros(step.shape, np.int8))
    nodes.append(helper.make_node(
        "DequantizeLinear", [f"{node.name}.{p}" for p in ("w", "ws", "wz")], [f"{node.name}.wd"],
        axis=axis or 0,
    ))  # fmt: skip
    node.input[1] = f"{node.name}.wd"


def store(model, name, value):
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def loaded(tmp_path, model):
    path = tmp_path / "q.onnx"
    path.write_bytes(model.SerializeToString())
    return cimsim.load_onnx(path)


def small():
    torch.manual_seed(3)
    return Small().eval(), (torch.randn(1, 3, 12, 12),)


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("per_channel", [True, False])
def test_ranges_on_the_chip_are_those_of_the_file(kind, per_channel, tmp_path):
    module, inputs = small()
    model, told = quantised(module, inputs, kind, per_channel)
    network = loaded(tmp_path, model)
    graph, own = cimsim.trace(network, inputs), cimsim.trace(module, inputs)
    (want,) = ReferenceEvaluator(model).run(None, {"x": inputs[0].numpy()})
    np.testing.assert_allclose(graph.reference(*inputs)[0].numpy(), want, atol=1e-4)
    assert [op.op for op in graph.digital_ops] == [op.op for op in own.digital_ops]
    assert [op.n_weights for op in graph.matrix_ops] == [op.n_weights for op in own.matrix_ops]
    # zero points of unsigned codes that begin at 0 tell that an input is not negative
    hw = load_hw("eflash40nm", EXACT)
    mapping = cimsim.map_graph(graph, hw)
    plain = simulate(cimsim.map_graph(own, hw))
    assert simulate(mapping).cycles_first_frame == plain.cycles_first_frame
    # samples ten times as large: a range of the chip's own would follow them
    ready = prepare(mapping, device_of(hw), [tuple(10 * x for x in inputs)], 0)
    stored = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    pairs = zip(graph.matrix_ops, told.items(), strict=True)
    for op, (name, (scale, zero)) in pairs:
        code = ready.ops[op.name].code
        assert code.scale == pytest.approx(scale, rel=1e-6), name
        assert code.zero_point == zero - np.iinfo(kind).min
        q = ready.programmed.layer_of(op.name).weight
        assert sorted(np.abs(q[q != 0])) == sorted(np.abs(stored[f"{name}.w"]).flat[
            np.flatnonzero(stored[f"{name}.w"])])  # fmt: skip
    done = execute(ready, inputs, 0, 0)
    np.testing.assert_allclose(done.outputs[0].numpy(), want, atol=2e-3 * np.abs(want).max())


def test_a_residual_network_keeps_roundings_that_others_read(tmp_path):
    torch.manual_seed(0)
    module, inputs = nets.ready(nets.Block(4, 4, 1)), (torch.randn(1, 4, 8, 8),)
    model, told = quantised(module, inputs)
    (out,) = [node.output[0] for node in model.graph.node if node.op_type == "Add"]
    first = next(node for node in model.graph.node if node.op_type == "DequantizeLinear")
    add = next(node for node in model.graph.node if node.op_type == "Add")
    add.input[1] = first.output[0]
    graph = cimsim.trace(loaded(tmp_path, model), inputs)
    (want,) = ReferenceEvaluator(model).run(None, {"x": inputs[0].numpy()})
    np.testing.assert_allclose(graph.reference(*inputs)[0].numpy(), want, atol=1e-4)
    assert sum(op.op == "rounded" for op in graph.digital_ops) == 1
    assert [op.rounding is not None for op in graph.matrix_ops] == [True, True]
    assert len(told) == 2
    assert out


def test_codes_may_move_between_the_two_nodes(tmp_path):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("MaxPool", ["q"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Transpose", ["p"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("DequantizeLinear", ["t", "s", "z"], ["d"]),
        helper.make_node("Conv", ["d", "w"], ["y"]),
    ]
    rng = np.random.default_rng(0)
    values = {"s": np.float32(0.03), "z": np.uint8(120),
              "w": rng.normal(size=(2, 3, 3, 3)).astype(np.float32)}  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in values.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 19)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    x = torch.from_numpy(rng.normal(size=(1, 3, 8, 8)).astype(np.float32))
    traced = cimsim.trace(loaded(tmp_path, model), (x,))
    (matrix,) = traced.matrix_ops
    assert matrix.rounding is not None
    assert not any(op.op == "rounded" for op in traced.digital_ops)
    (want,) = ReferenceEvaluator(model).run(None, {"x": x.numpy()})
    np.testing.assert_allclose(traced.reference(x)[0].numpy(), want, atol=1e-5)


def test_programs_with_torchs_roundings_say_the_same(tmp_path):
    """What PT2E makes: quantize and dequantize around a convolution, weights per channel."""
    import torch.ao.quantization.fx._decomposed

    own = torch.ops.quantized_decomposed
    torch.manual_seed(0)
    weight = torch.randn(5, 3, 3, 3)
    scales = weight.abs().amax((1, 2, 3)) / 127
    codes = (weight / scales[:, None, None, None]).round().to(torch.int8)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("codes", codes)
            self.register_buffer("scales", scales)
            self.register_buffer("zeros", torch.zeros(5, dtype=torch.int64))

        def forward(self, x):
            q = own.quantize_per_tensor(x, 0.02, 3, -128, 127, torch.int8)
            x = own.dequantize_per_tensor(q, 0.02, 3, -128, 127, torch.int8)
            w = own.dequantize_per_channel(self.codes, self.scales, self.zeros, 0, -128, 127,
                                           torch.int8)  # fmt: skip
            return torch.relu(nn.functional.conv2d(x, w, None, 1, 1))

    x = torch.randn(1, 3, 8, 8)
    program = torch.export.export(Net(), (x,))
    torch.export.save(program, tmp_path / "q.pt2")
    module = cimsim.load_network(str(tmp_path / "q.pt2")).module
    graph = cimsim.trace(module, (x,))
    torch.testing.assert_close(graph.reference(x)[0], Net()(x))
    (op,) = graph.matrix_ops
    assert op.rounding.ends == pytest.approx((-131 * 0.02, 124 * 0.02))
    np.testing.assert_allclose(op.weight_ends, 127 * scales.numpy(), rtol=1e-6)
    assert [one.op for one in graph.digital_ops] == ["relu"]


def test_networks_trained_with_roundings_say_the_same():
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(6, 4)

        def forward(self, x):
            w = torch.fake_quantize_per_tensor_affine(self.a.weight, 0.01, 0, -128, 127)
            x = torch.fake_quantize_per_tensor_affine(x, 0.05, 0, 0, 255)
            return nn.functional.linear(x, w, self.a.bias)

    x, net = torch.rand(1, 6), Net()
    graph = cimsim.trace(net, (x,))
    (op,) = graph.matrix_ops
    torch.testing.assert_close(graph.reference(x)[0], net(x).detach())
    assert op.rounding.ends == pytest.approx((0, 255 * 0.05))
    assert not op.signed
    assert set(op.weight_ends) == {127 * 0.01}
    assert not graph.digital_ops


@pytest.mark.parametrize("signed", ["offset", "phases", "rows"])
def test_a_chip_with_finer_codes_rounds_activations_as_the_network_does(signed):
    """Finer steps instead would give the values of another network: off by a tenth here."""
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 4)

        def forward(self, x):
            rounded = torch.fake_quantize_per_tensor_affine
            y = torch.relu(self.a(rounded(x, 0.3, 3, -8, 7)))
            return self.b(rounded(y, 0.07, 0, 0, 15).permute(0, 2, 3, 1))

    x, net = torch.randn(1, 3, 6, 7), Net()
    graph = cimsim.trace(net, (x,))
    assert all(op.rounding is not None for op in graph.matrix_ops)
    (want,) = graph.reference(x)
    torch.testing.assert_close(want, net(x).detach())
    hw = load_hw("eflash40nm", EXACT | {
        "inputs.bits": 12, "weights.bits": 14, "inputs.signed": signed,
    })  # fmt: skip
    ready = prepare(cimsim.map_graph(graph, hw), device_of(hw), [(x,)], 0)
    met = {}
    done = execute(ready, (x,), 0, 0, capture=lambda op, x, y: met.update({op.name: (x, y)}))
    for op in graph.matrix_ops:
        fed, got = met[op.name]
        one = apply_matrix(op, fed)
        assert float((got - one).abs().max()) < 3e-4 * float(one.abs().max()), op.name
    # beyond the first layer a value may fall on the other side of a half
    assert float((done.outputs[0] - want).square().mean().sqrt()) < 0.02 * float(want.std())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_packed_modules_are_refused_with_the_way_out():
    ao = torch.ao.quantization
    module = nn.Sequential(ao.QuantStub(), nn.Linear(3, 2), ao.DeQuantStub()).eval()
    module.qconfig = ao.get_default_qconfig("x86")
    ready = ao.prepare(module)
    with pytest.raises(cimsim.errors.GraphError, match=r"MinMaxObserver|Observer.* PT2E"):
        cimsim.trace(ready, (torch.randn(1, 3),))


def test_chips_with_sign_and_magnitude_keep_the_step(tmp_path):
    module, inputs = small()
    model, told = quantised(module, inputs, np.int8)
    graph = cimsim.trace(loaded(tmp_path, model), inputs)
    hw = load_hw("eflash40nm", EXACT | {"inputs.signed": "phases"})
    ready = prepare(cimsim.map_graph(graph, hw), device_of(hw), [inputs], 0)
    for op, (scale, _) in zip(graph.matrix_ops, told.values(), strict=True):
        if op.signed:  # others have no sign bit, and all their codes above 0
            assert ready.ops[op.name].code.scale == pytest.approx(scale, rel=1e-6)
    assert graph.matrix_ops[0].signed
