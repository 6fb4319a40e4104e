"""Wrong model files, shapes, kinds and data: one message each, exit code 2, nothing of torch's."""

import sys

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx")
from onnx import helper, numpy_helper  # noqa: E402

from cimsim.cli.main import main  # noqa: E402
from tests.onnxfiles import small  # noqa: E402


def node_of(model, kind):
    return next(node for node in model.graph.node if node.op_type == kind)


def attribute(model, kind, **values):
    node = node_of(model, kind)
    kept = [entry for entry in node.attribute if entry.name not in values]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in values.items())])


def stored(model, name, value):
    tensor = next(one for one in model.graph.initializer if one.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))


def unknown(model):
    node_of(model, "Resize").op_type = "GridSampel"


def foreign(model):
    node = node_of(model, "GlobalAveragePool")
    node.domain, node.op_type = "com.microsoft", "QLinearGlobalAveragePool"


def opset(number):
    def change(model):
        model.opset_import[0].version = number

    return change


def elsewhere(location, offset=0, length=432):
    def change(model):
        tensor = next(one for one in model.graph.initializer if one.name == "w")
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", offset), ("length", length)):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)

    return change


def kind(number):
    def change(model):
        model.graph.input[0].type.tensor_type.elem_type = number

    return change


def open_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "width"


def no_shape(model):
    model.graph.input[0].type.tensor_type.ClearField("shape")


def lost(model):
    del model.graph.node[2]


def short(model):
    tensor = next(one for one in model.graph.initializer if one.name == "w")
    tensor.raw_data = tensor.raw_data[:40]


def huge(model):
    tensor = next(one for one in model.graph.initializer if one.name == "w")
    tensor.dims[0] = 2**40


def computed_shape(model):
    node_of(model, "Reshape").input[1] = "x"


def nothing(model):
    pass


TIME = ["time", "-q"]
RUN = ["run", "-q", "--task"]
FILES = {
    "an operator that nobody knows": (unknown, TIME, "'GridSampel' is not supported"),
    "an operator of another house": (foreign, TIME, "of 'com.microsoft' (quantise with Quan"),
    "an old opset": (opset(9), TIME, "opset 9; 13 to 22 are read"),
    "a new opset": (opset(24), TIME, "opset 24; 13 to 22 are read"),
    "data that are not there": (elsewhere("w.bin"), TIME, "external data 'w.bin' are missing"),
    "data of others": (elsewhere("../../etc/passwd"), TIME, "must be a file in the network's"),
    "data that are too short": (elsewhere("words.npz", 5, 10**7), TIME, "external data end at"),
    "an input of texts": (kind(8), TIME, "holds string; numbers or whole numbers are read"),
    "an open size": (open_size, TIME, "nx3x8xwidth, in which sizes are open; fix them"),
    "an open size of another shape": (
        open_size, [*TIME, "--input-shape", "1x4x8x8"], "is nx3x8xwidth of numbers, got 1x4x8x8"),
    "no shape": (no_shape, TIME, "has no shape, not even how many axes"),
    "a lost node": (lost, TIME, "reads 'c', which nothing before it makes"),
    "a tensor cut short": (short, TIME, "tensor 'w': cannot be read"),
    "a tensor without end": (huge, TIME, "tensor 'w'"),
    "a shape that is computed": (computed_shape, TIME, "its shape depends on the values"),
    "a stride of nought": (lambda m: attribute(m, "Conv", strides=[0, 1]), TIME, "strides [0, 1]"),
    "a kernel that does not fit": (
        lambda m: stored(m, "w", np.ones((4, 5, 3, 3), np.float32)), TIME, "cannot be applied to"),
    "a scale below 0": (lambda m: stored(m, "s", np.float32(-1)), TIME, "no positive number"),
    "whole numbers for real ones": (
        nothing, [*TIME, "--input-shape", "1x3x8x8:int9"], "of numbers, got 1x3x8x8 of int64"),
    "too few axes": (nothing, [*TIME, "--input-shape", "3x8x8"], "got 3x8x8 of float32"),
    "too many inputs": (
        nothing, [*TIME, "--input-shape", "1x3x8x8", "--input-shape", "1x2"],
        "takes 1 inputs (x nx3x8x8), got 2"),
    "weights of its own": (nothing, [*RUN, "tensors", "--weights", "w.pt"], "weights of its own"),
    "arguments": (nothing, [*TIME, "--arg", "classes=3"], "a file takes no options"),
    "labels that are missing": (
        nothing, [*RUN, "classification", "--data", "labels.npz"], "labels"),
    "data of another shape": (
        nothing, [*RUN, "tensors", "--data", "words.npz"], "got 1x5x6 of float32"),
    "a task for labels alone": (nothing, [*RUN, "classification"], "give --data with labels"),
}  # fmt: skip
OTHERS = {
    "no such file": ("none.onnx", None, "no such file 'none.onnx'"),
    "an empty file": ("empty.onnx", b"", "is no ONNX network: it holds no node"),
    "a text": ("text.onnx", b"this is no network at all", "cannot be read as an ONNX network"),
    "a .pt2 file that is none": ("none.pt2", b"PK\3\4", "cannot be read as a program of torch"),
    "a text called .pt2": ("text.pt2", b"no program", "cannot be read as a program of torch"),
    "TorchScript": ("net.torchscript", b"PK", "TorchScript, whose source is gone, is not read"),
    "TensorFlow Lite": ("net.tflite", b"TFL3", "such files are not read; export"),
}


def refused(arguments, words, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["cimsim", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capfd.readouterr()
    assert end.value.code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert words in err
    assert "Traceback" not in out + err
    assert not out.strip()


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_file_or_question_has_one_message(name, tmp_path, monkeypatch, capfd):
    change, arguments, words = FILES[name]
    monkeypatch.chdir(tmp_path)
    made = small.checked()
    change(made)
    small.written(tmp_path / "net.onnx", made)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "words.npz", x=rng.normal(size=(40, 5, 6)).astype(np.float32))
    maps = rng.normal(size=(40, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "labels.npz", x=maps, y=np.zeros(39, np.int64))
    refused([arguments[0], "--model", "net.onnx", *arguments[1:]], words, monkeypatch, capfd)


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_that_is_no_network_has_one_message(name, tmp_path, monkeypatch, capfd, caplog):
    file, content, words = OTHERS[name]
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / file).write_bytes(content)
    refused(["time", "-q", "--model", file], words, monkeypatch, capfd)
    # torch's own handler may write elsewhere than to what is captured here
    assert not [one for one in caplog.records if one.name.startswith("torch")]


def test_without_the_package_the_way_to_it_is_told(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "onnx", None)
    (tmp_path / "a.onnx").write_bytes(b"")
    arguments = ["time", "--model", str(tmp_path / "a.onnx")]
    refused(arguments, "pip install 'cimsim[onnx]'", monkeypatch, capfd)


def test_the_file_that_is_broken_above_is_sound(tmp_path):
    import cimsim

    file = small.written(tmp_path / "net.onnx", small.checked())
    x = torch.randn(1, 3, 8, 8)
    graph = cimsim.trace(cimsim.load_onnx(file), (x,))
    from onnx.reference import ReferenceEvaluator

    made = onnx.load(file)
    made.opset_import[0].version = 19  # the interpreter has the two nodes from there on
    (want,) = ReferenceEvaluator(made).run(None, {"x": x.numpy()})
    np.testing.assert_allclose(graph.reference(x)[0].numpy(), want, atol=1e-5)
